"""How a convolution on blocks is cut: panels, units of pixels, tiles, shares of the work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from math import ceil

import numpy as np

from irconv.backends.numba_cpu.blocked.tile import most_rows
from irconv.types import Array

LINES = 4  # at most of one tile: each has a pointer of its own
_TILE_COST = 100  # cycles of a tile that are no products
_LATENCY = 4  # cycles of a product


@dataclass(frozen=True)
class Pieces:
    """`total` cut into pieces of nearly equal size: `longer` of `size`, then those of size - 1."""

    total: int
    count: int

    @classmethod
    def most(cls, total: int, most: int) -> Pieces:
        """As few pieces as possible of at most `most`."""
        return cls(total, -(-total // most))

    @property
    def size(self) -> int:
        return -(-self.total // self.count)

    @property
    def longer(self) -> int:
        return self.total - self.count * (self.size - 1)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The two sizes; the same one twice where all are equal."""
        return (self.size, self.size if self.longer == self.count else self.size - 1)

    def each(self) -> list[int]:
        """The size of every piece."""
        return [self.size] * self.longer + [self.size - 1] * (self.count - self.longer)


@dataclass(frozen=True)
class Rectangle:
    """Lines x pixels of the output, cut into tiles of `vectors` blocks of channels."""

    lines: Pieces
    pixels: Pieces
    vectors: int

    @classmethod
    def of(cls, lines: int, width: int, vectors: int) -> Rectangle:
        rows = most_rows(vectors)
        stacked = max(min(rows // width, LINES, lines), 1)
        return cls(Pieces.most(lines, stacked), Pieces.most(width, rows), vectors)

    @property
    def tiles(self) -> int:
        return self.lines.count * self.pixels.count

    def cost(self, depth: int) -> int:
        """Cycles of all tiles, about."""
        rows = [n * w for n in self.lines.each() for w in self.pixels.each()]
        steps = [max(ceil(r * self.vectors / 2), _LATENCY) for r in rows]
        return depth * sum(steps) + _TILE_COST * len(rows)


@dataclass(frozen=True)
class Panels:
    """Blocks of output channels of one group: `count` panels of `vectors`, the last of `last`."""

    count: int
    vectors: int
    last: int

    @classmethod
    def of(cls, blocks: int, rows: int) -> Panels:
        """For tiles of at most `rows` pixels: where they are few, more channels fill a tile."""
        if rows <= LINES:
            vectors = min(blocks, 8 if rows <= 2 else 6)
            return cls(-(-blocks // vectors), vectors, (blocks - 1) % vectors + 1)
        if blocks % 2 and blocks > 1:
            return cls(blocks // 2, 2 if blocks > 3 else 3, 3)
        return cls(max(blocks // 2, 1), min(blocks, 2), min(blocks, 2))

    @property
    def blocks(self) -> int:
        return (self.count - 1) * self.vectors + self.last

    def each(self) -> list[int]:
        """The blocks of every panel."""
        return [self.vectors] * (self.count - 1) + [self.last]


@dataclass(frozen=True)
class Tiling:
    """The order of work on each image and group: bands of units, panels, units, tiles.

    A unit is some lines of the output or, where `flat`, some pixels of the image as one line. The
    input of a band of `band` units stays in a cache beside the weights of a panel.
    """

    units: Pieces
    width: int
    flat: bool
    band: int
    panels: Panels
    depth: int

    def rectangle(self, unit: int, vectors: int) -> Rectangle:
        """The tiles of a unit of this size for a panel of this many blocks."""
        if self.flat:
            return Rectangle.of(1, unit, vectors)
        return Rectangle.of(unit, self.width, vectors)

    @property
    def bands(self) -> int:
        return -(-self.units.count // self.band)

    @cached_property
    def _costs(self) -> list[int]:
        """Of every (band, panel, unit) of one image and group, in order of work."""
        sizes = self.units.each()
        known = {
            (size, v): self.rectangle(size, v).cost(self.depth)
            for size in set(sizes)
            for v in set(self.panels.each())
        }
        return [
            known[size, v]
            for first in range(0, len(sizes), self.band)
            for v in self.panels.each()
            for size in sizes[first : first + self.band]
        ]

    def shares(self, repeats: int, most: int) -> Array:
        """`shares` of the items of one image and group, in order of work."""
        return shares(self._costs, repeats, most)

    def unit_shares(self, repeats: int, most: int) -> Array:
        """`shares` of the units alone, each with all panels."""
        costs = {
            size: sum(self.rectangle(size, v).cost(self.depth) for v in self.panels.each())
            for size in set(self.units.sizes)
        }
        return shares([costs[size] for size in self.units.each()], repeats, most)


def shares(costs: Sequence[int], repeats: int, most: int) -> Array:
    """[most * (most + 3) / 2] int64: for 1, 2, ... `most` parts where each part's items begin.

    Items are numbered in order of work, `repeats` times as many as there are costs; the boundaries
    of `p` parts are the p + 1 numbers from place (p - 1) * (p + 2) / 2 on.
    """
    one = np.array([0, *accumulate(costs)], np.int64)
    items, total = len(costs), int(one[-1])
    cuts: list[int] = []
    for parts in range(1, most + 1):
        wanted = [repeats * total * part / parts for part in range(parts + 1)]
        for goal in wanted:
            repeat = min(int(goal // total), repeats - 1)
            place = int(np.abs(one - (goal - repeat * total)).argmin())
            cuts.append(repeat * items + place)
    return np.array(cuts, np.int64)
