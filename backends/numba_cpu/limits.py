"""Bounds that let a NaN through, as compare and select so that they stay vector code."""

from __future__ import annotations

from typing import Any

from irconv.backends.numba_cpu.jit import compiled_part


@compiled_part
def at_least(value: Any, low: Any) -> Any:
    """`value`, or `low` where that is larger."""
    return low if value < low else value


@compiled_part
def at_most(value: Any, high: Any) -> Any:
    """`value`, or `high` where that is smaller."""
    return high if value > high else value


@compiled_part
def clamp(value: Any, low: Any, high: Any) -> Any:
    """`value` limited to low .. high."""
    return at_most(at_least(value, low), high)
