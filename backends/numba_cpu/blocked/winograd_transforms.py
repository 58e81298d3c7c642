"""Winograd's transforms of tiles, the channels of a block in the lanes of a vector."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from irconv.backends.numba_cpu import machine, native
from irconv.backends.numba_cpu.blocked.vectors import (
    emit_fma,
    emit_greater,
    emit_largest,
    emit_less,
    emit_load,
    emit_spread,
    emit_store,
)
from irconv.backends.numba_cpu.jit import instruction
from irconv.backends.numba_cpu.pointers import at, lanes
from irconv.winograd import KERNEL, input_line, output_line

NO_POOL, MAX_POOL, AVERAGE_POOL = range(3)
_I64 = ir.IntType(64)


@dataclass(frozen=True)
class _Register:
    """A vector register whose arithmetic is emitted: `winograd`'s lines work on these."""

    builder: Any
    value: Any

    def __add__(self, other: _Register) -> _Register:
        return _Register(self.builder, self.builder.fadd(self.value, other.value))

    def __sub__(self, other: _Register) -> _Register:
        return _Register(self.builder, self.builder.fsub(self.value, other.value))


def _fma(scale: float, a: _Register, b: _Register) -> _Register:
    factor = ir.Constant(a.value.type, [scale] * a.value.type.count)
    return _Register(a.builder, emit_fma(a.builder, factor, a.value, b.value))


class _Places:
    """Pixels of a window in memory; those outside of `rows` x `columns` are elsewhere."""

    def __init__(self, builder: Any, base: Any, line: Any, lanes: int) -> None:
        self.builder, self.base, self.line, self.lanes = builder, base, line, lanes
        self.inside: Callable[[int, int], Any] | None = None
        self.elsewhere: Any = None

    def limit(self, rows: tuple[Any, Any], columns: tuple[Any, Any]) -> None:
        """Only pixels from the first to the end of these rows and columns are touched."""
        builder = self.builder
        vector = ir.VectorType(self.base.type.pointee, self.lanes)
        elsewhere = cgutils.alloca_once_value(builder, ir.Constant(vector, None))
        self.elsewhere = builder.bitcast(elsewhere, self.base.type)

        def between(place: int, bounds: tuple[Any, Any]) -> Any:
            number = ir.Constant(_I64, place)
            return builder.and_(
                builder.icmp_signed(">=", number, bounds[0]),
                builder.icmp_signed("<", number, bounds[1]),
            )

        self.inside = lambda i, j: builder.and_(between(i, rows), between(j, columns))

    def at(self, i: int, j: int) -> Any:
        builder = self.builder
        start = builder.gep(self.base, [builder.mul(self.line, ir.Constant(_I64, i))])
        place = builder.gep(start, [ir.Constant(_I64, j * self.lanes)])
        if self.inside is None:
            return place
        return builder.select(self.inside(i, j), place, self.elsewhere)

    def load(self, i: int, j: int) -> Any:
        return emit_load(self.builder, self.at(i, j), self.lanes)

    def store(self, value: Any, i: int, j: int) -> None:
        emit_store(self.builder, value, self.at(i, j))


