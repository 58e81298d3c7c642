"""Copies of many equal lines, with zeros where a line leaves its source."""

from __future__ import annotations

from typing import Any

from irconv.backends.numba_cpu.jit import compiled_part
from irconv.backends.numba_cpu.pointers import at, lanes, move_lanes, number
from irconv.backends.numba_cpu.work import blocks


@compiled_part
def copy_lines(
    target: Any,
    target_step: Any,
    source: Any,
    source_step: Any,
    copies: Any,
    stride: Any,
    low: Any,
    high: Any,
    count: Any,
) -> None:
    """For each of `copies` lines: target[i] = source[i * stride] for low <= i < high, else 0.

    `count` elements are written; nothing else is read or written. The bounds serve all lines, so
    the masks are made once.
    """
    size = lanes(target)
    if stride == 1 and count > size:
        for v in range(0, count, 3 * size):
            _copy_wide(
                at(target, v), target_step, at(source, v), source_step, copies,
                low - v, high - v, count - v,
            )  # fmt: skip
    elif stride == 1:
        for c in range(copies):
            to, start = at(target, c * target_step), at(source, c * source_step)
            move_lanes(1, to, start, low, high, count)
    elif stride == 2:
        for v in range(0, count, size):
            for c in range(copies):
                to, start = at(target, c * target_step + v), at(source, c * source_step + 2 * v)
                move_lanes(2, to, start, low - v, high - v, count - v)
    else:
        for c in range(copies):
            to, start = at(target, c * target_step), at(source, c * source_step)
            for i in range(count):
                to[i] = start[i * stride] if low <= i < high else number(0.0, to)


@compiled_part
def _copy_wide(
    target: Any,
    target_step: Any,
    source: Any,
    source_step: Any,
    copies: Any,
    low: Any,
    high: Any,
    count: Any,
) -> None:
    """`copy_lines` for stride 1 and at most three vectors, all of a line before the next."""
    size = lanes(target)
    for c in range(copies):
        to, start = at(target, c * target_step), at(source, c * source_step)
        move_lanes(1, to, start, low, high, count)
        to, start = at(to, size), at(start, size)
        move_lanes(1, to, start, low - size, high - size, count - size)
        to, start = at(to, size), at(start, size)
        move_lanes(1, to, start, low - 2 * size, high - 2 * size, count - 2 * size)


@compiled_part
def clear(target: Any, count: Any) -> None:
    """`count` zeros."""
    for i in range(count):
        target[i] = number(0.0, target)


@compiled_part
def reached(shift: Any, stride: Any, size: Any, count: Any) -> Any:
    """The first and the end of the i < count with 0 <= i * stride + shift < size."""
    end = min(max(blocks(size - shift, stride), 0), count)
    return min(max(blocks(-shift, stride), 0), end), end
