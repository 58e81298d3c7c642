"""Writes SVG: elements whose text is escaped, and whole files with one style, light and dark."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias
from xml.sax.saxutils import escape, quoteattr

from irconv.errors import printable

# Numbers stand in columns, so they are set in a fixed pitch; words are not.
SANS = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif'
MONO = 'ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace'
MATHS = '"STIX Two Text", "Cambria Math", Cambria, Georgia, "DejaVu Serif", serif'

# class: (what both schemes say, light, dark). Every rule stands under `.irconv-view`, so that a
# page may hold many pictures; colours of weights are attributes, which no rule overrides.
_RULES: dict[str, tuple[str, str, str]] = {
    "paper": ("", "fill: #ffffff", "fill: #0d1117"),
    "panel": ("", "fill: #f6f8fa", "fill: #161b22"),
    "cell": ("stroke-width: 1", "stroke: #afb8c1", "stroke: #444c56"),
    "pixel": ("", "fill: #ffffff", "fill: #161b22"),
    "zero": ("", "fill: #eaeef2", "fill: #21262d"),
    "padding": ("stroke-dasharray: 3 3", "fill: #ffffff", "fill: #0d1117"),
    "window": ("", "fill: #b6d4fe", "fill: #1f4a80"),
    "faint": ("", "fill: #f6f8fa", "fill: #12171e"),
    "line": ("fill: none; stroke-width: 1", "stroke: #d0d7de", "stroke: #3d444d"),
    "break": ("stroke-width: 1.5", "stroke: #818b98", "stroke: #656c76"),
    "edge": ("fill: none; stroke-width: 2.25", "", ""),
    "rim": ("fill: none; stroke-width: 3.75; stroke-opacity: 0.3", "stroke: #424a53", ""),
    "bias-edge": ("stroke-width: 1; stroke-dasharray: 2 4", "stroke: #818b98", "stroke: #656c76"),
    "bar": ("", "fill: #afb8c1", "fill: #565e68"),
    "zero-edge": ("fill: none; stroke-width: 1", "stroke: #d8dee4", "stroke: #2d333b"),
    "mark": ("fill: none; stroke-width: 2", "stroke: #1f2328", "stroke: #e6edf3"),
    "accent-line": ("fill: none; stroke-width: 2", "stroke: #0969da", "stroke: #4493f8"),
    "warning-line": ("fill: none; stroke-width: 2", "stroke: #bc4c00", "stroke: #db6d28"),
    "neuron": ("", "fill: #ffffff; stroke: #57606a", "fill: #161b22; stroke: #8b949e"),
    "text": (f"font-family: {SANS}; font-size: 13px", "fill: #1f2328", "fill: #e6edf3"),
    "heading": ("font-size: 14px; font-weight: 600", "", ""),
    "small": ("font-size: 11px", "", ""),
    "number": (f"font-family: {MONO}; font-size: 12px", "", ""),
    "maths": (f"font-family: {MATHS}; font-size: 16px", "", ""),
    "italic": ("font-style: italic", "", ""),
    "muted": ("", "fill: #59636e", "fill: #9198a1"),
    "zero-ink": ("", "fill: #8c959f", "fill: #6e7681"),
    "accent": ("", "fill: #0969da", "fill: #4493f8"),
    "warning": ("", "fill: #bc4c00", "fill: #db6d28"),
    "dark-ink": ("", "fill: #000000", "fill: #000000"),
    "light-ink": ("", "fill: #ffffff", "fill: #ffffff"),
    "middle": ("text-anchor: middle", "", ""),
    "end": ("text-anchor: end", "", ""),
    **{f"s{size}": (f"font-size: {size}px", "", "") for size in range(7, 25)},
}  # fmt: skip


def _style() -> str:
    def rules(pick: int) -> str:
        return "\n".join(
            f"  .irconv-view .{name} {{ {rule[pick]} }}"
            for name, rule in _RULES.items()
            if rule[pick]
        )

    both = "\n".join(
        f"  .irconv-view .{name} {{ {'; '.join(filter(None, rule[:2]))} }}"
        for name, rule in _RULES.items()
    )
    dark = f"  @media (prefers-color-scheme: dark) {{\n{rules(2)}\n{_HOT_DARK}\n  }}"
    return f"\n{both}\n{_HOT}\n{dark}\n"


# What a page gives the class `hot` stands out and keeps its colour. A label lets the pointer
# through to the cell or neuron that it names.
_HOT = """  .irconv-view text:not([data-o]):not([data-i]) { pointer-events: none }
  .irconv-view rect.hot, .irconv-view circle.hot { stroke: #1f2328; stroke-width: 3 }
  .irconv-view line.hot { stroke-width: 5 }
  .irconv-view text.hot { font-weight: 700 }"""
_HOT_DARK = "  .irconv-view rect.hot, .irconv-view circle.hot { stroke: #ffffff }"

STYLE = _style()
"""The style sheet that all pictures share; a page that shows many includes it once."""

Content: TypeAlias = "Element | str | Iterable[Element | str]"


@dataclass(frozen=True, slots=True)
class Element:
    """One element: its text as it stands in the file, all content escaped."""

    xml: str

    def __str__(self) -> str:
        return self.xml


def element(tag: str, *content: Content, **attributes: object) -> Element:
    """`<tag ...>content</tag>`; a str is text and is escaped.

    An attribute's name loses its last underscore (`class_`) and gets hyphens for the others
    (`data_w`); None leaves it out, a float is written with at most two decimals.
    """
    head = tag + "".join(
        f" {name.rstrip('_').replace('_', '-')}={_quoted(value)}"
        for name, value in attributes.items()
        if value is not None
    )
    inner = "".join(_written(c) for c in content)
    return Element(f"<{head}>{inner}</{tag}>" if inner else f"<{head}/>")


def group(*content: Content, **attributes: object) -> Element:
    """`<g>`."""
    return element("g", *content, **attributes)


def rect(
    x: float, y: float, width: float, height: float, class_: str = "", **attributes: object
) -> Element:
    """A rectangle from its upper left corner."""
    return element(
        "rect", x=x, y=y, width=width, height=height, class_=class_ or None, **attributes
    )


def line(
    x1: float, y1: float, x2: float, y2: float, class_: str = "", **attributes: object
) -> Element:
    """A straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_ or None, **attributes)


