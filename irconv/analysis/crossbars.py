"""How many crossbar tiles a convolution's matrix occupies, counted without building it."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd, prod

import numpy as np

from irconv.errors import BudgetError
from irconv.geometry import ConvGeometry
from irconv.types import Array

# elements of index arithmetic; a few seconds
LIMIT = 1 << 30
TILES_LIMIT = 1 << 20


@dataclass(frozen=True, slots=True)
class Crossbar:
    """The matrix cut into tiles of `rows` x `columns` (outputs x inputs of an array).

    `tiles` hold at least one entry, of `all_tiles`; `use` is the part of their cells that an entry
    fills. `kernel_tiles`: what the weights alone need, as the matrix [outputs, inputs x taps] of
    each group that im2col multiplies once for each output pixel.
    """

    rows: int
    columns: int
    tiles: int
    all_tiles: int
    use: float
    kernel_tiles: int


def crossbar(geometry: ConvGeometry, rows: int, columns: int, transposed: bool = False) -> Crossbar:
    """The tiles of the matrix for arrays of `rows` x `columns`; raises BudgetError where counting
    them takes too long.
    """
    g = geometry
    tall, wide = (columns, rows) if transposed else (rows, columns)
    tiles = occupied_tiles(g, tall, wide)
    per_group = g.in_channels // g.group * g.taps
    kernel_tiles = g.group * _ceil(g.out_channels // g.group, tall) * _ceil(per_group, wide)
    use = g.nnz / (tiles * rows * columns) if tiles else 0.0
    return Crossbar(
        rows, columns, tiles, _ceil(g.rows, tall) * _ceil(g.columns, wide), use, kernel_tiles
    )


def _ceil(size: int, part: int) -> int:
    return -(-size // part)


def occupied_tiles(geometry: ConvGeometry, rows: int, columns: int) -> int:
    """The number of `rows` x `columns` tiles of the matrix that hold an entry.

    The rows of a tile repeat with the channels: only tiles that start at different pixels are
    looked at, and of their input channels only one period of where they start in a tile.
    """
    return _Tiling(geometry, rows, columns).count()


class _Tiling:
    """Counts tiles row of tiles by row of tiles; equal rows are looked at once."""

    def __init__(self, geometry: ConvGeometry, rows: int, columns: int) -> None:
        g = geometry
        self.rows, self.columns = rows, columns
        self.places, self.pixels = prod(g.out), prod(g.image)
        self.channels = g.in_channels // g.group
        self.group_rows = g.out_channels // g.group * self.places
        self.group_columns = self.channels * self.pixels
        self.geometry = g
        self.known: dict[tuple[int, int, int], tuple[int, int, int]] = {}
        self._check()
        self.reads = g.tap_table()

    def _check(self) -> None:
        g = self.geometry
        tiles = _ceil(g.rows, self.rows) + g.group
        kinds = min(tiles, self.places // gcd(self.places, self.rows) + 2)
        period = min(self.channels, self.columns // gcd(self.pixels, self.columns))
        work = kinds * min(self.rows, self.places) * g.taps * period
        if tiles > TILES_LIMIT or max(work, self.places * g.taps) > LIMIT:
            raise BudgetError(
                f"tiles of {self.rows} x {self.columns} are too small to be counted here",
                expected=f"at most {TILES_LIMIT} rows of tiles and {LIMIT} steps",
                got=f"{tiles} rows of tiles and {work} steps",
            )

    def count(self) -> int:
        total, end = 0, self.geometry.rows
        for first in range(0, end, self.rows):
            total += self._row(first, min(first + self.rows, end))
        return total

    def _row(self, first: int, end: int) -> int:
        """The occupied tiles of one row of tiles. Groups stand side by side: two of them share at
        most the tile where the one ends and the other begins.
        """
        total, last = 0, -1
        for group in range(first // self.group_rows, (end - 1) // self.group_rows + 1):
            begin = group * self.group_rows
            top, bottom = max(first - begin, 0), min(end - begin, self.group_rows)
            base, offset = divmod(group * self.group_columns, self.columns)
            key = top % self.places, min(bottom - top, self.places), offset
            if key not in self.known:
                self.known[key] = self._touched(*key)
            count, low, high = self.known[key]
            if count:
                total += count - (base + low == last)
                last = base + high
        return total

    def _touched(self, top: int, length: int, offset: int) -> tuple[int, int, int]:
        """(number, first, last) of the tiles that `length` output pixels from `top` on reach, in a
        group whose columns start at `offset` of a tile.
        """
        found = np.unique(self.reads[np.arange(top, top + length) % self.places])
        found = found[found >= 0].astype(np.int64)
        if not found.size:
            return 0, 0, 0
        period = self.columns // gcd(self.pixels, self.columns)
        repeats, rest = divmod(self.channels, period)
        step = period * self.pixels // self.columns
        total, low, high = 0, 0, -1
        if repeats:
            count, low, high = self._channels(found, period, offset)
            total = repeats * count - (repeats - 1) * (low + step == high)
            high += (repeats - 1) * step
        if rest:
            count, start, end = self._channels(found, rest, offset + repeats * period * self.pixels)
            low = low if repeats else start
            total, high = total + count - (start == high), end
        return total, low, high

    def _channels(self, pixels: Array, channels: int, offset: int) -> tuple[int, int, int]:
        """The same for so many channels, the first of which starts at `offset`."""
        starts = offset + np.arange(channels, dtype=np.int64)[:, None] * self.pixels
        tiles = ((starts + pixels) // self.columns).reshape(-1)
        return 1 + int(np.count_nonzero(np.diff(tiles))), int(tiles[0]), int(tiles[-1])
