"""Looks up in the index of a matrix where the pixels of a tile are, a vector at a time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from llvmlite import ir
from numba import types

from irconv.backends.numba_cpu.blocked.tile import lanes
from irconv.backends.numba_cpu.emitter import TileEmitter, whole
from irconv.backends.numba_cpu.jit import instruction

_I32, _I64 = ir.IntType(32), ir.IntType(64)


@dataclass(frozen=True)
class _Arguments:
    """The LLVM values of one call: see `find_starts`."""

    index: Any
    pitch: Any
    segments: Any
    joined: Any
    element: Any
    pattern: Any
    rows: Any
    starts: Any


class LookupEmitter(TileEmitter):
    """Emits the comparison of an index with a pattern."""

    def emit(self, arg: _Arguments) -> Any:
        """Whether all rows follow the pattern."""
        builder = self.builder
        size, nothing = whole(self.lanes), ir.Constant(ir.VectorType(_I32, self.lanes), None)
        vectors = builder.sdiv(builder.add(arg.rows, whole(self.lanes - 1)), size)
        numbers = ir.Constant(nothing.type, list(range(self.lanes)))

        def vector(carried: list[Any]) -> list[Any]:
            first, negative, differ = carried
            pattern = self._whole_numbers(self.at(arg.pattern, first))
            segment = partial(self._segment, arg, first, pattern)
            start = [arg.index, arg.starts, negative, nothing]
            _, _, negative, here = self.loop(arg.segments, start, segment)
            left = builder.trunc(builder.sub(arg.rows, first), _I32)
            inside = builder.icmp_signed("<", numbers, self.splat(left))
            differ = builder.or_(differ, builder.select(inside, here, nothing))
            return [builder.add(first, size), negative, differ]

        start = [whole(0), ir.Constant(_I32, 0), nothing]
        _, negative, differ = self.loop(vectors, start, vector)
        wrong = builder.icmp_unsigned("!=", differ, nothing)
        bits = builder.bitcast(wrong, ir.IntType(self.lanes))
        same = builder.icmp_unsigned("==", bits, ir.Constant(bits.type, 0))
        return builder.and_(same, builder.icmp_signed(">=", negative, ir.Constant(_I32, 0)))

    def _segment(self, arg: _Arguments, first: Any, pattern: Any, carried: list[Any]) -> list[Any]:
        """The taps of one segment, which must lie side by side."""
        builder = self.builder
        index, starts, negative, differ = carried
        base = builder.load(index)
        builder.store(builder.sext(base, _I64), starts)
        step = builder.trunc(arg.element, _I32)

        def tap(carried: list[Any]) -> list[Any]:
            index, wanted, differ = carried
            read = self._whole_numbers(self.at(index, first))
            rest = builder.xor(read, builder.add(pattern, self.splat(wanted)))
            differ = builder.or_(differ, rest)
            return [self.at(index, arg.pitch), builder.add(wanted, step), differ]

        index, _, differ = self.loop(arg.joined, [index, base, differ], tap)
        return [index, self.at(starts, 1), builder.or_(negative, base), differ]

    def _whole_numbers(self, place: Any) -> Any:
        vector = ir.VectorType(_I32, self.lanes).as_pointer()
        return self.builder.load(self.builder.bitcast(place, vector), align=4)


@instruction
def find_starts(
    typing: Any,
    index: Any,
    pitch: Any,
    segments: Any,
    joined: Any,
    element: Any,
    pattern: Any,
    rows: Any,
    starts: Any,
) -> Any:
    """starts[s] = index[s * joined, 0] for s < segments; whether all rows go on from there.

    That is, whether index[s * joined + j, r] is starts[s] + pattern[r] + j * element for each
    s < segments, j < joined, r < rows, and no start is negative. `index` and `pattern` are the
    addresses of int32, the rows of the index `pitch` apart; one vector past their last is read.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emitter = LookupEmitter(builder, ir.FloatType(), 1, 1, lanes())
        numbers = _I32.as_pointer()
        given = list(args)
        for place in (0, 5):
            given[place] = builder.inttoptr(args[place], numbers)
        return emitter.emit(_Arguments(*given))

    return types.boolean(*(types.int64,) * 7, starts), generate
