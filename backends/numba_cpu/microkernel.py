"""The micro-kernel: one register tile of a matrix product, its whole K loop and its epilogue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from irconv.backends.numba_cpu import machine
from irconv.backends.numba_cpu.jit import instruction
from irconv.backends.numba_cpu.pointers import emit_prefetch

_AHEAD = 1024  # elements of A that a prefetch runs ahead

_I1, _I32, _I64 = ir.IntType(1), ir.IntType(32), ir.IntType(64)


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


class TileEmitter:
    """Emits one tile of `rows` x `vectors` vectors of `lanes` floats as LLVM instructions."""

    def __init__(self, builder: Any, scalar: Any, rows: int, vectors: int, lanes: int) -> None:
        self.builder, self.scalar = builder, scalar
        self.rows, self.vectors, self.lanes = rows, vectors, lanes
        self.vector = ir.VectorType(scalar, lanes)
        self.mask = ir.VectorType(_I1, lanes)
        suffix = f"v{lanes}f{32 if isinstance(scalar, ir.FloatType) else 64}"
        pointer = self.vector.as_pointer()
        self.fma = self._declare(f"llvm.fma.{suffix}", self.vector, [self.vector] * 3)
        self.masked_load = self._declare(
            f"llvm.masked.load.{suffix}.p0", self.vector, [pointer, _I32, self.mask, self.vector]
        )
        self.masked_store = self._declare(
            f"llvm.masked.store.{suffix}.p0",
            ir.VoidType(),
            [self.vector, pointer, _I32, self.mask],
        )

    def _declare(self, name: str, result: Any, arguments: list[Any]) -> Any:
        kind = ir.FunctionType(result, arguments)
        return cgutils.get_or_insert_function(self.builder.module, kind, name)

    def splat(self, value: Any) -> Any:
        """A vector of copies of one scalar."""
        start = ir.Constant(ir.VectorType(value.type, self.lanes), ir.Undefined)
        one = self.builder.insert_element(start, value, ir.Constant(_I32, 0))
        zeros = ir.Constant(ir.VectorType(_I32, self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(one, start, zeros)

    def emit(self, arg: TileArguments) -> None:
        """The whole tile: bias into the accumulators, the K loop, the epilogue."""
        self.finish(arg, self._multiply(arg, self._bias(arg)))

    def finish(self, arg: TileArguments, tile: list[list[Any]]) -> None:
        """The epilogue of a tile: what is added to the products, the bounds, the stores."""
        full = self.builder.icmp_signed(
            ">=", arg.columns, ir.Constant(_I64, self.vectors * self.lanes)
        )
        with self.builder.if_else(full) as (whole, part):
            with whole:
                self._epilogue(arg, tile, None)
            with part:
                self._epilogue(arg, tile, self._edge_masks(arg.columns))

    def column(self, base: Any, j: int) -> Any:
        """The place of vector `j` of a row."""
        return self.builder.gep(base, [ir.Constant(_I64, j * self.lanes)])

    def _bias(self, arg: TileArguments) -> list[Any]:
        builder = self.builder
        before = builder.block
        given = builder.icmp_unsigned("!=", arg.bias, ir.Constant(arg.bias.type, None))
        with builder.if_then(given):
            loaded = [
                builder.load(builder.gep(arg.bias, [ir.Constant(_I64, r)]))
                for r in range(self.rows)
            ]
            inside = builder.block
        values = []
        for value in loaded:
            phi = builder.phi(self.scalar)
            phi.add_incoming(ir.Constant(self.scalar, 0.0), before)
            phi.add_incoming(value, inside)
            values.append(phi)
        return [self.splat(value) for value in values]

    def _multiply(self, arg: TileArguments, start: list[Any]) -> list[list[Any]]:
        builder = self.builder
        before = builder.block
        head, after = builder.append_basic_block("k"), builder.append_basic_block("k.end")
        some = builder.icmp_signed(">", arg.depth, ir.Constant(_I64, 0))
        builder.cbranch(some, head, after)
        builder.position_at_end(head)
        k, a, b = builder.phi(_I64), builder.phi(arg.a.type), builder.phi(arg.b.type)
        sums = [[builder.phi(self.vector) for _ in range(self.vectors)] for _ in start]
        columns = [self.load(self.column(b, j)) for j in range(self.vectors)]
        emit_prefetch(builder, builder.gep(a, [ir.Constant(_I64, _AHEAD)]))
        products = []
        for r, row in enumerate(sums):
            weight = self.splat(builder.load(builder.gep(a, [ir.Constant(_I64, r)])))
            products.append(
                [
                    builder.call(self.fma, [weight, column, total])
                    for column, total in zip(columns, row, strict=True)
                ]
            )
        k_next = builder.add(k, ir.Constant(_I64, 1))
        for phi, first, following in (
            (k, ir.Constant(_I64, 0), k_next),
            (a, arg.a, builder.gep(a, [arg.lda])),
            (b, arg.b, builder.gep(b, [arg.ldb])),
        ):
            phi.add_incoming(first, before)
            phi.add_incoming(following, head)
        for phis, first, following in zip(sums, start, products, strict=True):
            for phi, value in zip(phis, following, strict=True):
                phi.add_incoming(first, before)
                phi.add_incoming(value, head)
        builder.cbranch(builder.icmp_signed("<", k_next, arg.depth), head, after)
        builder.position_at_end(after)
        return self.merge([[first] * self.vectors for first in start], before, products, head)

    def merge(self, start: Any, before: Any, products: Any, head: Any) -> list[list[Any]]:
        """After a loop that may not run: `products` from its block `head`, else `start`."""
        merged = []
        for firsts, row in zip(start, products, strict=True):
            phis = [self.builder.phi(self.vector) for _ in row]
            for phi, first, value in zip(phis, firsts, row, strict=True):
                phi.add_incoming(first, before)
                phi.add_incoming(value, head)
            merged.append(phis)
        return merged

    def _edge_masks(self, columns: Any) -> list[Any]:
        lane = ir.VectorType(_I32, self.lanes)
        count = self.builder.trunc(columns, _I32)
        iota = ir.Constant(lane, list(range(self.lanes)))
        limits = [
            self.builder.sub(count, ir.Constant(_I32, j * self.lanes)) for j in range(self.vectors)
        ]
        return [self.builder.icmp_signed("<", iota, self.splat(limit)) for limit in limits]

    def _epilogue(self, arg: TileArguments, tile: list[list[Any]], masks: Any) -> None:
        builder = self.builder
        done = builder.append_basic_block("rows.end")
        low, high = self.splat(arg.low), self.splat(arg.high)
        for r, row in enumerate(tile):
            if r:
                more = builder.append_basic_block(f"row{r}")
                builder.cbranch(
                    builder.icmp_signed("<", ir.Constant(_I64, r), arg.rows), more, done
                )
                builder.position_at_end(more)
            self._finish_row(arg, r, row, masks, (low, high))
        builder.branch(done)
        builder.position_at_end(done)

    def _finish_row(self, arg: Any, r: int, row: Any, masks: Any, bounds: Any) -> None:
        builder = self.builder
        target = builder.gep(arg.c, [builder.mul(arg.ldc, ir.Constant(_I64, r))])
        on = builder.icmp_signed("!=", arg.accumulate, ir.Constant(_I64, 0))
        row = self._add_when(on, row, target, masks)
        given = builder.icmp_unsigned("!=", arg.residual, ir.Constant(arg.residual.type, None))
        added = builder.gep(arg.residual, [builder.mul(arg.ldr, ir.Constant(_I64, r))])
        row = self._add_when(given, row, added, masks)
        for j, value in enumerate(row):
            self.store(self.clamp(value, *bounds), self.column(target, j), masks and masks[j])

    def _add_when(self, on: Any, row: Any, source: Any, masks: Any) -> list[Any]:
        builder = self.builder
        before = builder.block
        with builder.if_then(on):
            added = []
            for j, value in enumerate(row):
                loaded = self.load(self.column(source, j), masks and masks[j])
                added.append(builder.fadd(value, loaded))
            inside = builder.block
        merged = []
        for value, total in zip(row, added, strict=True):
            phi = builder.phi(self.vector)
            phi.add_incoming(value, before)
            phi.add_incoming(total, inside)
            merged.append(phi)
        return merged

    def clamp(self, value: Any, low: Any, high: Any) -> Any:
        """The vector held in low .. high."""
        # Written as compare and select so that a NaN, which compares false, stays.
        builder = self.builder
        value = builder.select(builder.fcmp_ordered("<", value, low), low, value)
        return builder.select(builder.fcmp_ordered(">", value, high), high, value)

    def load(self, place: Any, mask: Any = None) -> Any:
        """The vector at `place`; where there is a mask, 0 in its other lanes."""
        place = self.builder.bitcast(place, self.vector.as_pointer())
        if mask is None:
            return self.builder.load(place, align=self._alignment())
        zero = ir.Constant(self.vector, None)
        return self.builder.call(self.masked_load, [place, self._align_value(), mask, zero])

    def store(self, value: Any, place: Any, mask: Any = None) -> None:
        """Write a vector, or its masked lanes."""
        place = self.builder.bitcast(place, self.vector.as_pointer())
        if mask is None:
            self.builder.store(value, place, align=self._alignment())
        else:
            self.builder.call(self.masked_store, [value, place, self._align_value(), mask])

    def _alignment(self) -> int:
        return 4 if isinstance(self.scalar, ir.FloatType) else 8

    def _align_value(self) -> Any:
        return ir.Constant(_I32, self._alignment())


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
        emitter = TileEmitter(builder, context.get_value_type(a.dtype), *tile)
        emitter.emit(TileArguments(*args[2:]))
        return context.get_dummy_value()

    return tile_signature(a, height, vectors), generate


def tile_signature(like: Any, *literals: Any) -> Any:
    """The signature of a tile: literals, then the types of `TileArguments`."""
    whole, scalar = types.int64, like.dtype
    return types.none(
        *literals,
        whole,
        like,
        whole,
        like,
        whole,
        like,
        whole,
        whole,
        whole,
        like,
        like,
        whole,
        whole,
        scalar,
        scalar,
    )