def _lane_count(like: Any) -> int:
    return int(machine.vector_bits() // like.dtype.bitwidth)


@instruction
def _input_tile(
    typing: Any,
    tile: Any,
    edge: Any,
    source: Any,
    line: Any,
    target: Any,
    point: Any,
    bounds: Any,
) -> Any:
    """B^T d B of one tile: (tile + 2)^2 pixels at `source`, with lines `line` elements apart, to as
    many points, `point` elements apart.

    Where the literal `edge` is 1, only the pixels in `bounds` are read (first and end of the rows,
    of the columns), the others are zeros.
    """
    size = tile.literal_value
    span = size + KERNEL - 1

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, _, start, stride, to, step, limits = args
        places = _Places(builder, start, stride, _lane_count(source))
        if edge.literal_value:
            first, end, left, right = cgutils.unpack_tuple(builder, limits)
            places.limit((first, end), (left, right))
        columns = [
            input_line(
                size,
                [_Register(builder, places.load(i, j)) for i in range(span)],
                _fma,
            )
            for j in range(span)
        ]
        for i in range(span):
            line_values = input_line(size, [column[i] for column in columns], _fma)
            for j, found in enumerate(line_values):
                offset = builder.mul(step, ir.Constant(_I64, i * span + j))
                emit_store(builder, found.value, builder.gep(to, [offset]))
        return context.get_dummy_value()

    whole = types.int64
    four = types.UniTuple(whole, 4)
    return types.none(tile, edge, source, whole, source, whole, four), generate


@instruction
def _output_tile(
    typing: Any,
    options: Any,
    source: Any,
    point: Any,
    bias: Any,
    residual: Any,
    line_r: Any,
    target: Any,
    line: Any,
    low: Any,
    high: Any,
    bounds: Any,
) -> Any:
    """pool(clamp(A^T m A + bias + residual, low, high)) of one tile of products.

    `options` are literals: the tile, the pool (2 x 2, stride 2), whether there is a residual,
    whether only the first `bounds` rows and columns of the residual and of y are touched.
    """
    size, pool, has_residual, edge = (option.literal_value for option in options)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, start, step, b, r, stride_r, to, stride, least, most, limits = args
        lanes = _lane_count(source)
        products = _Products(builder, start, step, lanes)
        residuals = _Places(builder, r, stride_r, lanes)
        results = _Places(builder, to, stride, lanes)
        if edge:
            rows_r, columns_r, rows, columns = cgutils.unpack_tuple(builder, limits)
            zero = ir.Constant(_I64, 0)
            residuals.limit((zero, rows_r), (zero, columns_r))
            results.limit((zero, rows), (zero, columns))
        added = emit_load(builder, b, lanes)
        bounds_ = (emit_spread(builder, least, lanes), emit_spread(builder, most, lanes))
        pixels = products.outputs(size)

        def finished(i: int, j: int) -> Any:
            value = builder.fadd(pixels[i][j], added)
            if has_residual:
                value = builder.fadd(value, residuals.load(i, j))
            return emit_less(builder, bounds_[1], emit_greater(builder, bounds_[0], value))

        if pool == NO_POOL:
            for i in range(size):
                for j in range(size):
                    results.store(finished(i, j), i, j)
            return context.get_dummy_value()
        for i in range(size // 2):
            for j in range(size // 2):
                window = [finished(2 * i + a, 2 * j + b_) for a in (0, 1) for b_ in (0, 1)]
                results.store(_pooled(builder, pool, window), i, j)
        return context.get_dummy_value()

    whole, scalar = types.int64, source.dtype
    four = types.UniTuple(whole, 4)
    return (
        types.none(
            options, source, whole, source, source, whole, source, whole, scalar, scalar, four
        ),
        generate,
    )


@dataclass(frozen=True)
class _Products:
    """The products of one tile, `point` elements apart."""

    builder: Any
    source: Any
    point: Any
    lanes: int

    def outputs(self, size: int) -> list[list[Any]]:
        """A^T m A."""
        span = size + KERNEL - 1
        columns = [
            output_line(size, [self._load(i * span + j) for i in range(span)], _fma)
            for j in range(span)
        ]
        lines = (output_line(size, [column[i] for column in columns], _fma) for i in range(size))
        return [[found.value for found in line] for line in lines]

    def _load(self, number: int) -> _Register:
        offset = self.builder.mul(self.point, ir.Constant(_I64, number))
        place = self.builder.gep(self.source, [offset])
        return _Register(self.builder, emit_load(self.builder, place, self.lanes))


def _pooled(builder: Any, pool: int, window: list[Any]) -> Any:
    a, b, c, d = window
    if pool == MAX_POOL:
        return emit_largest(builder, emit_largest(builder, a, b), emit_largest(builder, c, d))
    total = builder.fadd(builder.fadd(a, b), builder.fadd(c, d))
    return builder.fmul(total, ir.Constant(total.type, [0.25] * total.type.count))


# -- functions that kernels call -------------------------------------------------------------------


def input_code(tile: int, dtype: np.dtype) -> int:
    """The address of `(source, line, target, point, count)`: B^T d B of `count` tiles side by side,
    all of whose pixels are there; the results of each are one vector further.
    """

    def transform(source: Any, line: Any, target: Any, point: Any, count: Any) -> None:
        width = lanes(source)
        for k in range(count):
            place = at(source, k * (tile * width))
            _input_tile(tile, 0, place, line, at(target, k * width), point, (0, 0, 0, 0))

    transform.__qualname__ = f"winograd_input_{tile}"
    pointer = types.CPointer(numba.from_dtype(dtype))
    whole = types.int64
    return native.compiled(transform, (pointer, whole, pointer, whole, whole))


def input_edge_code(tile: int, dtype: np.dtype) -> int:
    """The address of `(source, line, target, point, first, end, left, right)`: B^T d B of one tile
    of which only the pixels of these rows and columns are there; zeros stand for the others.
    """

    def transform(
        source: Any, line: Any, target: Any, point: Any, first: Any, end: Any, left: Any, right: Any
    ) -> None:
        _input_tile(tile, 1, source, line, target, point, (first, end, left, right))

    transform.__qualname__ = f"winograd_input_edge_{tile}"
    pointer = types.CPointer(numba.from_dtype(dtype))
    whole = types.int64
    return native.compiled(transform, (pointer, whole, pointer, *(whole,) * 5))


@dataclass(frozen=True)
class OutputForm:
    """What the output transform does after A^T m A."""

    tile: int
    pool: int
    residual: int

    def code(self, dtype: np.dtype) -> int:
        """The address of `(source, point, bias, residual, line_r, target, line, low, high, count)`:
        `count` tiles side by side, all of whose pixels are there.
        """
        form, tile = (self.tile, self.pool, self.residual, 0), self.tile
        step = tile if self.pool == NO_POOL else tile // 2

        def transform(
            source: Any,
            point: Any,
            bias: Any,
            residual: Any,
            line_r: Any,
            target: Any,
            line: Any,
            low: Any,
            high: Any,
            count: Any,
        ) -> None:
            width = lanes(source)
            for k in range(count):
                place_r, place = at(residual, k * (tile * width)), at(target, k * (step * width))
                _output_tile(
                    form, at(source, k * width), point, bias, place_r, line_r, place, line,
                    low, high, (0, 0, 0, 0),
                )  # fmt: skip

        transform.__qualname__ = f"winograd_output_{tile}_{self.pool}_{self.residual}"
        return native.compiled(transform, _output_types(dtype, 1))

    def edge_code(self, dtype: np.dtype) -> int:
        """The address of `(..., low, high, rows_r, columns_r, rows, columns)`: one tile of which
        only the first rows and columns of the residual, and of y, are there.
        """
        form = (self.tile, self.pool, self.residual, 1)

        def transform(
            source: Any,
            point: Any,
            bias: Any,
            residual: Any,
            line_r: Any,
            target: Any,
            line: Any,
            low: Any,
            high: Any,
            rows_r: Any,
            columns_r: Any,
            rows: Any,
            columns: Any,
        ) -> None:
            _output_tile(
                form, source, point, bias, residual, line_r, target, line, low, high,
                (rows_r, columns_r, rows, columns),
            )  # fmt: skip

        transform.__qualname__ = f"winograd_output_edge_{self.tile}_{self.pool}_{self.residual}"
        return native.compiled(transform, _output_types(dtype, 4))


def _output_types(dtype: np.dtype, numbers: int) -> tuple[Any, ...]:
    scalar, whole = numba.from_dtype(dtype), types.int64
    pointer = types.CPointer(scalar)
    common = (pointer, whole, pointer, pointer, whole, pointer, whole, scalar, scalar)
    return (*common, *(whole,) * numbers)
