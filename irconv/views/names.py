"""Short texts of a picture: numbers, and the names of weights, inputs and outputs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from irconv.errors import printable
from irconv.geometry import Ints
from irconv.views.layer import ConvLayer

LABEL_LIMIT = 12


def short(value: float, digits: int = 3) -> str:
    """A number with so many significant digits (two where it has an exponent) and a real minus;
    whole where it has more in front of the point.
    """
    shown = f"{value:.{digits}g}"
    if 10**digits <= abs(value) < 1e5:
        shown = f"{value:.0f}"
    elif value and (abs(value) < 1e-3 or "e" in shown):
        mantissa, _, exponent = f"{value:.1e}".partition("e")
        shown = f"{float(mantissa):.2g}e{int(exponent)}"
    return shown.replace("-", "\u2212")


def exact(value: object) -> str:
    """The number as it reads back bit for bit: `float(exact(v)) == v`."""
    return repr(float(value))  # type: ignore[arg-type]  # any NumPy scalar


def count(number: int, noun: str = "") -> str:
    """`1,234 weights`, `1 weight`."""
    if not noun:
        return f"{number:,}"
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {_plural(noun)}"


def _plural(noun: str) -> str:
    return noun[:-1] + "ies" if noun.endswith("y") else noun + "s"


def percent(part: float) -> str:
    """A share of one, with three significant digits."""
    return f"{short(100 * part)} %"


def sizes(shape: Sequence[int]) -> str:
    """`3 x 224 x 224` with a real times sign."""
    return "\u00d7".join(map(str, shape))


def weight_name(layer: ConvLayer, weight: int) -> tuple[str, str]:
    """(name, subscript) of a free weight: its label, or w with its place in the weights' array."""
    if layer.labels:
        return printable(layer.labels[weight], LABEL_LIMIT), ""
    return "w", subscript(weight, layer.weights.shape)


def input_name(layer: ConvLayer, index: int) -> tuple[str, str]:
    """(name, subscript) of an input element."""
    return "x", subscript(index, layer.in_shape)


def output_name(layer: ConvLayer, index: int) -> tuple[str, str]:
    """(name, subscript) of an output element."""
    return "y", subscript(index, layer.out_shape)


def bias_name(layer: ConvLayer, channel: int) -> tuple[str, str]:
    """(name, subscript) of the bias of an output channel."""
    return "b", subscript(channel, layer.out_shape[:1])


def subscript(index: int, shape: Ints) -> str:
    """The place of a flat index, without axes of size 1; commas only where digits would run
    together.
    """
    place = np.unravel_index(index, shape)
    kept = [str(int(p)) for p, size in zip(place, shape, strict=True) if size > 1]
    return ("" if max(shape) <= 10 else ",").join(kept)


def plain(name: tuple[str, str]) -> str:
    """A name in one line of plain text."""
    return f"{name[0]}[{name[1]}]" if name[1] else name[0]
