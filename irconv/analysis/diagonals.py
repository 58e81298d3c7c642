"""The non-zero diagonals of a convolution's matrix, counted without building it."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from irconv.errors import BudgetError
from irconv.geometry import ConvGeometry
from irconv.types import Array

# one byte for each diagonal that the matrix could have
LIMIT = 1 << 29


@dataclass(frozen=True, slots=True)
class Diagonals:
    """Diagonals that hold an entry: `column - row` takes `count` values, from `lowest` to
    `highest`.

    `cyclic` counts the values of `(column - row) mod n`, where n is the longer side of the matrix:
    the products with rotated vectors that the diagonal method of homomorphic encryption takes
    (Halevi and Shoup, Algorithms in HElib, CRYPTO 2014, section 4.3).
    """

    count: int
    cyclic: int
    lowest: int
    highest: int


@dataclass(frozen=True, eq=False)
class _Offsets:
    """A set of integers: `mask[i]` says whether `lowest + i` is in it."""

    mask: Array
    lowest: int

    @property
    def end(self) -> int:
        return self.lowest + len(self.mask)

    def moved(self, by: int) -> _Offsets:
        return _Offsets(self.mask, self.lowest + by)

    def spread(self, step: int, count: int) -> _Offsets:
        """All sums with 0, step, ..., (count - 1) * step, by doubling."""
        found, have = self, 1
        while step and have < count:
            more = min(have, count - have)
            found, have = _union([found, found.moved(more * step)]), have + more
        return found


def _union(sets: list[_Offsets]) -> _Offsets:
    lowest, end = min(s.lowest for s in sets), max(s.end for s in sets)
    mask = np.zeros(end - lowest, bool)
    for s in sets:
        mask[s.lowest - lowest : s.end - lowest] |= s.mask
    return _Offsets(mask, lowest)


def diagonals(geometry: ConvGeometry, transposed: bool = False) -> Diagonals:
    """The non-zero diagonals of the matrix (a place counts where a weight stands, also one that is
    0).

    An offset is a sum of independent parts: one for each spatial axis, one for the input channel,
    one for the output channel. Each part is a union of few arithmetic progressions, so the set is
    made by shifts of one mask: O(log) passes of rows + columns bytes. Raises BudgetError past 2^29.
    """
    if geometry.rows + geometry.columns > LIMIT:
        raise BudgetError(
            "too many diagonals to count",
            expected=f"at most {LIMIT} rows and columns together",
            got=geometry.rows + geometry.columns,
        )
    found = _of_pixels(geometry)
    if found is None:
        return Diagonals(0, 0, 0, 0)
    pixels, places = prod(geometry.image), prod(geometry.out)
    ins, outs = geometry.in_channels // geometry.group, geometry.out_channels // geometry.group
    found = found.spread(pixels, ins).spread(-places, outs)
    found = found.spread(ins * pixels - outs * places, geometry.group)
    return _counted(found, max(geometry.rows, geometry.columns), transposed)


def _counted(found: _Offsets, length: int, transposed: bool) -> Diagonals:
    offsets = np.flatnonzero(found.mask) + found.lowest
    lowest, highest = int(offsets[0]), int(offsets[-1])
    if transposed:
        lowest, highest = -highest, -lowest
    wrapped = np.zeros(length, bool)
    wrapped[offsets % length] = True
    return Diagonals(len(offsets), int(np.count_nonzero(wrapped)), lowest, highest)


def _of_pixels(g: ConvGeometry) -> _Offsets | None:
    """All (input pixel - output pixel) of taps that read the image; None where none does."""
    found = _Offsets(np.ones(1, bool), 0)
    for axis in range(g.rank):
        pixels, places = prod(g.image[axis + 1 :]), prod(g.out[axis + 1 :])
        parts = []
        for tap in range(g.kernel[axis]):
            first, count, read = tap_reach(g, axis, tap)
            if count:
                start = found.moved(read * pixels - first * places)
                parts.append(start.spread(g.strides[axis] * pixels - places, count))
        if not parts:
            return None
        found = _union(parts)
    return found


def tap_reach(g: ConvGeometry, axis: int, tap: int) -> tuple[int, int, int]:
    """(first output, number of outputs, coordinate that the first one reads): the outputs along
    `axis` whose `tap` reads the image, not its padding.
    """
    stride, offset = g.strides[axis], tap * g.dilations[axis] - g.pads[axis]
    first = max(0, -(offset // stride))
    last = min(g.out[axis] - 1, (g.image[axis] - 1 - offset) // stride)
    return first, max(0, last - first + 1), first * stride + offset
