"""Groups that are no whole blocks: which blocks each writes, in which order it reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from irconv.backends.numba_cpu.blocked.storage import Storage
from irconv.backends.numba_cpu.blocked.tile import F32, lanes
from irconv.backends.numba_cpu.blocked.tiling import LINES, Panels
from irconv.backends.numba_cpu.packing import aligned
from irconv.geometry import ConvGeometry
from irconv.types import Array

_FEW = 16  # channels of a group


@dataclass(frozen=True)
class Panel:
    """Neighbouring blocks of y that a group writes: of the first the lanes from `skip` on, of the
    last those below `keep`.
    """

    group: int
    first: int
    vectors: int
    skip: int
    keep: int


def panels_of(geometry: ConvGeometry, pixels: int) -> list[Panel]:
    """The panels of all groups, for images of so many pixels."""
    rows, size = geometry.out_channels // geometry.group, lanes()
    found = []
    for group in range(geometry.group):
        low, high = group * rows, (group + 1) * rows
        first, end = low // size, -(-high // size)
        # nobody else writes the lanes that fill up the last block: zeros
        limit = high if group < geometry.group - 1 else end * size
        for vectors in _cut(end - first, pixels):
            skip = max(low - first * size, 0)
            keep = min(limit - (first + vectors - 1) * size, size)
            found.append(Panel(group, first, vectors, skip, keep))
            first += vectors
    return found


def _cut(blocks: int, pixels: int) -> list[int]:
    """The blocks of each panel: three at a time, which need fewest loads for a product."""
    if pixels <= LINES or blocks <= 2:
        return Panels.of(blocks, pixels).each()
    pairs = -blocks % 3
    return [3] * ((blocks - 2 * pairs) // 3) + [2] * pairs


@dataclass(frozen=True)
class Depth:
    """The order of the products of one output: channels in runs of `run`, tap by tap."""

    channels: Array  # [group, runs, run]: of the group's own
    offsets: Array  # [group, runs]: of the first of a run in an image of x
    run: int

    @classmethod
    def of(cls, x: Storage, group: int) -> Depth:
        """As they lie in memory."""
        count = x.channels // group
        slots = np.array(x.slots, np.int64).reshape(group, count)
        places = slots // x.block * x.plane + slots % x.block
        order = np.argsort(places, 1)
        sorted_slots = np.take_along_axis(slots, order, 1)
        # Of many channels two at a time gain nothing. Nor do longer runs: LLVM then loads weights
        # too early, and lacks registers.
        run = 2 if count <= _FEW and _are_pairs(sorted_slots, x.block) else 1
        offsets = np.take_along_axis(places, order, 1)[:, ::run]
        return cls(order.reshape(group, -1, run), offsets, run)

    def segments(self, x: Storage, geometry: ConvGeometry) -> Array:
        """[group, runs * taps] int64: where the segments of K begin."""
        (high, wide), (down, across) = geometry.kernel, geometry.dilations
        lines = np.arange(high)[:, None] * (down * x.line)
        taps = (lines + np.arange(wide) * (across * x.block)).reshape(-1)
        table: Array = self.offsets[:, :, None] + taps
        return table.reshape(len(table), -1)

    def weights(self, weights: Array, panels: Sequence[Panel]) -> tuple[Array, list[int]]:
        """[panel][run of channels][tap][run][vectors * lanes], and where each panel's begin.

        `weights` are [group, rows, channels, taps]. Lanes that a panel does not write have zeros.
        """
        rows = weights.shape[1]
        packed, starts = [], []
        place = 0
        for panel in panels:
            width, low = panel.vectors * lanes(), panel.group * rows
            matrix = weights[panel.group][:, self.channels[panel.group]]
            matrix = matrix.transpose(1, 3, 2, 0).reshape(-1, rows)
            filled = np.zeros((len(matrix), width), F32)
            begin = panel.first * lanes() - low  # the row in the first lane
            first, end = max(begin, 0), min(begin + width, rows)
            filled[:, first - begin : end - begin] = matrix[:, first:end]
            packed.append(filled.reshape(-1))
            starts.append(place)
            place += filled.size
        joined = aligned(place, F32)
        np.concatenate(packed, out=joined)
        return joined, starts


def _are_pairs(slots: Array, block: int) -> bool:
    """Whether every two of the channels lie side by side in a block."""
    if slots.shape[1] % 2:
        return False
    first, second = slots[:, ::2], slots[:, 1::2]
    return bool(((second == first + 1) & (second % block != 0)).all())