def text(x: float, y: float, content: Content, class_: str = "", **attributes: object) -> Element:
    """One line of text, `y` being its base line; centred or flush right by class."""
    return element("text", content, x=x, y=y, class_=f"text {class_}".strip(), **attributes)


def name_text(
    x: float, y: float, name: tuple[str, str], size: int, class_: str = "", **attributes: object
) -> Element:
    """A mathematical name with its subscript, in letters of `size` px."""
    return text(x, y, name_parts(name, size), f"maths s{size} {class_}".strip(), **attributes)


def name_parts(name: tuple[str, str], size: int) -> list[Element | str]:
    """The content of a text that shows a name with its subscript and goes on on its base line."""
    head = element("tspan", name[0], class_="italic")
    if not name[1]:
        return [head]
    drop = round(0.22 * size)
    # the space of no width carries the base line back
    back = element("tspan", "\u2009", dy=-drop, font_size="10%")
    return [head, element("tspan", name[1], dy=drop, font_size=f"{0.7 * size:.3g}px"), back]


def name_width(name: tuple[str, str], size: float) -> float:
    """About the width of a written name."""
    return 0.58 * size * len(name[0]) + 0.4 * size * len(name[1])


def text_width(content: str, size: float = 13) -> float:
    """About how wide a line of `content` is: no font is at hand, so wide ones are assumed."""
    return 0.6 * size * len(content)


def document(
    content: Iterable[Element], width: float, height: float, title: str, description: str = ""
) -> str:
    """A stand-alone file on its own paper, with title and description for those who do not see."""
    body = [
        element("title", title),
        element("desc", description) if description else Element(""),
        Element(f"<style>{STYLE}</style>"),
        rect(0, 0, width, height, "paper", rx=6),
        *content,
    ]
    root = element(
        "svg",
        body,
        xmlns="http://www.w3.org/2000/svg",
        class_="irconv-view",
        role="img",
        width=width,
        height=height,
        viewBox=f"0 0 {width:g} {height:g}",
    )
    return f"{root}\n"


def without_style(svg: str) -> str:
    """The same picture for a page that includes STYLE itself."""
    return svg.replace(f"<style>{STYLE}</style>", "", 1)


def _written(content: Content) -> str:
    if isinstance(content, Element):
        return content.xml
    if isinstance(content, str):
        return escape(_clean(content))
    return "".join(_written(c) for c in content)


def _quoted(value: object) -> str:
    shown = _number(value)
    return f'"{shown}"' if _PLAIN.fullmatch(shown) else quoteattr(_clean(shown))


_PLAIN = re.compile(r"[\w .,:#%()+-]*", re.ASCII)


def _number(value: object) -> str:
    """A coordinate, short."""
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return str(value)


def _clean(content: str) -> str:
    """Control, bidirectional and unpaired characters are shown escaped: XML holds few of them."""
    if content.isascii() and content.isprintable():
        return content
    return printable(content, limit=len(content))
