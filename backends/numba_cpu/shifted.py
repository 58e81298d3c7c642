"""A weighted sum of shifted views of one array, a few vectors at a time in registers."""

from __future__ import annotations

from typing import Any

from numba import types

from irconv.backends.numba_cpu import machine
from irconv.backends.numba_cpu.jit import instruction
from irconv.backends.numba_cpu.microkernel import TileEmitter

WIDE = 8  # sums in flight: they hide the latency of four cycles of two units


@instruction
def shifted_sum(
    typing: Any,
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

    `table` points to int64. WIDE whole vectors are read and written.
    """
    scalar = target.dtype
    lanes = machine.vector_bits() // scalar.bitwidth

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emitter = TileEmitter(builder, context.get_value_type(scalar), 1, WIDE, lanes)
        emitter.emit_shifted(*args)
        return context.get_dummy_value()

    signature = types.none(target, target, target, table, types.int64, scalar, scalar, scalar)
    return signature, generate
