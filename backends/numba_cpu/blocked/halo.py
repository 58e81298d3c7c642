"""Zeros around the images of a value in blocks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

from irconv.backends.numba_cpu.blocked.launches import (
    BLOCKS,
    HEIGHT,
    IMAGES,
    LINE,
    STRIDES,
    WIDTH,
    Blocked,
    blocked_launch,
    plane_start,
)
from irconv.backends.numba_cpu.blocked.vectors import spread, store
from irconv.backends.numba_cpu.jit import compiled_part
from irconv.backends.numba_cpu.launch import Launch
from irconv.backends.numba_cpu.pointers import at, double_bits, number, pointer
from irconv.backends.numba_cpu.work import share


def clear_halo(y: Blocked) -> list[Launch]:
    """Zeroes the halo of `y`, and nothing else; no launch where it has none."""
    top, left, bottom, right = y.storage.halo
    if not any(y.storage.halo):
        return []
    line, block = y.storage.line, y.storage.block
    before, after = top * line + left * block, right * block + bottom * line
    # The zero is a number of the row: of one that it knows, LLVM makes calls of memset, which
    # cost more than the few vectors of a gap.
    numbers = (before, (left + right) * block, after, 0.0)
    launch = blocked_launch("clear_halo", _kernel(block), [y], (), numbers)
    # what makes y comes next, and writes inside of the halo only
    return [replace(launch, joins=False)]


@cache
def _kernel(block: int) -> Callable[..., None]:
    """Kernel. Row: Y, its numbers, then elements before an image, between lines, after it, 0."""

    @compiled_part
    def clear(y: Any, count: Any, zero: Any) -> None:
        fill = spread(zero, block)
        for i in range(0, count, block):
            store(at(y, i), fill)

    def clear_halo_kernel(step: Any, like: Any, part: Any, parts: Any) -> None:
        y, sizes = pointer(step[1], like), at(step, 3)
        strides, own = at(sizes, STRIDES), at(sizes, STRIDES + 3)
        height, line = sizes[HEIGHT], strides[LINE]
        zero = number(double_bits(own[3]), like)
        # of each plane: what is before its first line, then what is after each line
        runs = height + 1
        first, end = share(sizes[IMAGES] * sizes[BLOCKS] * runs, part, parts)
        for plane in range(first // runs, (end + runs - 1) // runs):
            start = at(y, plane_start(plane, sizes, strides))
            low, high = max(first - plane * runs, 0), min(end - plane * runs, runs)
            for run in range(low, high):
                if run == 0:
                    clear(at(start, -own[0]), own[0], zero)
                else:
                    behind = (run - 1) * line + sizes[WIDTH] * block
                    clear(at(start, behind), own[2] if run == height else own[1], zero)

    clear_halo_kernel.__qualname__ = f"clear_halo_{block}"
    return clear_halo_kernel
