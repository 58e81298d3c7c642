"""Launches of direct convolutions of values in blocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from irconv.backends.numba_cpu import native
from irconv.backends.numba_cpu.activations import pass_code
from irconv.backends.numba_cpu.blocked import convolve as slot
from irconv.backends.numba_cpu.blocked.depthwise import depthwise_convolution
from irconv.backends.numba_cpu.blocked.grouped import grouped_convolution
from irconv.backends.numba_cpu.blocked.halo import clear_halo
from irconv.backends.numba_cpu.blocked.launches import F32, Blocked
from irconv.backends.numba_cpu.blocked.storage import Storage
from irconv.backends.numba_cpu.blocked.tile import TileShape, lanes, most_rows, tile_address
from irconv.backends.numba_cpu.blocked.tiling import Panels, Pieces, Rectangle, Tiling
from irconv.backends.numba_cpu.blocked.weights import (
    in_stored_order,
    pack_bias,
    pack_weights,
    segments,
)
from irconv.backends.numba_cpu.launch import Launch, Source
from irconv.backends.numba_cpu.step import NOTHING, Epilogue
from irconv.geometry import ConvGeometry, Ints
from irconv.types import Array

_CACHE = 960 << 10  # bytes of a panel's weights and the input of a band: a second cache
_LEAST_BAND = 640 << 10
_FLAT_TILES = 4  # of a unit of pixels


@dataclass(frozen=True)
class ConvolveStep:
    """A row whose numbers include the addresses of tiles, which `bind` looks up or compiles."""

    name: str
    kernel: Callable[..., None] = field(repr=False)
    numbers: Mapping[int, int | float]
    tiles: Mapping[int, TileShape]
    activation: str | None
    size: int = slot.ROW
    scratch_bytes: int = 0

    def bind(self) -> Array:
        """The row of int64 with all addresses of data 0."""
        row = np.zeros(self.size, np.int64)
        row[0] = native.address(self.kernel, F32)
        for place, value in self.numbers.items():
            row[place] = np.float64(value).view(np.int64) if isinstance(value, float) else value
        for place, shape in self.tiles.items():
            row[place] = tile_address(shape)
        if self.activation is not None:
            row[slot.FINISH] = pass_code(self.activation, F32)
        return row


@dataclass(frozen=True)
class Layer:
    """y = activation(conv(x, w) + b + residual), all in blocks, of two spatial axes."""

    geometry: ConvGeometry
    x: Storage
    y: Storage
    residual: Storage | None
    ending: Epilogue

    @property
    def first(self) -> int:
        """The element of x that the first tap of the first output pixel reads."""
        top, left = self.geometry.pads[:2]
        return self.x.origin - top * self.x.line - left * self.x.block

    @property
    def depth(self) -> int:
        """Products of one output element, those with what fills up a block too."""
        channels = self.geometry.in_channels // self.geometry.group
        return -(-channels // self.x.block) * self.x.block * self.geometry.taps

    def is_possible(self) -> bool:
        """Whether a kernel runs it: the halo holds all padding, blocks are whole vectors."""
        written = [self.y, *([self.residual] if self.residual is not None else [])]
        order = self.x.order if self.is_depthwise() else None
        return (
            all(v.block == lanes() and v.order == order for v in written)
            and all(n <= h for n, h in zip(self._reach(), self.x.halo, strict=True))
            and (self.geometry.group == 1 or self.x.block == lanes())
        )

    def is_depthwise(self) -> bool:
        """Whether each channel is by itself."""
        g = self.geometry
        return g.group == g.in_channels == g.out_channels and g.group > 1

    def has_whole_groups(self) -> bool:
        """Whether the groups are blocks of channels, which lie in their order."""
        g = self.geometry
        if g.group == 1:
            return True
        sizes = (g.in_channels // g.group, g.out_channels // g.group)
        return self.x.order is None and not any(size % lanes() for size in sizes)

    def _reach(self) -> tuple[int, ...]:
        """How many pixels above, left, below and right of the image are read."""
        g = self.geometry
        ends = []
        for axis, out in enumerate(g.out):
            last = (out - 1) * g.strides[axis] + (g.kernel[axis] - 1) * g.dilations[axis]
            ends.append(last - g.pads[axis] + 1 - g.image[axis])
        return (*g.pads[:2], *ends)

    def tiling(self, parts: int) -> Tiling:
        """How the work is cut."""
        height, width = self.y.height, self.y.width
        blocks = -(-(self.geometry.out_channels // self.geometry.group) // lanes())
        panels = Panels.of(blocks, height * width)
        rows = most_rows(panels.vectors)
        if self.is_flat():
            tiles = -(-height * width // rows)
            repeats = self.x.images * self.geometry.group * panels.count
            each = max(min(_FLAT_TILES, tiles * repeats // (4 * parts)), 1)
            units = Pieces(height * width, -(-tiles // each))
            input_bytes = units.size * self.depth * F32.itemsize
            lead = 0
        else:
            lines = Rectangle.of(height, width, panels.vectors).lines.size
            units = Pieces.most(height, lines)
            line = self._line_bytes()
            input_bytes = lines * self.geometry.strides[0] * line
            span = (self.geometry.kernel[0] - 1) * self.geometry.dilations[0] + 1
            lead = max(span - self.geometry.strides[0], 0) * line
        panel_bytes = self.depth * panels.vectors * lanes() * F32.itemsize
        room = max(_CACHE - panel_bytes, _LEAST_BAND) - lead
        bands = -(-units.count // max(room // input_bytes, 1)) if panels.count > 1 else 1
        return Tiling(units, width, self.is_flat(), -(-units.count // bands), panels, self.depth)

    def _line_bytes(self) -> int:
        channels = self.geometry.in_channels // self.geometry.group
        return -(-channels // self.x.block) * self.x.line * F32.itemsize

    def is_flat(self) -> bool:
        """Whether an image may be read and written as one long line."""
        g = self.geometry
        values = [self.x, self.y, *([self.residual] if self.residual is not None else [])]
        return (
            (*g.kernel, *g.strides) == (1, 1, 1, 1)
            and not any(g.pads)
            and all(v.line == v.width * v.block for v in values)
        )


def convolution(
    x: Blocked,
    y: Blocked,
    geometry: ConvGeometry,
    weights: Array,
    bias: Array | None = None,
    residual: Blocked | None = None,
    ending: Epilogue = NOTHING,
    parts: int = 1,
) -> list[Launch] | None:
    """y = activation(conv(x, weights) + bias + residual), and the halo of y.

    `weights` are float32 `[out_channels, in_channels / group, *kernel]`, of one or two axes;
    `parts` is the most threads that will run it. The channels of x may have any order. None where
    no kernel does: the halo of x must hold the padding, y and the residual have blocks of one
    vector, and their channels lie in order (where each is by itself: as those of x).
    """
    geometry = of_two_axes(geometry)
    layer = Layer(
        geometry, x.storage, y.storage, residual.storage if residual is not None else None, ending
    )
    if not layer.is_possible():
        return None
    if layer.is_depthwise():
        return depthwise_convolution(x, y, geometry, weights, bias, residual, ending)
    if not layer.has_whole_groups():
        flat = layer.is_flat()
        return grouped_convolution(
            x, y, geometry, weights, bias, residual, ending, parts, flat=flat
        )
    tiling = layer.tiling(parts)
    shaped = in_stored_order(weights.reshape(geometry.weights_shape), x.storage)
    table, run = segments(x.storage, geometry)
    sources: dict[int, Source] = {
        slot.X: x.source,
        slot.Y: y.source,
        slot.WEIGHTS: pack_weights(shaped, geometry.group, x.storage.block, tiling.panels),
        slot.BIAS: pack_bias(bias, geometry.out_channels),
        slot.SEGMENTS: table,
        slot.SHARES: tiling.shares(x.storage.images * geometry.group, parts),
    }
    offsets = {slot.X: layer.first, slot.Y: y.storage.origin}
    if residual is not None:
        sources[slot.RESIDUAL] = residual.source
        offsets[slot.RESIDUAL] = residual.storage.origin
    step = ConvolveStep(
        "convolve_blocks",
        slot.convolve,
        _numbers(layer, tiling) | {slot.COUNT: len(table), slot.RUN: run},
        _tiles(layer, tiling, run),
        ending.activation,
    )
    in_bytes = {place: offset * F32.itemsize for place, offset in offsets.items()}
    return [*clear_halo(y), Launch(step, sources, offsets=in_bytes)]


def of_two_axes(geometry: ConvGeometry) -> ConvGeometry:
    """A convolution of one axis as one of images of one line."""
    if geometry.rank == 2:
        return geometry

    def lead(values: Ints, fill: int) -> Ints:
        return (fill, *values)

    begin, end = geometry.pads
    return replace(
        geometry,
        image=lead(geometry.image, 1),
        kernel=lead(geometry.kernel, 1),
        strides=lead(geometry.strides, 1),
        dilations=lead(geometry.dilations, 1),
        pads=(0, begin, 0, end),
    )


def _numbers(layer: Layer, tiling: Tiling) -> dict[int, int | float]:
    x, y, g, ending = layer.x, layer.y, layer.geometry, layer.ending
    r = layer.residual or y
    panels, units = tiling.panels, tiling.units
    x_line, x_pixel = g.strides[0] * x.line, g.strides[1] * x.block
    step = lanes()
    of_group = panels.blocks
    return {
        slot.GROUPS: g.group,
        slot.PANELS: panels.count,
        slot.VECTORS: panels.vectors,
        slot.LAST: panels.last,
        slot.UNITS: units.count,
        slot.UNIT_SIZE: units.size,
        slot.UNIT_LONGER: units.longer,
        slot.BAND: tiling.band,
        slot.X_IMAGE: x.image,
        slot.X_GROUP: g.in_channels // g.group // x.block * x.plane,
        slot.X_LINE: x_line,
        slot.X_PIXEL: x_pixel,
        slot.X_UNIT: x_pixel if tiling.flat else x_line,
        slot.Y_IMAGE: y.image,
        slot.Y_GROUP: of_group * y.plane,
        slot.Y_PLANE: y.plane,
        slot.Y_LINE: y.line,
        slot.Y_UNIT: step if tiling.flat else y.line,
        slot.R_IMAGE: r.image,
        slot.R_GROUP: of_group * r.plane,
        slot.R_PLANE: r.plane,
        slot.R_LINE: r.line,
        slot.R_UNIT: step if tiling.flat else r.line,
        slot.LOW: float(ending.low),
        slot.HIGH: float(ending.high),
        slot.ALPHA: float(ending.alpha),
        slot.BETA: float(ending.beta),
    } | _cuts(tiling)


def _rectangles(tiling: Tiling) -> list[Rectangle]:
    """Of each kind of panel, and each size of a unit."""
    kinds = (tiling.panels.vectors, tiling.panels.last)
    return [tiling.rectangle(size, v) for v in kinds for size in tiling.units.sizes]


def _cuts(tiling: Tiling) -> dict[int, int | float]:
    numbers: dict[int, int | float] = {}
    for i, cut in enumerate(_rectangles(tiling)):
        lines, pixels = cut.lines, cut.pixels
        values = (lines.count, lines.size, lines.longer, pixels.count, pixels.size, pixels.longer)
        numbers |= dict(enumerate(values, slot.FIXED + i * slot.RECTANGLE))
    return numbers


def _tiles(layer: Layer, tiling: Tiling, run: int) -> dict[int, TileShape]:
    """Where the addresses of tiles stand, and which."""
    step = layer.geometry.strides[1] * layer.x.block
    shapes = {}
    for i, cut in enumerate(_rectangles(tiling)):
        pairs = [(lines, width) for lines in cut.lines.sizes for width in cut.pixels.sizes]
        for j, (lines, width) in enumerate(pairs):
            place = slot.FIXED + i * slot.RECTANGLE + slot.CODES + j
            shapes[place] = TileShape(width, lines, cut.vectors, step, run)
    return shapes
