"""The literal index of a matrix turned for vectors, as `sliced` reads it; made at compile time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from irconv.backends.numba_cpu import machine
from irconv.backends.numba_cpu.memory import aligned
from irconv.matrix import SharedMatrix
from irconv.types import Array

MOST_WEIGHTS = 1 << 16  # of one channel: an entry is their number, in 16 bits
_INT32, _UINT16 = np.dtype(np.int32), np.dtype(np.uint16)


@dataclass(frozen=True)
class Slices:
    """A matrix [channels * pixels, columns], the rows of some channels side by side.

    The channels of a group of the convolution are taken `together` at a time, the last time those
    that are left. Of each pixel, the rows of these channels have `starts[p + 1] - starts[p]`
    entries; the first of all of them, then the second, and so on: int32 `columns`, and uint16
    `entries` that number the weights of a channel. `weights` are [each time][entry][lanes of a
    vector]. The columns are those of x with its channels last, [pixels, channels]: neighbours in a
    row of the matrix are then neighbours in memory.
    """

    columns: Array
    entries: Array
    starts: Array
    weights: Array
    together: int


def lanes() -> int:
    """Rows that a vector holds."""
    return machine.tile(np.dtype(np.float32)).lanes


def sliced(matrix: SharedMatrix) -> Slices | None:
    """The slices of a literal matrix of float32, 6 bytes an entry.

    None where the channels have other numbers of entries at a pixel, or weights not their own, as
    those of a convolution do not.
    """
    kind, channels = matrix.type, matrix.type.channels
    counts = np.diff(matrix.indptr).reshape(channels, -1)
    weights, number = _by_channel(matrix)
    span = weights.shape[1]
    if span > MOST_WEIGHTS or (counts != counts[0]).any():
        return None
    columns = matrix.columns.reshape(channels, -1)
    turned = np.arange(kind.columns, dtype=np.int32).reshape(-1, kind.image[0]).T.reshape(-1)
    entries = matrix.entries.reshape(channels, -1)
    together = min(lanes(), channels // kind.geometry.group)
    # whole vectors are read from the last of each
    held_columns = aligned(columns.size + lanes(), _INT32)
    held_entries = aligned(columns.size + lanes(), _UINT16)
    for first, end in _groups(channels, channels // kind.geometry.group, together):
        own = number[entries[first:end]] - np.arange(first, end, dtype=np.int32)[:, None] * span
        if own.size and (own.min() < 0 or own.max() >= span):
            return None
        place = slice(first * columns.shape[1], end * columns.shape[1])
        held_columns[place].reshape(-1, end - first)[...] = turned[columns[first:end]].T
        held_entries[place].reshape(-1, end - first)[...] = own.T
    held_columns[columns.size :] = held_entries[columns.size :] = 0
    return Slices(
        held_columns,
        held_entries,
        matrix.indptr[: counts.shape[1] + 1].copy(),
        _in_lanes(weights, kind.geometry.group, together),
        together,
    )


def _groups(channels: int, each: int, together: int) -> list[tuple[int, int]]:
    """The first channel and the end of those that are taken at a time."""
    return [
        (first, min(first + together, start + each))
        for start in range(0, channels, each)
        for first in range(start, start + each, together)
    ]


def _by_channel(matrix: SharedMatrix) -> tuple[Array, Array]:
    """[channels, weights of each], and the number there of each free weight."""
    g, free = matrix.type.geometry, matrix.weights
    shape = (g.group, g.out_channels // g.group, g.in_channels // g.group, g.taps)
    numbers = np.arange(free.size, dtype=np.int32)
    if not matrix.type.transposed:
        return free.reshape(g.out_channels, -1), numbers
    turned = numbers.reshape(shape).swapaxes(1, 2).reshape(-1)
    place = np.empty_like(turned)
    place[turned] = numbers
    return free.reshape(-1)[turned].reshape(g.in_channels, -1), place


def _in_lanes(weights: Array, group: int, together: int) -> Array:
    """[channels, weights] as [each time][weights][lanes], lanes without a channel 0."""
    channels, span = weights.shape
    groups = _groups(channels, channels // group, together)
    held = aligned(len(groups) * span * lanes(), weights.dtype).reshape(len(groups), span, -1)
    held[:] = 0
    for to, (first, end) in zip(held, groups, strict=True):
        to[:, : end - first] = weights[first:end].T
    return held.reshape(-1)
