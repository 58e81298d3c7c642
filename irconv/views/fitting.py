"""Chooses the part of a large layer that a picture can hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from irconv.errors import UsageError
from irconv.views.layer import ConvLayer


def fitted(layer: ConvLayer, fits: Callable[[ConvLayer], bool]) -> ConvLayer:
    """The layer itself if it fits, else its best part that does.

    A good part has several channels and equally many outputs along each axis, and drops no input
    channel if it can: its sums are then whole. Raises UsageError if not even one output fits.
    """
    if fits(layer):
        return layer
    for m, c, n in _candidates(layer):
        part = _part(layer, m, c, n)
        if fits(part):
            return part
    raise UsageError("no part of the layer is small enough to be drawn", got=str(layer.geometry))


def at_most(rows: int, columns: int, places: int) -> Callable[[ConvLayer], bool]:
    """Whether a layer has at most so many outputs, inputs, and places that hold a weight."""

    def fits(layer: ConvLayer) -> bool:
        small = layer.rows <= rows and layer.columns <= columns
        return small and len(layer.entries[0]) <= places

    return fits


def _candidates(layer: ConvLayer) -> Iterator[tuple[int, int, int]]:
    """(out channels, in channels, positions along each axis), best first."""
    filters, channels = len(layer.outputs[0]), len(layer.inputs[0])
    kept = sorted({min(n, channels) for n in (1, 2, 3, 4, channels)})
    longest = max(map(len, layer.outputs[1:]))
    found = [
        (m, c, n)
        for m in range(1, min(filters, 4) + 1)
        for c in kept
        for n in range(1, min(longest, 8) + 1)
    ]

    def merit(candidate: tuple[int, int, int]) -> float:
        m, c, n = candidate
        whole = c == channels
        return float(np.log2(min(m, 2) * min(c, 2)) + layer.rank * np.log2(min(n, 4)) + whole)

    yield from sorted(found, key=lambda c: (-merit(c), -c[2], -c[0], -c[1]))


def _part(layer: ConvLayer, m: int, c: int, n: int) -> ConvLayer:
    """The part with `m` filters, `c` input channels and `n` outputs along each axis."""
    positions = [_positions(layer, axis, n) for axis in range(layer.rank)]
    first = layer.outputs[0].start
    part = layer.restrict(out_channels=(first, first + m), outputs=positions)
    read, present = part.inputs[0], layer.inputs[0]
    mine = range(max(read.start, present.start), min(read.stop, present.stop))
    one_group = len(read) == layer.in_shape[0] // layer.geometry.group
    # of several groups, fewer channels would leave some filters without any
    kept = mine[:c] if one_group else mine
    return part.restrict(in_channels=kept or read)


def _positions(layer: ConvLayer, axis: int, count: int) -> tuple[int, int]:
    """`count` neighbouring outputs along an axis: from the border if one of them then sees a whole
    window, else from the first that does.
    """
    present = layer.outputs[axis + 1]
    count = min(count, len(present))
    pad, stride = layer.geometry.pads[axis], layer.geometry.strides[axis]
    inner = 0 if layer.transposed else -(-pad // stride)
    first = present.start
    if inner >= first + count:
        first = min(inner, present.stop - count)
    return first, first + count
