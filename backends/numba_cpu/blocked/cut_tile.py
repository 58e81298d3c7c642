"""The register tile that writes some lanes only: blocks of channels that two groups share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple
from functools import cache, partial
from typing import Any

from llvmlite import ir
from numba import types

from irconv.backends.numba_cpu import native
from irconv.backends.numba_cpu.blocked.tile import Arguments, PixelTile, TileShape, unpacked
from irconv.backends.numba_cpu.emitter import flat, whole
from irconv.backends.numba_cpu.jit import instruction

_I64 = ir.IntType(64)


def cut_tile_address(shape: TileShape) -> int:
    """The C address of the tile function, compiled at the first request.

    As `tile.tile_address`, without `accumulate`, `ahead` and `ahead_step`, and with two numbers at
    the end: of the first block the lanes below `skip` are not written, nor are those of the last
    block from `keep` on.
    """
    size, floats = types.int64, types.CPointer(types.float32)
    signature = (
        floats, size, types.CPointer(size), size, floats,
        floats, size, size, floats, floats, size, size,
        types.float32, types.float32, size, size, size,
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
        low: Any,
        high: Any,
        tiles: Any,
        skip: Any,
        keep: Any,
    ) -> None:
        multiply(
            x, x_line, segments, count, weights,
            (y, y_line, y_plane), bias, (residual, r_line, r_plane),
            0, (low, high), (weights, 0), tiles, (skip, keep),
        )  # fmt: skip

    # The cache of machine code knows a function by its name.
    tile.__qualname__ = "cut_tile_" + "_".join(map(str, astuple(shape)))
    return tile


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
        limits: Any,
    ) -> Any:
        given = (
            x, x_line, segments, count, weights, y, bias, residual,
            accumulate, bounds, ahead, tiles, limits,
        )  # fmt: skip

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            scalar = context.get_value_type(x.dtype)
            emitter = CutTile(builder, scalar, shape, args[-1])
            emitter.emit(unpacked(builder, args[:-1]))
            return context.get_dummy_value()

        return types.none(*given), generate

    return multiply


class CutTile(PixelTile):
    """A tile whose first and last block are stored in part: from `skip` on, and up to `keep`."""

    def __init__(self, builder: Any, scalar: Any, shape: TileShape, limits: Any) -> None:
        super().__init__(builder, scalar, shape)
        skip, keep = (self._numbers(builder.extract_value(limits, i)) for i in range(2))
        lane = ir.Constant(ir.VectorType(_I64, self.lanes), list(range(self.lanes)))
        first = builder.icmp_signed(">=", lane, skip)
        last = builder.icmp_signed("<", lane, keep)
        self.masks = {0: first} | {self.vectors - 1: last}
        if self.vectors == 1:
            self.masks = {0: builder.and_(first, last)}
        self.stored = 0

    def _multiply(
        self, arg: Arguments, x: Any, y: Any, residual: Any, ahead: Any
    ) -> tuple[list[Any], Any]:
        """The sums of products; nothing is asked for ahead: a segment is too short for that."""
        turns = whole(self.shape.run // self.unroll)
        steps = partial(self._steps, arg.x_line, [])

        def segment(carried: list[Any]) -> list[Any]:
            table, *rest = carried
            start = self.at(x, self.builder.load(table))
            return [self.at(table, 1), *self.loop(turns, [start, *rest], steps)[1:]]

        carried = [arg.segments, arg.weights, *flat(self.zeros())]
        return self.loop(arg.count, carried, segment)[2:], ahead

    def _numbers(self, value: Any) -> Any:
        start = ir.Constant(ir.VectorType(_I64, self.lanes), ir.Undefined)
        one = self.builder.insert_element(start, value, whole(0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(one, start, zeros)

    def store(self, value: Any, place: Any, mask: Any = None) -> None:
        """Vectors are stored pixel by pixel, block by block."""
        super().store(value, place, self.masks.get(self.stored % self.vectors, mask))
        self.stored += 1
