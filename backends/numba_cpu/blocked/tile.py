"""The register tile of the blocked engine: pixels by blocks of channels, its whole K loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass
from functools import cache, partial
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from irconv.backends.numba_cpu import machine, native
from irconv.backends.numba_cpu.emitter import TileEmitter, flat, in_rows, whole
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
    r_plane, accumulate, low, high, ahead, ahead_step, tiles)`: pointers to float32, except that
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
        size, types.float32, types.float32, floats, size, size,
    )  # fmt: skip
    return native.compiled(_tile_function(shape), signature)


@cache
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
        tiles: Any,
    ) -> None:
        multiply(
            x, x_line, segments, count, weights,
            (y, y_line, y_plane), bias, (residual, r_line, r_plane),
            accumulate, (low, high), (ahead, ahead_step), tiles,
        )  # fmt: skip

    # The cache of machine code knows a function by its name.
    tile.__qualname__ = "tile_" + "_".join(map(str, astuple(shape)))
    return tile


@dataclass(frozen=True)
class Arguments:
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
    tiles: Any = None


def unpacked(builder: Any, args: Any) -> Arguments:
    """The arguments of the instruction, those that are tuples as tuples of LLVM values."""
    return Arguments(
        *(
            tuple(builder.extract_value(value, i) for i in range(len(value.type)))
            if isinstance(value.type, ir.Aggregate)
            else value
            for value in args
        )
    )


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
        tiles: Any,
    ) -> Any:
        given = (
            x, x_line, segments, count, weights, y, bias, residual,
            accumulate, bounds, ahead, tiles,
        )  # fmt: skip

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            emitter = PixelTile(builder, context.get_value_type(x.dtype), shape)
            emitter.emit(unpacked(builder, args))
            return context.get_dummy_value()

        return types.none(*given), generate

    return multiply


@dataclass(frozen=True)
class _Stream:
    """Cache lines that are asked for, one at each step of K: how far they are apart, and for what.

    A `step` is an int64 or an int; level 2 leaves out the first cache.
    """

    step: Any
    writes: int = 0
    level: int = 3


class PixelTile(TileEmitter):
    """A tile whose rows are pixels: elements of x are broadcast over vectors of weights."""

    def __init__(self, builder: Any, scalar: Any, shape: TileShape) -> None:
        super().__init__(builder, scalar, shape.rows, shape.vectors, lanes())
        self.shape = shape
        self.unroll = next(n for n in _UNROLL if shape.run % n == 0)
        # One vector of weights has the most loads of x, many have few pixels: no place to spare.
        self.asks = 1 < shape.vectors <= 3

    def emit(self, arg: Arguments) -> None:
        """All tiles, one after the other."""
        x_step = self.shape.width * self.shape.pixel_step
        y_step = whole(self.shape.width * self.lanes)
        given = self.is_given(arg.residual[0])
        r_step = self.builder.select(given, y_step, whole(0))

        def tile(carried: list[Any]) -> list[Any]:
            x, y, residual, ahead = carried
            sums, ahead = self._multiply(arg, x, y, residual, ahead)
            self._finish(arg, sums, y, residual)
            return [self.at(x, x_step), self.at(y, y_step), self.at(residual, r_step), ahead]

        start = [arg.x, arg.y[0], arg.residual[0], arg.ahead[0]]
        if arg.tiles is None:
            tile(start)
        else:
            self.loop(arg.tiles, start, tile)

    def _multiply(
        self, arg: Arguments, x: Any, y: Any, residual: Any, ahead: Any
    ) -> tuple[list[Any], Any]:
        """The sums of products, and where `ahead` has moved to.

        They start at 0, not at the bias: registers are zeroed for nothing, but copied at a cost.
        """
        builder = self.builder
        given = self.is_given(residual)
        next_y = self._following(y, arg.y[1])
        next_r = builder.select(given, self._following(residual, arg.residual[1]), next_y)
        r_plane = builder.select(given, arg.residual[2], arg.y[2])

        def segment(carried: list[Any]) -> list[Any]:
            s, weights, ahead, near_y, near_r, *sums = carried
            start = self.at(x, builder.load(self.at(arg.segments, s)))
            inside = builder.icmp_signed("<", s, whole(self.vectors))
            streams, places = [_Stream(arg.ahead[1], level=2)], [ahead]
            if self.asks:
                step = builder.select(inside, whole(self.lanes), whole(0))
                streams += [_Stream(step, writes=1), _Stream(step)]
                places += [near_y, near_r]
            if self.asks and self.shape.lines == 1:
                streams.append(_Stream(self.shape.pixel_step))
                places.append(self.at(start, self.shape.width * self.shape.pixel_step))
            steps = partial(self._steps, arg.x_line, streams)
            turns = whole(self.shape.run // self.unroll)
            _, weights, *rest = self.loop(turns, [start, weights, *places, *sums], steps)
            planes = (builder.select(inside, plane, whole(0)) for plane in (arg.y[2], r_plane))
            moved = [self.at(p, q) for p, q in zip((near_y, near_r), planes, strict=True)]
            return [builder.add(s, whole(1)), weights, rest[0], *moved, *rest[len(streams) :]]

        carried = [whole(0), arg.weights, ahead, next_y, next_r, *flat(self.zeros())]
        done = self.loop(arg.count, carried, segment)
        return done[5:], done[2]

    def _following(self, base: Any, line: Any) -> Any:
        """Where the next tile is, of y or of the residual."""
        if self.shape.lines == 1:
            return self.at(base, self.shape.width * self.lanes)
        return self.at(base, self._times(line, self.shape.lines))

    def _steps(self, x_line: Any, streams: list[_Stream], carried: list[Any]) -> list[Any]:
        """`unroll` steps of K."""
        x, weights, *rest = carried
        places, tile = rest[: len(streams)], in_rows(rest[len(streams) :], self.vectors)
        lines = [self.at(x, self._times(x_line, n)) for n in range(self.shape.lines)]
        for k in range(self.unroll):
            columns = [
                self.load(self.column(weights, k * self.vectors + v)) for v in range(self.vectors)
            ]
            pixels = [
                partial(self.broadcast, self.at(line, w * self.shape.pixel_step + k))
                for line in lines
                for w in range(self.shape.width)
            ]
            for place, stream in zip(places, streams, strict=True):
                emit_prefetch(self.builder, place, stream.writes, stream.level)
            pairs = zip(places, streams, strict=True)
            places = [self.at(place, stream.step) for place, stream in pairs]
            tile = self.multiply_in_order(pixels, columns, tile)
        following = self.column(weights, self.unroll * self.vectors)
        return [self.at(x, self.unroll), following, *places, *flat(tile)]

    def _finish(self, arg: Arguments, sums: list[Any], y: Any, residual: Any) -> None:
        """What is added to the products, the bounds, the stores."""
        builder = self.builder
        places = self._places(y, *arg.y[1:])
        added = self._places(residual, *arg.residual[1:])
        bias = [self.column(arg.bias, v) for v in range(self.vectors)]
        sums = self._add_when(self.is_given(arg.bias), sums, lambda: self._loaded(bias) * self.rows)
        sums = self._add_when(self.is_set(arg.accumulate), sums, lambda: self._loaded(places))
        sums = self._add_when(self.is_given(residual), sums, lambda: self._loaded(added))
        low, high = (self.splat(bound) for bound in arg.bounds)
        infinite = ir.Constant(self.scalar, float("inf"))
        bounded = builder.fcmp_ordered("<", arg.bounds[1], infinite)
        with builder.if_else(bounded) as (both, one):
            with both:
                for value, place in zip(sums, places, strict=True):
                    self.store(self.clamp(value, low, high), place)
            with one:
                for value, place in zip(sums, places, strict=True):
                    self.store(self.at_least(value, low), place)

    def _add_when(self, on: Any, sums: list[Any], values: Callable[[], list[Any]]) -> list[Any]:
        return self.when(on, sums, lambda: self.add_all(sums, values()))

    def _loaded(self, places: list[Any]) -> list[Any]:
        return [self.load(place) for place in places]

    def _places(self, base: Any, line: Any, plane: Any) -> list[Any]:
        """Where the vectors of a tile are."""
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
