"""Colours: one for each free weight, a scale for signed values, and text that stays readable."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import cos, pi, sin

# Okabe and Ito, Color Universal Design (2008), without black: told apart by colour-blind readers.
FEW = ("#e69f00", "#56b4e9", "#009e73", "#cc79a7", "#f0e442", "#0072b2", "#d55e00")

# Lightness, chroma and hue (degrees) in OKLCH (Ottosson 2020), from dark to light: an order that is
# seen without hue.
_ORDERED = ((0.44, 0.13, 290.0), (0.56, 0.10, 235.0), (0.69, 0.11, 175.0), (0.80, 0.15, 130.0),
            (0.91, 0.15, 102.0))  # fmt: skip
_HUES = (250.0, 55.0, 165.0, 345.0, 100.0, 300.0)

_NEGATIVE, _POSITIVE = (0.48, 0.15, 255.0), (0.57, 0.17, 45.0)
_MIDDLE = (0.97, 0.0, 0.0)

# the better of the two has a contrast of at least 4.5 with any colour
DARK, LIGHT = "#000000", "#ffffff"


def palette(count: int) -> tuple[str, ...]:
    """`count` colours: Okabe and Ito's for up to seven, else an even scale from dark to light."""
    if count <= len(FEW):
        return FEW[:count]
    return _distinct(_along(_ORDERED, i / (count - 1)) for i in range(count))


def _distinct(colours: Iterable[str]) -> tuple[str, ...]:
    """The same colours, each that came before moved on by a step of blue that is not seen."""
    found: dict[str, None] = {}
    for colour in colours:
        while colour in found:
            colour = f"#{(int(colour[1:], 16) + 1) % (1 << 24):06x}"
        found[colour] = None
    return tuple(found)


def weight_colours(weights: Sequence[int], per_filter: int) -> dict[int, str]:
    """A colour for each free weight, given as flat indices; the same for the same set.

    Few weights get unmistakable colours. The weights of one filter get an ordered scale, those of
    a few filters a hue for each filter and a lightness for each place in it.
    """
    shown = sorted(set(weights))
    filters = sorted({w // per_filter for w in shown})
    if len(shown) <= len(FEW) or not 1 < len(filters) <= len(_HUES):
        return dict(zip(shown, palette(len(shown)), strict=True))
    places = sorted({w % per_filter for w in shown})
    hue = {f: _HUES[n] for n, f in enumerate(filters)}
    rank = {p: n for n, p in enumerate(places)}
    shades = (_shade(hue[w // per_filter], rank[w % per_filter], len(places)) for w in shown)
    return dict(zip(shown, _distinct(shades), strict=True))


def diverging(value: float, limit: float) -> str:
    """Blue below zero, nearly white at zero, orange above, in even steps; grey for NaN."""
    if value != value:
        return "#8c959f"
    part = max(-1.0, min(1.0, value / limit)) if limit > 0 else 0.0
    end = _POSITIVE if part > 0 else _NEGATIVE
    return _along(((_MIDDLE[0], 0.0, end[2]), end), abs(part))


def grey(value: float, low: float, high: float) -> str:
    """From black at `low` to white at `high`; a middle grey where they are equal."""
    part = (value - low) / (high - low) if high > low else 0.5
    level = 0 if part != part else round(255 * max(0.0, min(1.0, part)))
    return f"#{level:02x}{level:02x}{level:02x}"


def ink(fill: str) -> str:
    """The class of text on `fill`, dark-ink or light-ink: whichever contrasts more (WCAG 2)."""
    return "dark-ink" if contrast(fill, DARK) >= contrast(fill, LIGHT) else "light-ink"


def contrast(first: str, second: str) -> float:
    """The contrast ratio of two colours, 1 to 21 (WCAG 2.2, relative luminance)."""
    a, b = sorted((_luminance(first), _luminance(second)))
    return (b + 0.05) / (a + 0.05)


def _luminance(colour: str) -> float:
    red, green, blue = (_linear(int(colour[i : i + 2], 16) / 255) for i in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(c: float) -> float:
    return c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4


def _shade(hue: float, place: int, count: int) -> str:
    part = place / max(count - 1, 1)
    return _hex(0.46 + 0.44 * part, 0.13 - 0.05 * part, hue)


def _along(anchors: Sequence[tuple[float, float, float]], part: float) -> str:
    """The colour at `part` (0 to 1) of the way through `anchors`."""
    place = part * (len(anchors) - 1)
    first = min(int(place), len(anchors) - 2)
    a, b = anchors[first], anchors[first + 1]
    rest = place - first
    return _hex(*(x + (y - x) * rest for x, y in zip(a, b, strict=True)))


def _hex(lightness: float, chroma: float, hue: float) -> str:
    """OKLCH to sRGB; a colour outside the screen's gamut loses chroma, not lightness."""
    while True:
        channels = _srgb(lightness, chroma, hue)
        if all(-0.001 <= c <= 1.001 for c in channels) or chroma < 0.005:
            return "#" + "".join(f"{round(255 * max(0.0, min(1.0, c))):02x}" for c in channels)
        chroma *= 0.95


def _srgb(lightness: float, chroma: float, hue: float) -> tuple[float, float, float]:
    a, b = chroma * cos(hue * pi / 180), chroma * sin(hue * pi / 180)
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = (
        4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
    )
    red, green, blue = (
        12.92 * c if c <= 0.0031308 else 1.055 * c ** (1 / 2.4) - 0.055 for c in linear
    )
    return red, green, blue
