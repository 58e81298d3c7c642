"""Copies of many equal lines, with zeros where a line leaves its source."""

from __future__ import annotations

from typing import Any

from irconv.backends.numba_cpu.jit import compiled_part
from irconv.backends.numba_cpu.pointers import (
    address,
    at,
    copy_lanes,
    fold_lanes,
    lanes,
    move_lanes,
    number,
)
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
    fill: Any,
) -> None:
    """For each of `copies` lines: target[i] = source[i * stride] for low <= i < high, else fill.

    `count` elements are written; nothing else is read or written. The bounds serve all lines, so
    the masks are made once.
    """
    size = lanes(target)
    if stride == 1 and count > size:
        for v in range(0, count, 3 * size):
            _copy_wide(
                at(target, v), target_step, at(source, v), source_step, copies,
                low - v, high - v, count - v, fill,
            )  # fmt: skip
    elif stride == 1:
        for c in range(copies):
            to, start = at(target, c * target_step), at(source, c * source_step)
            move_lanes(1, to, start, low, high, count, fill)
    elif stride == 2:
        for v in range(0, count, size):
            for c in range(copies):
                to, start = at(target, c * target_step + v), at(source, c * source_step + 2 * v)
                move_lanes(2, to, start, low - v, high - v, count - v, fill)
    else:
        for c in range(copies):
            to, start = at(target, c * target_step), at(source, c * source_step)
            for i in range(count):
                to[i] = start[i * stride] if low <= i < high else fill


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
    fill: Any,
) -> None:
    """`copy_lines` for stride 1 and at most three vectors, all of a line before the next."""
    size = lanes(target)
    for c in range(copies):
        to, start = at(target, c * target_step), at(source, c * source_step)
        move_lanes(1, to, start, low, high, count, fill)
        to, start = at(to, size), at(start, size)
        move_lanes(1, to, start, low - size, high - size, count - size, fill)
        to, start = at(to, size), at(start, size)
        move_lanes(1, to, start, low - 2 * size, high - 2 * size, count - 2 * size, fill)


@compiled_part
def copy_run(target: Any, source: Any, count: Any, streams: Any) -> None:
    """target[i] = source[i] for i < count; `streams`: past the caches, for what exceeds them."""
    size = lanes(target)
    first = 0
    if streams and count >= 8 * size:
        # Up to the first whole vector of the target.
        bytes_of_one = address(at(target, 1)) - address(target)
        first = -address(target) // bytes_of_one % size
        move_lanes(1, target, source, 0, first, first, number(0.0, target))
        while first + 4 * size <= count:
            copy_lanes(4, 1, at(target, first), at(source, first))
            first += 4 * size
    while first + 4 * size <= count:
        copy_lanes(4, 0, at(target, first), at(source, first))
        first += 4 * size
    while first < count:
        left = count - first
        move_lanes(1, at(target, first), at(source, first), 0, left, left, number(0.0, target))
        first += size


@compiled_part
def fold_lines(
    adds: Any, target: Any, target_step: Any, source: Any, source_step: Any, copies: Any, count: Any
) -> None:
    """For each of `copies` lines: target[i] = the larger of it and source[i], or their sum."""
    for v in range(0, count, lanes(target)):
        for c in range(copies):
            to, start = at(target, c * target_step + v), at(source, c * source_step + v)
            if adds != 0:
                fold_lanes(1, to, start, count - v)
            else:
                fold_lanes(0, to, start, count - v)


@compiled_part
def clear(target: Any, count: Any, fill: Any) -> None:
    """`count` times `fill`."""
    for i in range(count):
        target[i] = fill


@compiled_part
def reached(shift: Any, stride: Any, size: Any, count: Any) -> Any:
    """The first and the end of the i < count with 0 <= i * stride + shift < size."""
    end = min(max(blocks(size - shift, stride), 0), count)
    return min(max(blocks(-shift, stride), 0), end), end
