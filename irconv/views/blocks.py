"""Blocks that pictures are set from: something drawn in a box, beside or below another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from irconv.views import svg
from irconv.views.layer import ConvLayer
from irconv.views.picture import Picture
from irconv.views.svg import Element

MARGIN = 20.0
NOTE = 18.0
_LINE = 96  # letters


@dataclass(frozen=True, slots=True)
class Block:
    """Elements drawn between (0, 0) and (width, height)."""

    elements: tuple[Element, ...]
    width: float
    height: float

    def at(self, x: float, y: float) -> Element:
        """The block moved to x, y."""
        return svg.group(self.elements, transform=f"translate({x:g} {y:g})")


def block(elements: Iterable[Element], width: float, height: float) -> Block:
    """A block of anything that yields elements."""
    return Block(tuple(elements), width, height)


def beside(blocks: Sequence[Block], gap: float = 36, middle: bool = True) -> Block:
    """Blocks from left to right, their middles (or their tops) in one line."""
    height = max(b.height for b in blocks)
    x, placed = 0.0, []
    for b in blocks:
        placed.append(b.at(x, (height - b.height) / 2 if middle else 0))
        x += b.width + gap
    return Block(tuple(placed), x - gap, height)


def below(blocks: Sequence[Block], gap: float = 24) -> Block:
    """Blocks from top to bottom, flush left."""
    y, placed = 0.0, []
    for b in blocks:
        placed.append(b.at(0, y))
        y += b.height + gap
    return Block(tuple(placed), max(b.width for b in blocks), y - gap)


def wrapped(blocks: Sequence[Block], width: float, gap: float = 20) -> Block:
    """Blocks in rows no wider than `width`, as words are set in lines."""
    rows: list[list[Block]] = [[]]
    for b in blocks:
        used = sum(r.width + gap for r in rows[-1])
        if rows[-1] and used + b.width > width:
            rows.append([])
        rows[-1].append(b)
    return below([beside(r, gap, middle=False) for r in rows], gap)


def headed(heading: str, inner: Block, class_: str = "heading") -> Block:
    """A block under its heading."""
    size = 13 if class_ == "heading" else 11
    width = max(inner.width, svg.text_width(heading, size))
    return Block((svg.text(0, 14, heading, class_), inner.at(0, 24)), width, inner.height + 24)


def paragraph(content: str, letters: int = _LINE, class_: str = "muted") -> Block:
    """Running text, broken between words."""
    lines: list[str] = [""]
    for word in content.split(" "):
        if lines[-1] and len(lines[-1]) + len(word) >= letters:
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] else word
    texts = [svg.text(0, 13 + NOTE * i, text, class_) for i, text in enumerate(lines)]
    # letters of running text are narrower than the widest
    return Block(tuple(texts), max(6.6 * len(text) for text in lines), NOTE * len(lines))


def picture(
    layer: ConvLayer,
    inner: Block,
    title: str,
    caption: str,
    data: Mapping[str, object],
    part: str | None = None,
) -> Picture:
    """The picture of a layer: the block on paper, and below it which part is drawn (the layer's
    own part, unless told otherwise).
    """
    part = layer.part if part is None else part
    whole = inner
    if part:
        letters = max(40, int(inner.width / 6.8))
        whole = below([inner, paragraph(f"Drawn: {part}.", letters, "muted small")], 16)
    width, height = whole.width + 2 * MARGIN, whole.height + 2 * MARGIN
    drawn = svg.document([whole.at(MARGIN, MARGIN)], width, height, title, caption)
    return Picture(svg=drawn, title=title, caption=caption, part=part, data=data)
