"""Sums and extremes of equally spaced vectors, for several pixels at once in registers."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from llvmlite import ir
from numba import types

from irconv.backends.numba_cpu.blocked.vectors import (
    I64,
    emit_greater,
    emit_largest,
    emit_load,
    emit_store,
)
from irconv.backends.numba_cpu.jit import compiled_part, instruction
from irconv.backends.numba_cpu.pointers import at

# What is made of the vectors: their sum; the largest, NaN where there is one; the largest where
# there is none; the same, telling whether there was none.
SUM, LARGEST, GREATER, CHECKED = range(4)


@cache
def fold_line(kind: int, block: int) -> Callable[..., Any]:
    """The function `(y, x, count, step, taps, tap_step)`: folds a line of `count` pixels.

    y[q * block] = fold over t < taps of x[q * step + t * tap_step], all vectors of `block` floats;
    y and x do not overlap, and there is a tap. The result is 0 where CHECKED met a NaN, else 1.
    """

    def line(y: Any, x: Any, count: Any, step: Any, taps: Any, tap_step: Any) -> Any:
        ordered = 1
        if count >= 8:
            for i in range(0, count, 8):
                # the last tile begins earlier: it writes some pixels a second time
                q = min(i, count - 8)
                ordered &= _fold_tile(
                    kind, block, 8, at(y, q * block), at(x, q * step), step, taps, tap_step
                )
            return ordered
        if count >= 4:
            ordered &= _fold_tile(kind, block, 4, y, x, step, taps, tap_step)
            q = count - 4
            return ordered & _fold_tile(
                kind, block, 4, at(y, q * block), at(x, q * step), step, taps, tap_step
            )
        for q in range(count):
            ordered &= _fold_tile(
                kind, block, 1, at(y, q * block), at(x, q * step), step, taps, tap_step
            )
        return ordered

    return compiled_part(line)


@instruction
def _fold_tile(
    typing: Any,
    kind: Any,
    block: Any,
    count: Any,
    target: Any,
    source: Any,
    step: Any,
    taps: Any,
    tap_step: Any,
) -> Any:
    """`fold_line` for `count` pixels in registers; kind, block and count are literals."""
    fold, size, pixels = kind.literal_value, block.literal_value, count.literal_value

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, _, _, to, start, stride, number, tap_stride = args
        tile = _Tile(builder, fold, size, pixels)
        totals, ordered = tile.over_taps(start, stride, number, tap_stride)
        for j, total in enumerate(totals):
            emit_store(builder, total, builder.gep(to, [ir.Constant(I64, j * size)]))
        return ordered

    whole = types.int64
    signature = whole(kind, block, count, target, target, whole, whole, whole)
    return signature, generate


class _Tile:
    """Emits one tile of a fold."""

    def __init__(self, builder: Any, kind: int, block: int, pixels: int) -> None:
        self.builder, self.kind, self.block, self.pixels = builder, kind, block, pixels

    def over_taps(self, start: Any, step: Any, taps: Any, tap_step: Any) -> tuple[list[Any], Any]:
        """The folded vectors, and 1 if all that were read are numbers (or need not be)."""
        builder = self.builder
        first = self._pixels(start, step)
        checks = self._checks(first)
        second = builder.gep(start, [tap_step])
        before = builder.block
        head, after = builder.append_basic_block("tap"), builder.append_basic_block("tap.end")
        one = ir.Constant(I64, 1)
        builder.cbranch(builder.icmp_signed(">", taps, one), head, after)
        builder.position_at_end(head)
        t, place = builder.phi(I64), builder.phi(start.type)
        olds = [builder.phi(value.type) for value in (*first, *checks)]
        values = self._pixels(place, step)
        totals = [self._fold(a, b) for a, b in zip(olds, values, strict=False)]
        found = zip(olds[len(first) :], self._checks(values), strict=True)
        totals += [builder.and_(a, b) for a, b in found]
        following = builder.add(t, one)
        t.add_incoming(one, before)
        t.add_incoming(following, head)
        place.add_incoming(second, before)
        place.add_incoming(builder.gep(place, [tap_step]), head)
        for phi, begin, total in zip(olds, (*first, *checks), totals, strict=True):
            phi.add_incoming(begin, before)
            phi.add_incoming(total, head)
        builder.cbranch(builder.icmp_signed("<", following, taps), head, after)
        builder.position_at_end(after)
        ends = []
        for begin, total in zip((*first, *checks), totals, strict=True):
            phi = builder.phi(begin.type)
            phi.add_incoming(begin, before)
            phi.add_incoming(total, head)
            ends.append(phi)
        return ends[: self.pixels], self._all(ends[self.pixels :])

    def _pixels(self, place: Any, step: Any) -> list[Any]:
        builder = self.builder
        offsets = [builder.mul(step, ir.Constant(I64, j)) for j in range(self.pixels)]
        return [emit_load(builder, builder.gep(place, [o]), self.block) for o in offsets]

    def _fold(self, total: Any, value: Any) -> Any:
        if self.kind == SUM:
            return self.builder.fadd(total, value)
        emit = emit_largest if self.kind == LARGEST else emit_greater
        return emit(self.builder, value, total)

    def _checks(self, values: list[Any]) -> list[Any]:
        """For every two vectors: in which lanes both are numbers."""
        if self.kind != CHECKED:
            return []
        pairs = zip(values[::2], values[1::2] or values, strict=True)
        return [self.builder.fcmp_ordered("ord", a, b) for a, b in pairs]

    def _all(self, checks: list[Any]) -> Any:
        if not checks:
            return ir.Constant(I64, 1)
        builder, total = self.builder, checks[0]
        for check in checks[1:]:
            total = builder.and_(total, check)
        bits = builder.bitcast(total, ir.IntType(self.block))
        whole = builder.icmp_signed("==", bits, ir.Constant(bits.type, -1))
        return builder.zext(whole, I64)
