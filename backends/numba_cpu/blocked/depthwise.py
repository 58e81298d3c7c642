"""Convolutions of each channel by itself, on values in blocks: a vector is a pixel's channels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np
from numba import types

from irconv.backends.numba_cpu.blocked.halo import clear_halo
from irconv.backends.numba_cpu.blocked.launches import (
    BLOCKS,
    F32,
    HEIGHT,
    IMAGES,
    LINE,
    STRIDES,
    WIDTH,
    Blocked,
    blocked_launch,
    lines_of,
    plane_start,
)
from irconv.backends.numba_cpu.blocked.pointwise import activate
from irconv.backends.numba_cpu.blocked.storage import Storage
from irconv.backends.numba_cpu.blocked.tile import lanes, most_rows
from irconv.backends.numba_cpu.emitter import TileEmitter, whole
from irconv.backends.numba_cpu.jit import instruction
from irconv.backends.numba_cpu.launch import Launch
from irconv.backends.numba_cpu.packing import aligned
from irconv.backends.numba_cpu.pointers import at, double_bits, number, pointer
from irconv.backends.numba_cpu.step import NOTHING, Epilogue
from irconv.backends.numba_cpu.work import blocks, share
from irconv.geometry import ConvGeometry
from irconv.types import Array

_MOST_UNROLLED = 49  # taps
_MOST_PIXELS = 14  # of a tile: the rest of the registers hold a line of the kernel


def depthwise_convolution(
    x: Blocked,
    y: Blocked,
    geometry: ConvGeometry,
    weights: Array,
    bias: Array | None = None,
    residual: Blocked | None = None,
    ending: Epilogue = NOTHING,
) -> list[Launch]:
    """y = activation(conv(x, weights) + bias + residual) of two axes, and the halo of y.

    As many groups as channels, on both sides; the halo of x holds the padding, all blocks are one
    vector. Channels may have any order, the same in all of them.
    """
    height, width = geometry.kernel
    (top, left), held = geometry.pads[:2], x.storage
    tile = tile_width(y.storage.width, width)
    start = held.origin - top * held.line - left * held.block
    shifted = Blocked(x.source, replace(held, origin=start))
    others = (by_slot(weights.reshape(-1, height * width), held), bias_by_slot(bias, held))
    lines = (geometry.strides[0] * held.line, geometry.dilations[0] * held.line)
    absent = Blocked(np.zeros(0, F32), y.storage)
    launch = blocked_launch(
        "convolve_channels",
        _kernel(height, width, geometry.strides[1], geometry.dilations[1], tile),
        [y, shifted, residual if residual is not None else absent],
        others,
        (*lines, float(ending.low), float(ending.high)),
    )
    rest = activate(y, y, ending) if ending.activation is not None else []
    return [*clear_halo(y), launch, *rest]


def tile_width(width: int, kernel: int) -> int:
    """The pixels of a tile: those of a line are cut into tiles of one size, which may overlap."""
    most = min(_MOST_PIXELS, max(most_rows(1) - kernel, 1))
    return -(-width // -(-width // most))


def by_slot(weights: Array, x: Storage) -> Array:
    """[channels, taps] as [block][tap][lane], zeros where no channel is."""
    filled = np.zeros((x.blocks * x.block, weights.shape[1]), F32)
    filled[list(x.slots)] = weights
    packed = aligned(filled.size, F32)
    split = filled.reshape(x.blocks, x.block, -1)
    packed.reshape(x.blocks, -1, x.block)[...] = split.transpose(0, 2, 1)
    return packed


def bias_by_slot(bias: Array | None, x: Storage) -> Array:
    """One number for each stored channel."""
    zeros = np.zeros((x.channels, 1), F32)
    return by_slot(zeros if bias is None else bias.reshape(-1, 1), x)


@cache
def _kernel(
    height: int, width: int, stride: int, dilation: int, pixels: int
) -> Callable[..., None]:
    """Kernel. Row: Y, X from its first tap on, RESIDUAL or 0, weights, bias, their numbers;
    elements between lines of x for one line of y, and for one of the kernel; low, high.
    """
    block = lanes()

    def kernel(step: Any, like: Any, part: Any, parts: Any) -> None:
        sizes = at(step, 7)
        to, of, added = at(sizes, STRIDES), at(sizes, STRIDES + 3), at(sizes, STRIDES + 6)
        lines, own = sizes[HEIGHT], at(sizes, STRIDES + 9)
        low, high = number(double_bits(own[2]), like), number(double_bits(own[3]), like)
        first, end = share(sizes[IMAGES] * sizes[BLOCKS] * lines, part, parts)
        for plane in range(first // lines, blocks(end, lines)):
            y = at(pointer(step[1], like), plane_start(plane, sizes, to))
            x = at(pointer(step[2], like), plane_start(plane, sizes, of))
            residual = pointer(step[3], like)
            if step[3] != 0:
                residual = at(residual, plane_start(plane, sizes, added))
            channel = plane % sizes[BLOCKS] * block
            weights = at(pointer(step[4], like), channel * (height * width))
            bias = at(pointer(step[5], like), channel)
            top, bottom = lines_of(plane, lines, first, end)
            for line in range(top, bottom):
                target, source = at(y, line * to[LINE]), at(x, line * own[0])
                for i in range(0, sizes[WIDTH], pixels):
                    # the last tile begins earlier: it writes some pixels a second time
                    q = min(i, sizes[WIDTH] - pixels)
                    other = residual
                    if step[3] != 0:
                        other = at(residual, line * added[LINE] + q * block)
                    multiply_channels(
                        height, width, stride, dilation, pixels, at(target, q * block),
                        at(source, q * (stride * block)), own[1], weights, bias, other, low, high,
                    )  # fmt: skip

    kernel.__qualname__ = f"convolve_channels_{height}_{width}_{stride}_{dilation}_{pixels}"
    return kernel


@instruction
def multiply_channels(
    typing: Any,
    height: Any,
    width: Any,
    stride: Any,
    dilation: Any,
    pixels: Any,
    y: Any,
    x: Any,
    x_line: Any,
    weights: Any,
    bias: Any,
    residual: Any,
    low: Any,
    high: Any,
) -> Any:
    """A tile of `pixels` neighbours of one line; kernel, stride, dilation, pixels are literals."""
    shape = tuple(n.literal_value for n in (height, width, stride, dilation, pixels))

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        tile = _Tile(builder, context.get_value_type(y.dtype), shape)
        tile.emit(*args[5:])
        return context.get_dummy_value()

    given = (height, width, stride, dilation, pixels)
    return types.none(*given, y, x, types.int64, weights, bias, residual, low, high), generate


class _Tile(TileEmitter):
    """Pixels of a line in registers; each vector of x is loaded once for a line of the kernel."""

    def __init__(self, builder: Any, scalar: Any, shape: tuple[int, ...]) -> None:
        self.height, self.width, self.stride, self.dilation, pixels = shape
        super().__init__(builder, scalar, pixels, 1, lanes())

    def emit(
        self,
        y: Any,
        x: Any,
        x_line: Any,
        weights: Any,
        bias: Any,
        residual: Any,
        low: Any,
        high: Any,
    ) -> None:
        """The whole tile."""
        carried = [x, weights, *[self.load(bias)] * self.rows]
        if self.height * self.width <= _MOST_UNROLLED:
            for _ in range(self.height):
                carried = self._line(x_line, carried)
        else:
            carried = self.loop(whole(self.height), carried, partial(self._line, x_line))
        sums = carried[2:]
        sums = self.when(
            self.is_given(residual),
            sums,
            lambda: self.add_all(
                sums, [self.load(self.column(residual, p)) for p in range(self.rows)]
            ),
        )
        bounds = self.splat(low), self.splat(high)
        for p, total in enumerate(sums):
            self.store(self.clamp(total, *bounds), self.column(y, p))

    def _line(self, x_line: Any, carried: list[Any]) -> list[Any]:
        """The sums with one line of the kernel, and the places of the next one."""
        x, weights, *sums = carried
        taps = [self.load(self.column(weights, tap)) for tap in range(self.width)]
        wanted = sorted({self._place(p, t) for p in range(self.rows) for t in range(self.width)})
        pixels = {place: self.load(self.column(x, place)) for place in wanted}
        for tap, weight in enumerate(taps):
            sums = [
                self.builder.call(self.fma, [pixels[self._place(p, tap)], weight, total])
                for p, total in enumerate(sums)
            ]
        return [self.at(x, x_line), self.column(weights, self.width), *sums]

    def _place(self, pixel: int, tap: int) -> int:
        return pixel * self.stride + tap * self.dilation
