"""The filters view: a layer's weights as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from irconv.graph import Node
from irconv.types import Array
from irconv.views import names, svg
from irconv.views.blocks import Block, below, beside, block, headed, wrapped
from irconv.views.layer import ConvLayer
from irconv.views.maps import array_block, drawn, key_block, limit_of
from irconv.views.picture import Picture

WEIGHTS = 1600  # that are drawn one by one
WIDTH = 720.0


def filters(
    node: Node | ConvLayer, *, labels: Sequence[str] = (), written: bool | None = None
) -> Picture:
    """The weights of a layer: one row for each filter, one grid for each channel that it reads.

    Blue is negative, orange positive, on one scale for all. Each cell holds its weight's flat index
    (`data-w`) and exact value (`data-v`). Of a large layer the first filters and channels are
    drawn, as the picture's `part` says. UsageError for what is not a convolution with known
    weights.
    """
    layer = ConvLayer.of(node, labels)
    weights = layer.weights.astype(np.float64)
    shown, channels = _shown(weights.shape)
    limit = limit_of(weights)
    cell = _cell(weights.shape[2:], shown, channels)
    text = cell >= 24 if written is None else written
    kernels = [
        [_kernel(weights, m, c, cell, limit, text) for c in range(channels)] for m in range(shown)
    ]
    data = {"weights": layer.weights, "shown": (shown, channels), "limit": limit}
    body = below([_arranged(layer, kernels), key_block("signed", -limit, limit)], 20)
    part = _part(weights.shape, shown, channels)
    return drawn(body, f"The filters of {layer.title}", _caption(layer, limit), data, part)


def _shown(shape: tuple[int, ...]) -> tuple[int, int]:
    """(filters, channels) so few that all their weights can be drawn."""
    taps = int(np.prod(shape[2:]))
    channels = max(1, min(shape[1], 8, WEIGHTS // taps))
    most = 64 if channels == 1 else 8
    return max(1, min(shape[0], most, WEIGHTS // (taps * channels))), channels


def _cell(kernel: tuple[int, ...], shown: int, channels: int) -> float:
    if shown * channels > 8:
        return max(5.0, min(18.0, 150.0 / kernel[-1]))
    # a few are large enough for their numbers
    return max(5.0, min(44.0, min(220.0, 0.9 * WIDTH / channels) / kernel[-1]))


def _kernel(weights: Array, m: int, c: int, cell: float, limit: float, written: bool) -> Block:
    kernel = weights[m, c]
    first = int(np.ravel_multi_index((m, c, *(0,) * kernel.ndim), weights.shape))
    flat = kernel.reshape(-1, kernel.shape[-1])
    width = cell * flat.shape[1]
    return array_block(flat, width, "signed", (-limit, limit), "w", first, written)


def _arranged(layer: ConvLayer, kernels: list[list[Block]]) -> Block:
    kind = "input channel" if layer.transposed else "filter"
    if len(kernels[0]) == 1:
        grids = [headed(f"{kind} {m}", row[0], "small muted") for m, row in enumerate(kernels)]
        return wrapped(grids, WIDTH, 16)
    other = "map" if layer.transposed else "channel"
    heads = [svg.text(70 + i * (b.width + 12), 12, f"{other} {i}", "small muted")
             for i, b in enumerate(kernels[0])]  # fmt: skip
    if kernels[0][0].width < 52:
        heads = [svg.text(70, 12, f"{other}s 0 to {len(kernels[0]) - 1}", "small muted")]
    rows = [_row(f"{kind} {m}", row) for m, row in enumerate(kernels)]
    head = block(heads, rows[0].width, 16)
    return below([head, *rows], 10)


def _row(name: str, row: list[Block]) -> Block:
    label = block([svg.text(0, 12, name, "small muted")], 58, 14)
    return beside([label, beside(row, 12)], 12)


def _caption(layer: ConvLayer, limit: float) -> str:
    shape: Any = layer.weights.shape
    many = names.count(shape[0], "filter")
    taps = names.sizes(shape[2:])
    return (
        f"{many} of {taps} over {names.count(shape[1], 'channel')}: "
        f"{names.count(layer.weights.size, 'free weight')}, the largest {names.short(limit)} in "
        "magnitude. A filter answers most where the image is orange with orange and blue with blue."
        if not layer.transposed
        else f"{names.count(layer.weights.size, 'free weight')} of a transposed convolution: what "
        f"each of {names.count(shape[0], 'channel')} paints into each of "
        f"{names.count(shape[1], 'map')}."
    )


def _part(shape: tuple[int, ...], shown: int, channels: int) -> str:
    parts = []
    if shown < shape[0]:
        parts.append(f"the first {shown} of {shape[0]} filters")
    if channels < shape[1]:
        parts.append(f"the first {channels} of {shape[1]} channels")
    return ", ".join(parts)
