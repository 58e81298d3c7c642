"""Chooses the part of a large layer that a picture can hold."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import TypeAlias

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
    for counts in _candidates(layer):
        part = _part(layer, counts)
        if fits(part):
            return part
    return _piece_of_a_window(_part(layer, (1, 1, (1,) * layer.rank)), fits)


def _piece_of_a_window(layer: ConvLayer, fits: Callable[[ConvLayer], bool]) -> ConvLayer:
    """Of a layer with one output, as many of the inputs that it reads as fit."""
    for n in range(max(map(len, layer.inputs[1:])), 0, -1):
        part = layer.restrict(inputs=[r[:n] for r in layer.inputs[1:]])
        if fits(part):
            return part
    raise UsageError("no part of the layer is small enough to be drawn", got=str(layer.geometry))


def at_most(rows: int, columns: int, places: int) -> Callable[[ConvLayer], bool]:
    """Whether a layer has at most so many outputs, inputs, and places that hold a weight."""

    def fits(layer: ConvLayer) -> bool:
        small = layer.rows <= rows and layer.columns <= columns
        return small and layer.places <= places

    return fits


def either(
    whole: Callable[[ConvLayer], bool], part: Callable[[ConvLayer], bool]
) -> Callable[[ConvLayer], bool]:
    """A limit for whole layers, and another for parts: these may be as small as is clear."""
    return lambda layer: (layer.is_whole and whole(layer)) or part(layer)


# (out channels, in channels, outputs along each axis)
_Counts: TypeAlias = "tuple[int, int, tuple[int, ...]]"


def _candidates(layer: ConvLayer) -> list[_Counts]:
    """Sizes of parts, best first."""
    filters, channels = len(layer.outputs[0]), len(layer.inputs[0])
    kept = sorted({min(n, channels) for n in (1, 2, 3, 4, channels)})
    longest = max(map(len, layer.outputs[1:]))
    along = [n for n in (*range(1, 9), 12, 16, 24, 32, 48, 64, 96) if n <= longest]
    flat = (1,) * (layer.rank - 1)
    places = {(n,) * layer.rank for n in along} | {(*flat, n) for n in along}
    maps = sorted({min(n, filters) for n in (1, 2, 3, 4, filters)})
    found = [(m, c, n) for m in maps for c in kept for n in places]

    def merit(counts: _Counts) -> float:
        m, c, n = counts
        whole = c == channels
        return float(np.log2(min(m, 2) * min(c, 2) * prod(min(k, 4) for k in n)) + whole)

    return sorted(found, key=lambda c: (-merit(c), c[2][:1] != c[2][-1:], -c[2][-1], -c[0], -c[1]))


def _part(layer: ConvLayer, counts: _Counts) -> ConvLayer:
    """The part with so many filters, input channels, and outputs along each axis."""
    m, c, n = counts
    positions = [_positions(layer, axis, n[axis]) for axis in range(layer.rank)]
    first = layer.outputs[0].start
    part = layer.restrict(out_channels=(first, first + m), outputs=positions)
    one_group = len(part.channels_read()) == layer.in_shape[0] // layer.geometry.group
    # of several groups, fewer channels would leave some filters without any
    return part.restrict(in_channels=part.inputs[0][:c]) if one_group else part


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
