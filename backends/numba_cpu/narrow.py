"""A register tile of few columns, its rows in the lanes of a vector."""

from __future__ import annotations

from functools import partial
from typing import Any

from llvmlite import ir

from irconv.backends.numba_cpu.emitter import Grid, flat, in_rows, whole
from irconv.backends.numba_cpu.jit import instruction
from irconv.backends.numba_cpu.microkernel import PackedTile, TileArguments, tile_signature


@instruction
def multiply_narrow(
    typing: Any,
    height: Any,
    width: Any,
    ways: Any,
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
    """`multiply_tile` for at most `width` columns (a literal), all of which B must hold.

    Each of `ways` (a literal) parts of the depth has sums of its own, which hides the latency. A
    bias that is given is read for all `height` rows.
    """
    sizes = (width.literal_value, 1, height.literal_value)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emitter = NarrowTile(builder, context.get_value_type(a.dtype), *sizes)
        emitter.emit_narrow(TileArguments(*args[3:]), ways.literal_value)
        return context.get_dummy_value()

    return tile_signature(a, height, width, ways), generate


class NarrowTile(PackedTile):
    """A tile of `rows` columns with `lanes` rows each: the roles of A and B are changed."""

    def emit_narrow(self, arg: TileArguments, ways: int) -> None:
        """The whole tile."""
        builder = self.builder
        part = builder.sdiv(arg.depth, whole(ways))
        zeros = [value for (value,) in self.zeros()]
        starts = [self._start(arg), *[zeros] * (ways - 1)]
        found = self._sums(arg, part, starts, [builder.mul(part, whole(w)) for w in range(ways)])
        total = [self._sum(column) for column in zip(*found, strict=True)]
        done = builder.mul(part, whole(ways))
        (total,) = self._sums(arg, builder.sub(arg.depth, done), [total], [done])
        turned = PackedTile(builder, self.scalar, self.lanes, 1, self.rows)
        turned.finish(arg, [[row] for row in self._turn(total)])

    def _start(self, arg: TileArguments) -> list[Any]:
        given, zero = self.is_given(arg.bias), ir.Constant(self.vector, None)
        return self.when(given, [zero], lambda: [self.load(arg.bias)]) * self.rows

    def _sums(self, arg: TileArguments, steps: Any, starts: Grid, firsts: list[Any]) -> Grid:
        """The sums of `steps` of the depth from each of `firsts` on."""

        def step(carried: list[Any]) -> list[Any]:
            k, *sums = carried
            ways = zip(in_rows(sums, self.rows), firsts, strict=True)
            found = [self._products(arg, self.builder.add(k, first), way) for way, first in ways]
            return [self.builder.add(k, whole(1)), *flat(found)]

        return in_rows(self.loop(steps, [whole(0), *flat(starts)], step)[1:], self.rows)

    def _products(self, arg: TileArguments, k: Any, sums: list[Any]) -> list[Any]:
        """The sums after place `k` of the depth."""
        weights = self.load(self.at(arg.a, self.builder.mul(k, arg.lda)))
        line = self.at(arg.b, self.builder.mul(k, arg.ldb))
        columns = [partial(self.broadcast, self.at(line, j)) for j in range(self.rows)]
        return flat(self.multiply_add(columns, [weights], [[total] for total in sums]))

    def _sum(self, values: Any) -> Any:
        total = values[0]
        for value in values[1:]:
            total = self.builder.fadd(total, value)
        return total

    def _turn(self, columns: list[Any]) -> list[Any]:
        """Each row across the columns; their number is a power of two."""
        builder = self.builder
        whole = columns
        while len(whole) > 1:
            size = whole[0].type.count
            both = ir.Constant(ir.VectorType(ir.IntType(32), 2 * size), list(range(2 * size)))
            pairs = zip(whole[::2], whole[1::2], strict=True)
            whole = [builder.shuffle_vector(left, right, both) for left, right in pairs]
        lane = ir.VectorType(ir.IntType(32), self.rows)
        undefined = ir.Constant(whole[0].type, ir.Undefined)
        return [
            builder.shuffle_vector(
                whole[0],
                undefined,
                ir.Constant(lane, [j * self.lanes + r for j in range(self.rows)]),
            )
            for r in range(self.lanes)
        ]
