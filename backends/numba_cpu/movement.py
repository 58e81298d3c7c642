"""Moves data: strided copies, fills, and rows picked by an index."""

from __future__ import annotations

from typing import Any

from irconv.backends.numba_cpu.integers import int32_at
from irconv.backends.numba_cpu.jit import compiled_part
from irconv.backends.numba_cpu.pointers import at, double_bits, number, pointer
from irconv.backends.numba_cpu.work import share

AXES = 6  # axes of a copy after those that run together are merged


def copy_strided(step: Any, like: Any, part: Any, parts: Any) -> None:
    """Kernel: y[strides] = x[strides]. Row: Y, X, 6 sizes, 6 strides of x, 6 of y."""
    y, x = pointer(step[1], like), pointer(step[2], like)
    rows = step[3] * step[4] * step[5] * step[6] * step[7]
    if rows == 1:  # one line, so the parts share its elements
        first, end = share(step[8], part, parts)
        start_y, start_x = at(y, first * step[20]), at(x, first * step[14])
        _copy_line(start_y, start_x, end - first, step[20], step[14])
        return
    first, end = share(rows, part, parts)
    for row in range(first, end):
        rest, source, target = row, 0, 0
        for axis in range(4, -1, -1):
            above = rest // step[3 + axis]
            place = rest - above * step[3 + axis]
            source += place * step[9 + axis]
            target += place * step[15 + axis]
            rest = above
        _copy_line(at(y, target), at(x, source), step[8], step[20], step[14])


@compiled_part
def _copy_line(y: Any, x: Any, count: Any, step_y: Any, step_x: Any) -> None:
    if step_y == 1 and step_x == 1:
        for i in range(count):
            y[i] = x[i]
    elif step_y == 1 and step_x == 0:
        value = x[0]
        for i in range(count):
            y[i] = value
    else:
        for i in range(count):
            y[i * step_y] = x[i * step_x]


def fill(step: Any, like: Any, part: Any, parts: Any) -> None:
    """Kernel: y = value. Row: Y, count, value."""
    y, value = pointer(step[1], like), number(double_bits(step[3]), like)
    first, end = share(step[2], part, parts)
    for i in range(first, end):
        y[i] = value


def gather(step: Any, like: Any, part: Any, parts: Any) -> None:
    """Kernel: y[o, i] = x[o, index[i]], rows of `inner`. Row: Y, X, INDEX, STATUS, outer, size of
    the axis, number of indices, inner, whether the index is int64 (else int32).

    Negative indices count from the end. An index out of range sets the status to 1.
    """
    y, x = pointer(step[1], like), pointer(step[2], like)
    index, status = pointer(step[3], step), pointer(step[4], step)
    size, count, inner = step[6], step[7], step[8]
    first, end = share(step[5] * count, part, parts)
    for row in range(first, end):
        outer = row // count
        i = row - outer * count
        place = index[i] if step[9] != 0 else int32_at(step[3], i)
        place = place + size if place < 0 else place
        if place < 0 or place >= size:
            status[0] = 1
        else:
            _copy_line(at(y, row * inner), at(x, (outer * size + place) * inner), inner, 1, 1)
