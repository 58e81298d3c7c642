"""Strides: how a kernel finds an operand's element from a number of a result's element."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from irconv.backends.numba_cuda.device import cuda
from irconv.geometry import Ints


@cuda.jit(device=True)
def place(i: Any, g: Any, table: Any, rank: Any, operand: Any) -> Any:
    """The offset in operand number `operand` of element i of the table's box.

    The table holds `rank` sizes (the box, row-major), then `rank` strides for each operand.
    """
    strides = table + (operand + 1) * rank
    offset = 0
    for axis in range(rank - 1, -1, -1):
        size = g[table + axis]
        offset += i % size * g[strides + axis]
        i //= size
    return offset


def strides_of(shape: Sequence[int]) -> Ints:
    """Row-major strides, in elements."""
    return tuple(prod(shape[axis + 1 :]) for axis in range(len(shape)))


def broadcast_strides(shape: Sequence[int], target: Sequence[int]) -> Ints:
    """Strides that read an operand of `shape` as if it were broadcast to `target`."""
    own = [
        0 if size == 1 else stride for size, stride in zip(shape, strides_of(shape), strict=True)
    ]
    return (*(0,) * (len(target) - len(shape)), *own)


def table(shape: Sequence[int], *strides: Sequence[int]) -> tuple[int, Ints]:
    """(rank, table) for `place`; axes that every operand walks as one are merged."""
    axes = [axis for axis in zip(shape, *strides, strict=True) if axis[0] != 1]
    merged: list[tuple[int, ...]] = []
    for size, *steps in axes:
        if merged and all(
            outer == step * size for outer, step in zip(merged[-1][1:], steps, strict=True)
        ):
            merged[-1] = (merged[-1][0] * size, *steps)
        else:
            merged.append((size, *steps))
    columns = zip(*merged, strict=True) if merged else ()
    return len(merged), tuple(number for column in columns for number in column)
