"""Convolutions of values in blocks whose groups are no whole blocks: nothing is padded.

The channels of a group lie anywhere in the blocks of x: the table of segments tells where, so
channels in another order cost nothing. Of a block of y that two groups share each writes its own
lanes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from irconv.backends.numba_cpu import native
from irconv.backends.numba_cpu.blocked.convolve import (
    CODES,
    LINE_LONGER,
    LINE_SIZE,
    LINES,
    PIXEL_LONGER,
    PIXEL_SIZE,
    PIXELS,
    RECTANGLE,
    part_of,
)
from irconv.backends.numba_cpu.blocked.cut_tile import cut_tile_address
from irconv.backends.numba_cpu.blocked.group_panels import Depth, Panel, panels_of
from irconv.backends.numba_cpu.blocked.halo import clear_halo
from irconv.backends.numba_cpu.blocked.launches import F32, Blocked
from irconv.backends.numba_cpu.blocked.pointwise import activate
from irconv.backends.numba_cpu.blocked.tile import TileShape, most_rows
from irconv.backends.numba_cpu.blocked.tiling import LINES as MOST_LINES
from irconv.backends.numba_cpu.blocked.tiling import Pieces, Rectangle, shares
from irconv.backends.numba_cpu.blocked.weights import pack_bias
from irconv.backends.numba_cpu.jit import compiled_part
from irconv.backends.numba_cpu.launch import Launch, Source
from irconv.backends.numba_cpu.pointers import at, call, double_bits, number, pointer
from irconv.backends.numba_cpu.pointers import lanes as lanes_of
from irconv.backends.numba_cpu.step import NOTHING, Epilogue
from irconv.geometry import ConvGeometry
from irconv.types import Array

# The row of a convolution: addresses, then numbers, then for each number of blocks of a panel how
# the two sizes of a unit are cut into tiles.
# fmt: off
(
    CODE, X, WEIGHTS, BIAS, RESIDUAL, Y, SEGMENTS, SHARES, TABLE,
    PANELS, UNITS, UNIT_SIZE, UNIT_LONGER, COUNT,
    X_IMAGE, X_LINE, X_PIXEL, X_UNIT,
    Y_IMAGE, Y_PLANE, Y_LINE, Y_UNIT,
    R_IMAGE, R_PLANE, R_LINE, R_UNIT,
    LOW, HIGH, FIXED,
) = range(29)
# A line of the table of panels.
(FIRST, SKIP, KEEP, OF_SEGMENTS, OF_WEIGHTS, CUTS, OF_TABLE) = range(7)
# fmt: on


def convolve_groups(step: Any, like: Any, part: Any, parts: Any) -> None:
    """Kernel: unit by unit, so that its input stays near, the panels of all groups."""
    item, end = part_of(pointer(step[SHARES], step), part, parts)
    for i in range(item, end):
        rest = i // step[PANELS]
        panel = at(pointer(step[TABLE], step), (i - rest * step[PANELS]) * OF_TABLE)
        image = rest // step[UNITS]
        unit = rest - image * step[UNITS]
        start = unit * (step[UNIT_SIZE] - 1) + min(unit, step[UNIT_LONGER])
        x = at(pointer(step[X], like), image * step[X_IMAGE] + start * step[X_UNIT])
        place = image * step[Y_IMAGE] + panel[FIRST] * step[Y_PLANE] + start * step[Y_UNIT]
        residual = pointer(step[RESIDUAL], like)
        if step[RESIDUAL] != 0:
            before = image * step[R_IMAGE] + panel[FIRST] * step[R_PLANE]
            residual = at(residual, before + start * step[R_UNIT])
        cut = at(step, panel[CUTS] + (0 if unit < step[UNIT_LONGER] else RECTANGLE))
        _unit(step, panel, cut, x, at(pointer(step[Y], like), place), residual)


@compiled_part
def _unit(step: Any, panel: Any, cut: Any, x: Any, y: Any, residual: Any) -> None:
    """The tiles of a unit of one panel."""
    low, high = number(double_bits(step[LOW]), y), number(double_bits(step[HIGH]), y)
    segments = at(pointer(step[SEGMENTS], step), panel[OF_SEGMENTS])
    weights = at(pointer(step[WEIGHTS], y), panel[OF_WEIGHTS])
    bias = pointer(step[BIAS], y)
    if step[BIAS] != 0:
        bias = at(bias, panel[FIRST] * lanes_of(y))
    line = 0
    for i in range(cut[LINES]):
        short_line = int(i >= cut[LINE_LONGER])
        pixel = 0
        for short in range(2):
            tiles = cut[PIXELS] - cut[PIXEL_LONGER] if short else cut[PIXEL_LONGER]
            if tiles == 0:
                continue
            added = residual
            if step[RESIDUAL] != 0:
                added = at(residual, line * step[R_LINE] + pixel * lanes_of(y))
            call(
                cut[CODES + 2 * short_line + short],
                at(x, line * step[X_LINE] + pixel * step[X_PIXEL]),
                step[X_LINE],
                segments,
                step[COUNT],
                weights,
                at(y, line * step[Y_LINE] + pixel * lanes_of(y)),
                step[Y_LINE],
                step[Y_PLANE],
                bias,
                added,
                step[R_LINE],
                step[R_PLANE],
                low,
                high,
                tiles,
                panel[SKIP],
                panel[KEEP],
            )
            pixel += (cut[PIXEL_SIZE] - short) * tiles
        line += cut[LINE_SIZE] - short_line


@dataclass(frozen=True)
class GroupedStep:
    """A row whose numbers include the addresses of tiles, which `bind` looks up or compiles."""

    name: str
    kernel: Callable[..., None] = field(repr=False)
    numbers: Mapping[int, int | float]
    tiles: Mapping[int, TileShape]
    size: int
    scratch_bytes: int = 0

    def bind(self) -> Array:
        """The row of int64 with all addresses of data 0."""
        row = np.zeros(self.size, np.int64)
        row[CODE] = native.address(self.kernel, F32)
        for place, value in self.numbers.items():
            row[place] = np.float64(value).view(np.int64) if isinstance(value, float) else value
        for place, shape in self.tiles.items():
            row[place] = cut_tile_address(shape)
        return row


@dataclass(frozen=True)
class _Work:
    """What a step works on, and how it is cut: units of lines or, where `flat`, of pixels."""

    geometry: ConvGeometry
    x: Blocked
    y: Blocked
    residual: Blocked | None
    panels: tuple[Panel, ...]
    depth: Depth
    flat: bool

    @property
    def units(self) -> Pieces:
        height, width = self.y.storage.height, self.y.storage.width
        if self.flat:
            return Pieces.most(height * width, most_rows(1))
        return Pieces.most(height, max(min(most_rows(1) // width, MOST_LINES), 1))

    @property
    def widths(self) -> list[int]:
        """The numbers of blocks that a panel may have."""
        return sorted({panel.vectors for panel in self.panels})

    def rectangle(self, unit: int, vectors: int) -> Rectangle:
        """The tiles of a unit of this size."""
        if self.flat:
            return Rectangle.of(1, unit, vectors)
        return Rectangle.of(unit, self.y.storage.width, vectors)

    def rectangles(self) -> list[Rectangle]:
        """For each number of blocks, of both sizes of a unit."""
        return [self.rectangle(size, v) for v in self.widths for size in self.units.sizes]

    def shares(self, parts: int) -> Array:
        """Where each part's items begin."""
        steps = self.depth.offsets.shape[1] * self.depth.run * self.geometry.taps
        costs = [
            self.rectangle(size, panel.vectors).cost(steps)
            for size in self.units.each()
            for panel in self.panels
        ]
        return shares(costs, self.x.storage.images, parts)


