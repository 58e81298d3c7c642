"""The rows of convolutions on blocks: the numbers, sources and tiles that their kernels read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from irconv.backends.numba_cpu import native
from irconv.backends.numba_cpu.activations import pass_code
from irconv.backends.numba_cpu.blocked import convolve as slot
from irconv.backends.numba_cpu.blocked.folds import Fold, fold_address
from irconv.backends.numba_cpu.blocked.launches import F32, Blocked
from irconv.backends.numba_cpu.blocked.layer import Layer
from irconv.backends.numba_cpu.blocked.tile import TileShape, lanes, tile_address
from irconv.backends.numba_cpu.blocked.tiling import Rectangle, Tiling
from irconv.backends.numba_cpu.blocked.weights import (
    channels_at_once,
    in_stored_order,
    pack_bias,
    pack_weights,
    segments,
)
from irconv.backends.numba_cpu.launch import Launch, Source
from irconv.types import Array


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
    folds: Mapping[int, Fold] = field(default_factory=dict)

    def bind(self) -> Array:
        """The row of int64 with all addresses of data 0."""
        row = np.zeros(self.size, np.int64)
        row[0] = native.address(self.kernel, F32)
        for place, value in self.numbers.items():
            row[place] = np.float64(value).view(np.int64) if isinstance(value, float) else value
        for place, shape in self.tiles.items():
            row[place] = tile_address(shape)
        for place, fold in self.folds.items():
            row[place] = fold_address(fold)
        if self.activation is not None:
            row[slot.FINISH] = pass_code(self.activation, F32)
        return row


@dataclass(frozen=True)
class Operands:
    """y = activation(conv(x, weights) + bias + residual): what is read and written."""

    x: Blocked
    y: Blocked
    weights: Array
    bias: Array | None
    residual: Blocked | None


@dataclass(frozen=True)
class Row:
    """What a row is made of, by place: numbers, tiles, addresses and the elements added to them."""

    numbers: dict[int, int | float]
    tiles: dict[int, TileShape]
    sources: dict[int, Source]
    offsets: dict[int, int]
    folds: dict[int, Fold] = field(default_factory=dict)

    def launch(
        self,
        name: str,
        kernel: Callable[..., None],
        activation: str | None,
        size: int = slot.ROW,
        scratch: tuple[int, int] | None = None,
    ) -> Launch:
        """The launch of a kernel; `scratch` is the place of its address and the bytes."""
        place, nbytes = scratch if scratch is not None else (None, 0)
        step = ConvolveStep(
            name, kernel, self.numbers, self.tiles, activation, size, nbytes, self.folds
        )
        in_bytes = {i: offset * F32.itemsize for i, offset in self.offsets.items()}
        return Launch(step, self.sources, place, in_bytes)


def convolve_row(
    layer: Layer,
    tiling: Tiling,
    operands: Operands,
    parts: int,
    read: tuple[Array, int] | None = None,
) -> Row:
    """The row of `convolve.convolve`, to which other kernels add their own.

    `read`: the segments of K and the length of one, where they are not those of the geometry.
    """
    x, y, residual = operands.x, operands.y, operands.residual
    g = layer.geometry
    shaped = in_stored_order(operands.weights.reshape(g.weights_shape), x.storage)
    table, run = segments(layer.x, g) if read is None else read
    at_once = channels_at_once(layer.x, g.in_channels // g.group)
    sources: dict[int, Source] = {
        slot.X: x.source,
        slot.Y: y.source,
        slot.WEIGHTS: pack_weights(shaped, g.group, at_once, tiling.panels),
        slot.BIAS: pack_bias(operands.bias, g.out_channels),
        slot.SEGMENTS: table,
        slot.SHARES: tiling.shares(y.storage.images * g.group, parts),
    }
    offsets = {slot.X: layer.first, slot.Y: y.storage.origin}
    if residual is not None:
        sources[slot.RESIDUAL] = residual.source
        offsets[slot.RESIDUAL] = residual.storage.origin
    numbers = _numbers(layer, tiling) | {slot.COUNT: len(table), slot.RUN: run}
    return Row(numbers, _tiles(layer, tiling, run), sources, offsets)


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
