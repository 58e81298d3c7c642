"""A register tile of few columns, its rows in the lanes of a vector."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from irconv.backends.numba_cpu.jit import instruction
from irconv.backends.numba_cpu.microkernel import TileArguments, TileEmitter, tile_signature

_I64 = ir.IntType(64)


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
        emitter = NarrowEmitter(builder, context.get_value_type(a.dtype), *sizes)
        emitter.emit_narrow(TileArguments(*args[3:]), ways.literal_value)
        return context.get_dummy_value()

    return tile_signature(a, height, width, ways), generate


class NarrowEmitter(TileEmitter):
    """Emits a tile of `rows` columns with `lanes` rows each: the roles of A and B are changed."""

    def emit_narrow(self, arg: TileArguments, ways: int) -> None:
        """The whole tile."""
        builder = self.builder
        part = builder.sdiv(arg.depth, ir.Constant(_I64, ways))
        zeros: list[Any] = [ir.Constant(self.vector, None)] * self.rows
        starts = [self._start(arg), *[zeros] * (ways - 1)]
        firsts = [builder.mul(part, ir.Constant(_I64, way)) for way in range(ways)]
        found = self._loop(arg, part, starts, firsts)
        total = [self._sum(column) for column in zip(*found, strict=True)]
        done = builder.mul(part, ir.Constant(_I64, ways))
        (total,) = self._loop(arg, builder.sub(arg.depth, done), [total], [done])
        turned = TileEmitter(builder, self.scalar, self.lanes, 1, self.rows)
        turned.finish(arg, [[row] for row in self._turn(total)])

    def _start(self, arg: TileArguments) -> list[Any]:
        builder = self.builder
        before = builder.block
        given = builder.icmp_unsigned("!=", arg.bias, ir.Constant(arg.bias.type, None))
        with builder.if_then(given):
            loaded = self.load(arg.bias)
            inside = builder.block
        bias = builder.phi(self.vector)
        bias.add_incoming(ir.Constant(self.vector, None), before)
        bias.add_incoming(loaded, inside)
        return [bias] * self.rows

    def _loop(
        self, arg: TileArguments, steps: Any, starts: list[list[Any]], firsts: list[Any]
    ) -> list[list[Any]]:
        """The sums of `steps` of the depth from each of `firsts` on."""
        builder = self.builder
        before = builder.block
        head, after = builder.append_basic_block("k"), builder.append_basic_block("k.end")
        some = builder.icmp_signed(">", steps, ir.Constant(_I64, 0))
        builder.cbranch(some, head, after)
        builder.position_at_end(head)
        k = builder.phi(_I64)
        sums = [[builder.phi(self.vector) for _ in start] for start in starts]
        products = [
            self._step(arg, builder.add(k, first), row)
            for row, first in zip(sums, firsts, strict=True)
        ]
        following = builder.add(k, ir.Constant(_I64, 1))
        k.add_incoming(ir.Constant(_I64, 0), before)
        k.add_incoming(following, head)
        for phis, start, values in zip(sums, starts, products, strict=True):
            for phi, old, new in zip(phis, start, values, strict=True):
                phi.add_incoming(old, before)
                phi.add_incoming(new, head)
        builder.cbranch(builder.icmp_signed("<", following, steps), head, after)
        builder.position_at_end(after)
        return self.merge(starts, before, products, head)

    def _step(self, arg: TileArguments, k: Any, sums: list[Any]) -> list[Any]:
        """Adds the products of one place `k` of the depth."""
        builder = self.builder
        weights = self.load(builder.gep(arg.a, [builder.mul(k, arg.lda)]))
        line = builder.gep(arg.b, [builder.mul(k, arg.ldb)])
        return [
            builder.call(
                self.fma,
                [weights, self.splat(builder.load(builder.gep(line, [ir.Constant(_I64, j)]))), old],
            )
            for j, old in enumerate(sums)
        ]

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
