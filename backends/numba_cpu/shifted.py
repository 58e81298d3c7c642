"""Sums and extremes of shifted views of one array, a few vectors at a time in registers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types

from irconv.backends.numba_cpu import machine
from irconv.backends.numba_cpu.emitter import TileEmitter
from irconv.backends.numba_cpu.jit import instruction
from irconv.backends.numba_cpu.pointers import folded

WIDE = 8  # vectors in flight: they hide the latency of four cycles of two units
HALF = WIDE // 2

_I64 = ir.IntType(64)


@instruction
def shifted_sum(
    typing: Any,
    vectors: Any,
    target: Any,
    source: Any,
    weights: Any,
    table: Any,
    taps: Any,
    start: Any,
    low: Any,
    high: Any,
) -> Any:
    """target[i] = clamp(start + sum over t of weights[t] * source[i + table[t]], low, high).

    `table` points to int64. `vectors` (a literal) whole vectors are read and written.
    """
    scalar = target.dtype

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emitter = _emitter(context, builder, scalar, vectors.literal_value)
        _, to, values, factors, shifts, count, first, *bounds = args

        def fold(t: Any, value: Any, total: Any) -> Any:
            weight = emitter.splat(builder.load(builder.gep(factors, [t])))
            return builder.call(emitter.fma, [weight, value, total])

        totals = _over_taps(emitter, (values, shifts, count), emitter.splat(first), fold)
        limits = [emitter.splat(bound) for bound in bounds]
        for j, total in enumerate(totals):
            emitter.store(emitter.clamp(total, *limits), emitter.column(to, j))
        return context.get_dummy_value()

    signature = types.none(
        vectors, target, target, target, table, types.int64, scalar, scalar, scalar
    )
    return signature, generate


@instruction
def shifted_fold(
    typing: Any,
    adds: Any,
    vectors: Any,
    target: Any,
    source: Any,
    table: Any,
    taps: Any,
    start: Any,
) -> Any:
    """target[i] = fold of `start` and all source[i + table[t]]; see `fold_lanes` for `adds`.

    `table` points to int64. `vectors` (a literal) whole vectors are read and written.
    """
    scalar = target.dtype

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emitter = _emitter(context, builder, scalar, vectors.literal_value)
        _, _, to, values, shifts, count, first = args

        def fold(t: Any, value: Any, total: Any) -> Any:
            return folded(builder, adds.literal_value, total, value)

        totals = _over_taps(emitter, (values, shifts, count), emitter.splat(first), fold)
        for j, total in enumerate(totals):
            emitter.store(total, emitter.column(to, j))
        return context.get_dummy_value()

    signature = types.none(adds, vectors, target, target, table, types.int64, scalar)
    return signature, generate


def _emitter(context: Any, builder: Any, scalar: Any, vectors: int) -> TileEmitter:
    lanes = machine.vector_bits() // scalar.bitwidth
    return TileEmitter(builder, context.get_value_type(scalar), 1, vectors, lanes)


def _over_taps(
    emitter: TileEmitter,
    given: tuple[Any, Any, Any],
    first: Any,
    fold: Callable[[Any, Any, Any], Any],
) -> list[Any]:
    """Emits total = fold(t, the view of tap t, total) for t = 0, 1, ...: the totals.

    `given`: the source, the table of shifts, the number of taps (at least one).
    """
    builder = emitter.builder
    source, table, taps = given
    before = builder.block
    head, after = builder.append_basic_block("tap"), builder.append_basic_block("tap.end")
    builder.branch(head)
    builder.position_at_end(head)
    t = builder.phi(_I64)
    sums = [builder.phi(emitter.vector) for _ in range(emitter.vectors)]
    view = builder.gep(source, [builder.load(builder.gep(table, [t]))])
    totals = [fold(t, emitter.load(emitter.column(view, j)), total) for j, total in enumerate(sums)]
    following = builder.add(t, ir.Constant(_I64, 1))
    t.add_incoming(ir.Constant(_I64, 0), before)
    t.add_incoming(following, head)
    for phi, total in zip(sums, totals, strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(total, head)
    builder.cbranch(builder.icmp_signed("<", following, taps), head, after)
    builder.position_at_end(after)
    return totals