def grouped_convolution(
    x: Blocked,
    y: Blocked,
    geometry: ConvGeometry,
    weights: Array,
    bias: Array | None = None,
    residual: Blocked | None = None,
    ending: Epilogue = NOTHING,
    parts: int = 1,
    flat: bool = False,
) -> list[Launch]:
    """y = activation(conv(x, weights) + bias + residual) of two axes, and the halo of y.

    The halo of x holds the padding, and x, y and the residual have blocks of one vector. `flat`:
    an image may be read and written as one long line. Channels of x may have any order.
    """
    group = geometry.group
    pixels = y.storage.height * y.storage.width
    panels = tuple(panels_of(geometry, pixels))
    work = _Work(geometry, x, y, residual, panels, Depth.of(x.storage, group), flat)
    shaped = weights.reshape(group, -1, geometry.in_channels // group, geometry.taps)
    packed, starts = work.depth.weights(shaped, panels)
    segments = work.depth.segments(x.storage, geometry)
    sources: dict[int, Source] = {
        X: x.source,
        Y: y.source,
        WEIGHTS: packed,
        BIAS: pack_bias(bias, geometry.out_channels),
        SEGMENTS: segments,
        SHARES: work.shares(parts),
        TABLE: _table(work, starts, segments.shape[1]),
    }
    top, left = geometry.pads[:2]
    offsets = {
        X: x.storage.origin - top * x.storage.line - left * x.storage.block,
        Y: y.storage.origin,
    }
    if residual is not None:
        sources[RESIDUAL] = residual.source
        offsets[RESIDUAL] = residual.storage.origin
    numbers = _numbers(work) | {COUNT: segments.shape[1]} | _bounds(ending)
    size = FIXED + 2 * RECTANGLE * len(work.widths)
    step = GroupedStep("convolve_groups", convolve_groups, numbers, _tiles(work), size)
    in_bytes = {place: offset * F32.itemsize for place, offset in offsets.items()}
    # an activation that is no clamp waits until all lanes of a block are there
    rest = activate(y, y, ending) if ending.activation is not None else []
    return [*clear_halo(y), Launch(step, sources, offsets=in_bytes), *rest]


def _bounds(ending: Epilogue) -> dict[int, int | float]:
    return {LOW: float(ending.low), HIGH: float(ending.high)}


def _table(work: _Work, starts: list[int], count: int) -> Array:
    """[panels, OF_TABLE] int64."""
    places = {v: FIXED + 2 * RECTANGLE * i for i, v in enumerate(work.widths)}
    lines = [
        (p.first, p.skip, p.keep, p.group * count, start, places[p.vectors])
        for p, start in zip(work.panels, starts, strict=True)
    ]
    return np.array(lines, np.int64)


def _numbers(work: _Work) -> dict[int, int | float]:
    x, y, g = work.x.storage, work.y.storage, work.geometry
    r = work.residual.storage if work.residual is not None else y
    units = work.units
    x_line, x_pixel = g.strides[0] * x.line, g.strides[1] * x.block
    numbers: dict[int, int | float] = {
        PANELS: len(work.panels),
        UNITS: units.count,
        UNIT_SIZE: units.size,
        UNIT_LONGER: units.longer,
        X_IMAGE: x.image,
        X_LINE: x_line,
        X_PIXEL: x_pixel,
        X_UNIT: x_pixel if work.flat else x_line,
        Y_IMAGE: y.image,
        Y_PLANE: y.plane,
        Y_LINE: y.line,
        Y_UNIT: y.block if work.flat else y.line,
        R_IMAGE: r.image,
        R_PLANE: r.plane,
        R_LINE: r.line,
        R_UNIT: r.block if work.flat else r.line,
    }
    for i, cut in enumerate(work.rectangles()):
        for j, pieces in enumerate((cut.lines, cut.pixels)):
            values = (pieces.count, pieces.size, pieces.longer)
            numbers |= dict(enumerate(values, FIXED + i * RECTANGLE + 3 * j))
    return numbers


def _tiles(work: _Work) -> dict[int, TileShape]:
    """Where the addresses of tiles stand, and which."""
    step = work.geometry.strides[1] * work.x.storage.block
    shapes = {}
    for i, cut in enumerate(work.rectangles()):
        pairs = [(lines, width) for lines in cut.lines.sizes for width in cut.pixels.sizes]
        for j, (lines, width) in enumerate(pairs):
            place = FIXED + i * RECTANGLE + CODES + j
            shapes[place] = TileShape(width, lines, cut.vectors, step, work.depth.run)
    return shapes
