"""The matrix of a layer as a matplotlib figure: larger parts than an SVG holds, a dot an entry."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from irconv.errors import UsageError
from irconv.graph import Node
from irconv.types import Array
from irconv.views import names
from irconv.views.colours import diverging, weight_colours
from irconv.views.fitting import at_most, fitted
from irconv.views.layer import ConvLayer
from irconv.views.maps import limit_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

SIDE = 5000
PLACES = 400_000
_ZERO = (0xEA, 0xEE, 0xF2)


def matrix_figure(
    node: Node | ConvLayer, axes: Axes | None = None, *, colour: str = "weight"
) -> AxesImage:
    """Draws the matrix into matplotlib axes (the present ones by default), an entry a pixel.

    `colour` is "weight" (a colour for each free weight) or "value" (blue below zero, orange
    above); fixed zeros are grey. Of a layer with more than 5,000 outputs or inputs a part is drawn,
    which the title states. UsageError without matplotlib (the extra `viz`), and for what is not a
    convolution with known weights.
    """
    if colour not in {"weight", "value"}:
        raise UsageError("colour: no such thing", expected="weight or value", got=repr(colour))
    layer = fitted(ConvLayer.of(node), at_most(SIDE, SIDE, PLACES))
    chosen = _present_axes() if axes is None else axes
    image = chosen.imshow(_pixels(layer, colour), interpolation="nearest", aspect="equal")
    part = "\n" + layer.part.replace("; ", "\n") if layer.part else ""
    chosen.set_title(f"{layer.title} as a matrix{part}", fontsize=9)
    chosen.set_xlabel(f"{names.count(layer.columns, 'input')}")
    chosen.set_ylabel(f"{names.count(layer.rows, 'output')}")
    return image


def _present_axes() -> Axes:
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise UsageError("matplotlib is not installed", hint="pip install 'irconv[viz]'") from error
    return plt.gca()


def _pixels(layer: ConvLayer, colour: str) -> Array:
    """[rows, columns, 3]: the colour of every entry."""
    outputs, inputs, weights = layer.entries
    pixels = np.empty((layer.rows, layer.columns, 3), np.uint8)
    pixels[:] = _ZERO
    shown, place = np.unique(weights, return_inverse=True)
    if not len(shown):
        return pixels
    if colour == "weight":
        found = weight_colours(shown.tolist(), layer.per_filter)
        table = [found[w] for w in shown.tolist()]
    else:
        values = layer.flat_weights[shown].astype(float)
        limit = limit_of(values)
        table = [diverging(v, limit) for v in values.tolist()]
    rows = np.searchsorted(layer.output_indices, outputs)
    columns = np.searchsorted(layer.input_indices, inputs)
    channels = [[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in table]
    pixels[rows, columns] = np.array(channels, np.uint8)[place]
    return pixels
