"""The register tile of the blocked engine: pixels by blocks of channels, its whole K loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass
from functools import partial
from typing import Any

import numpy as np
from numba import types

from irconv.backends.numba_cpu import machine, native
from irconv.backends.numba_cpu.emitter import Grid, TileEmitter, flat, in_rows, whole
from irconv.backends.numba_cpu.jit import instruction
from irconv.backends.numba_cpu.pointers import emit_prefetch

F32 = np.dtype(np.float32)
_UNROLL = (4, 3, 5, 7, 2, 1)  # steps of K in the body of the inner loop: the first that divides


@dataclass(frozen=True)
class TileShape:
    """What is compiled into a tile: `lines` x `width` pixels by `vectors` blocks of channels.

    Neighbouring pixels of x are `pixel_step` elements apart, those of y one block of channels (as
    many as a vector has lanes). A segment of K is `run` elements of x in a row.
    """

    width: int
    lines: int
    vectors: int
    pixel_step: int
    run: int

    @property
    def rows(self) -> int:
        """Pixels of the tile."""
        return self.width * self.lines


def lanes() -> int:
    """Channels of a block that fills a vector."""
    return machine.tile(F32).lanes


def most_rows(vectors: int) -> int:
    """The most pixels of a tile whose sums, weights and one value of x fit the registers."""
    registers = 16 if machine.vector_bits() == 256 else 32
    return max(min((registers - 1 - vectors) // vectors, 28), 1)


def tile_address(shape: TileShape) -> int:
    """The C address of the tile function, compiled at the first request.

    `void tile(x, x_line, segments, count, weights, y, y_line, y_plane, bias, residual, r_line,
    r_plane, accumulate, low, high, ahead, ahead_step)`: pointers to float32, except that
    `segments` points to int64; `low` and `high` float32, all else int64. With p = pixel (l, w),
    v = block, c = lane:

        start = (bias ? bias[v * lanes + c] : 0) + (accumulate ? y[p, v, c] : 0)
        total = start + sum over s < count, k < run of
                x[segments[s] + l * x_line + w * pixel_step + k]
                * weights[((s * run + k) * vectors + v) * lanes + c]
        y[p, v, c] = clamp(total + (residual ? residual[p, v, c] : 0), low, high)

    where y[p, v, c] is y[l * y_line + w * lanes + v * y_plane + c] (residual alike, by `r_line`
    and `r_plane`), so every stride but those in the shape is free. Clamping keeps a NaN. At each
    of the count * run steps of K the cache line of `ahead` is asked for, and `ahead` moves on by
    `ahead_step` elements; any address will do.
    """
    size, floats = types.int64, types.CPointer(types.float32)
    signature = (
        floats, size, types.CPointer(size), size, floats,
        floats, size, size, floats, floats, size, size,
        size, types.float32, types.float32, floats, size,
    )  # fmt: skip
    return native.compiled(_tile_function(shape), signature)


def _tile_function(shape: TileShape) -> Callable[..., None]:
    multiply = _instruction(shape)

    def tile(
        x: Any,
        x_line: Any,
        segments: Any,
        count: Any,
        weights: Any,
        y: Any,
        y_line: Any,
        y_plane: Any,
        bias: Any,
        residual: Any,
        r_line: Any,
        r_plane: Any,
        accumulate: Any,
        low: Any,
        high: Any,
        ahead: Any,
        ahead_step: Any,
    ) -> None:
        multiply(
            x, x_line, segments, count, weights,
            (y, y_line, y_plane), bias, (residual, r_line, r_plane),
            accumulate, (low, high), (ahead, ahead_step),
        )  # fmt: skip

    # The cache of machine code knows a function by its name.
    tile.__qualname__ = "tile_" + "_".join(map(str, astuple(shape)))
    return tile


@dataclass(frozen=True)
class _Arguments:
    """The LLVM values of one call: see `tile_address`."""

    x: Any
    x_line: Any
    segments: Any
    count: Any
    weights: Any
    y: Any
    bias: Any
    residual: Any
    accumulate: Any
    bounds: Any
    ahead: Any


def _instruction(shape: TileShape) -> Any:
    @instruction
    def multiply(
        typing: Any,
        x: Any,
        x_line: Any,
        segments: Any,
        count: Any,
        weights: Any,
        y: Any,
        bias: Any,
        residual: Any,
        accumulate: Any,
        bounds: Any,
        ahead: Any,
    ) -> Any:
        given = (x, x_line, segments, count, weights, y, bias, residual, accumulate, bounds, ahead)

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            emitter = PixelTile(builder, context.get_value_type(x.dtype), shape)
            emitter.emit(_Arguments(*args))
            return context.get_dummy_value()

        return types.none(*given), generate

    return multiply


class PixelTile(TileEmitter):
    """A tile whose rows are pixels: elements of x are broadcast over vectors of weights."""

    def __init__(self, builder: Any, scalar: Any, shape: TileShape) -> None:
        super().__init__(builder, scalar, shape.rows, shape.vectors, lanes())
        self.shape = shape
        self.unroll = next(n for n in _UNROLL if shape.run % n == 0)

    def emit(self, arg: _Arguments) -> None:
        """The whole tile."""
        builder = self.builder
        y, residual = self._places(arg.y), self._places(arg.residual)
        sums = flat(self._multiply(arg, in_rows(self._start(arg, y), self.vectors)))
        base = builder.extract_value(arg.residual, 0)
        sums = self.when(
            self.is_given(base), sums, lambda: self.add_all(sums, [self.load(r) for r in residual])
        )
        low, high = (self.splat(builder.extract_value(arg.bounds, i)) for i in range(2))
        for value, place in zip(sums, y, strict=True):
            self.store(self.clamp(value, low, high), place)

    def _places(self, tensor: Any) -> list[Any]:
        """Where the vectors of a tile are, from (pointer, line, plane)."""
        base, line, plane = (self.builder.extract_value(tensor, i) for i in range(3))
        corners = [
            [
                self.at(self.at(base, self._times(line, row)), self._times(plane, v))
                for v in range(self.vectors)
            ]
            for row in range(self.shape.lines)
        ]
        return [
            self.at(corner, w * self.lanes)
            for row in corners
            for w in range(self.shape.width)
            for corner in row
        ]

    def _times(self, value: Any, factor: int) -> Any:
        return self.builder.mul(value, whole(factor))

    def _start(self, arg: _Arguments, y: list[Any]) -> list[Any]:
        zeros = self.zeros()[0]
        bias = [self.column(arg.bias, v) for v in range(self.vectors)]
        first = self.when(self.is_given(arg.bias), zeros, lambda: [self.load(b) for b in bias])
        sums = first * self.rows
        return self.when(
            self.is_set(arg.accumulate),
            sums,
            lambda: self.add_all(sums, [self.load(place) for place in y]),
        )

    def _multiply(self, arg: _Arguments, start: Grid) -> Grid:
        ahead, ahead_step = (self.builder.extract_value(arg.ahead, i) for i in range(2))

        def segment(carried: list[Any]) -> list[Any]:
            table, weights, ahead, *sums = carried
            x = self.at(arg.x, self.builder.load(table))
            turns = whole(self.shape.run // self.unroll)
            step = partial(self._steps, arg.x_line, ahead_step)
            x, *rest = self.loop(turns, [x, weights, ahead, *sums], step)
            return [self.at(table, 1), *rest]

        carried = [arg.segments, arg.weights, ahead, *flat(start)]
        return in_rows(self.loop(arg.count, carried, segment)[3:], self.vectors)

    def _steps(self, x_line: Any, ahead_step: Any, carried: list[Any]) -> list[Any]:
        """`unroll` steps of K."""
        x, weights, ahead, *sums = carried
        tile = in_rows(sums, self.vectors)
        lines = [self.at(x, self._times(x_line, n)) for n in range(self.shape.lines)]
        for k in range(self.unroll):
            columns = [
                self.load(self.column(weights, k * self.vectors + v)) for v in range(self.vectors)
            ]
            places = [
                self.at(line, w * self.shape.pixel_step + k)
                for line in lines
                for w in range(self.shape.width)
            ]
            emit_prefetch(self.builder, ahead)
            ahead = self.at(ahead, ahead_step)
            tile = self.multiply_add([partial(self.broadcast, p) for p in places], columns, tile)
        following = self.column(weights, self.unroll * self.vectors)
        return [self.at(x, self.unroll), following, ahead, *flat(tile)]
