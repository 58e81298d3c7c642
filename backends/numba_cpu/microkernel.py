"""The micro-kernel: one register tile of a matrix product, its whole K loop and its epilogue."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from llvmlite import ir
from numba import types

from irconv.backends.numba_cpu import machine
from irconv.backends.numba_cpu.emitter import Grid, TileEmitter, flat, in_rows, whole
from irconv.backends.numba_cpu.jit import instruction
from irconv.backends.numba_cpu.pointers import emit_prefetch

_AHEAD = 1024  # elements of A that a prefetch runs ahead

_I32 = ir.IntType(32)


@dataclass(frozen=True)
class TileArguments:
    """The LLVM values of one call (see `multiply_tile` for their meaning)."""

    depth: Any
    a: Any
    lda: Any
    b: Any
    ldb: Any
    c: Any
    ldc: Any
    rows: Any
    columns: Any
    bias: Any
    residual: Any
    ldr: Any
    accumulate: Any
    low: Any
    high: Any


class PackedTile(TileEmitter):
    """A tile of packed rows: weights are broadcast over vectors of pixels."""

    def emit(self, arg: TileArguments) -> None:
        """The whole tile: bias into the accumulators, the K loop, the epilogue."""
        self.finish(arg, self._multiply(arg, self._bias(arg)))

    def finish(self, arg: TileArguments, tile: Grid) -> None:
        """The epilogue of a tile: what is added to the products, the bounds, the stores."""
        full = self.builder.icmp_signed(">=", arg.columns, whole(self.vectors * self.lanes))
        with self.builder.if_else(full) as (inside, part):
            with inside:
                self._epilogue(arg, tile, None)
            with part:
                self._epilogue(arg, tile, self._edge_masks(arg.columns))

    def _bias(self, arg: TileArguments) -> list[Any]:
        """The bias of each row, in all lanes."""
        zeros = [ir.Constant(self.scalar, 0.0)] * self.rows

        def load() -> list[Any]:
            return [self.builder.load(self.at(arg.bias, r)) for r in range(self.rows)]

        return [self.splat(value) for value in self.when(self.is_given(arg.bias), zeros, load)]

    def _multiply(self, arg: TileArguments, start: list[Any]) -> Grid:
        def step(carried: list[Any]) -> list[Any]:
            a, b, *sums = carried
            columns = [self.load(self.column(b, j)) for j in range(self.vectors)]
            emit_prefetch(self.builder, self.at(a, _AHEAD))
            rows = [partial(self.broadcast, self.at(a, r)) for r in range(self.rows)]
            tile = self.multiply_add(rows, columns, in_rows(sums, self.vectors))
            return [self.at(a, arg.lda), self.at(b, arg.ldb), *flat(tile)]

        sums = [value for value in start for _ in range(self.vectors)]
        return in_rows(self.loop(arg.depth, [arg.a, arg.b, *sums], step)[2:], self.vectors)

    def _edge_masks(self, columns: Any) -> list[Any]:
        lane = ir.VectorType(_I32, self.lanes)
        count = self.builder.trunc(columns, _I32)
        iota = ir.Constant(lane, list(range(self.lanes)))
        limits = [
            self.builder.sub(count, ir.Constant(_I32, j * self.lanes)) for j in range(self.vectors)
        ]
        return [self.builder.icmp_signed("<", iota, self.splat(limit)) for limit in limits]

    def _epilogue(self, arg: TileArguments, tile: Grid, masks: Any) -> None:
        builder = self.builder
        done = builder.append_basic_block("rows.end")
        low, high = self.splat(arg.low), self.splat(arg.high)
        for r, row in enumerate(tile):
            if r:
                more = builder.append_basic_block(f"row{r}")
                builder.cbranch(builder.icmp_signed("<", whole(r), arg.rows), more, done)
                builder.position_at_end(more)
            self._finish_row(arg, r, row, masks, (low, high))
        builder.branch(done)
        builder.position_at_end(done)

    def _finish_row(self, arg: Any, r: int, row: Any, masks: Any, bounds: Any) -> None:
        target = self.at(arg.c, self.builder.mul(arg.ldc, whole(r)))
        added = self.at(arg.residual, self.builder.mul(arg.ldr, whole(r)))
        row = self._add_when(self.is_set(arg.accumulate), row, target, masks)
        row = self._add_when(self.is_given(arg.residual), row, added, masks)
        for j, value in enumerate(row):
            self.store(self.clamp(value, *bounds), self.column(target, j), masks and masks[j])

    def _add_when(self, on: Any, row: Any, source: Any, masks: Any) -> list[Any]:
        def add() -> list[Any]:
            places = [self.column(source, j) for j in range(self.vectors)]
            return self.add_all(
                row, [self.load(p, masks and masks[j]) for j, p in enumerate(places)]
            )

        return self.when(on, row, add)


@instruction
def multiply_tile(
    typing: Any,
    height: Any,
    vectors: Any,
    depth: Any,
    a: Any,
    lda: Any,
    b: Any,
    ldb: Any,
    c: Any,
    ldc: Any,
    rows: Any,
    columns: Any,
    bias: Any,
    residual: Any,
    ldr: Any,
    accumulate: Any,
    low: Any,
    high: Any,
) -> Any:
    """One register tile C[rows, columns] = clamp(A @ B + bias [+ C] [+ residual], low, high).

    `height` x `vectors` (literals) is the size of the tile in registers. A is [depth][lda] with
    one row of the tile beside the other, B is [depth][ldb]; whole vectors of B are read, and
    `height` values of A and of a bias that is given. C and the residual have row strides `ldc`
    and `ldr`, and only their first `rows` x `columns` elements are touched. `bias` and
    `residual` may be null. A NaN stays NaN.
    """
    lanes = machine.vector_bits() // a.dtype.bitwidth
    tile = (height.literal_value, vectors.literal_value, lanes)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emitter = PackedTile(builder, context.get_value_type(a.dtype), *tile)
        emitter.emit(TileArguments(*args[2:]))
        return context.get_dummy_value()

    return tile_signature(a, height, vectors), generate


def tile_signature(like: Any, *literals: Any) -> Any:
    """The signature of a tile: literals, then the types of `TileArguments`."""
    size, scalar = types.int64, like.dtype
    return types.none(
        *literals,
        size,
        like,
        size,
        like,
        size,
        like,
        size,
        size,
        size,
        like,
        like,
        size,
        size,
        scalar,
        scalar,
    )
