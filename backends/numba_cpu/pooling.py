"""Pools, and the adjoint of the patch matrix, as kernels of their own."""

from __future__ import annotations

from typing import Any

from irconv.backends.numba_cpu import slots
from irconv.backends.numba_cpu.pointers import at, pointer
from irconv.backends.numba_cpu.pooled import divide_pool, pool_rows, start_pool
from irconv.backends.numba_cpu.transposed import gather_channel
from irconv.backends.numba_cpu.work import share


def pool(step: Any, like: Any, part: Any, parts: Any) -> None:
    """Kernel: max or average pool of [IMAGES, ROWS, *OUT] to [IMAGES, ROWS, *POOLED]."""
    height, planes = step[slots.POOLED_H], step[slots.POOLED_D]
    layer, out = height * step[slots.POOLED_W], step[slots.OUT_H] * step[slots.OUT_W]
    y_step, x_step = planes * layer, step[slots.OUT_D] * out
    scratch = at(pointer(step[slots.SCRATCH], like), part * step[slots.SCRATCH_EACH])
    first, end = share(step[slots.IMAGES] * step[slots.ROWS], part, parts)
    rows = (0, height)
    for plane in range(planes):
        y = at(pointer(step[slots.Y], like), first * y_step + plane * layer)
        start_pool(step, y, y_step, end - first, rows)
        for tap in range(step[slots.POOL_D]):
            z = (
                plane * step[slots.POOL_STRIDE_D]
                - step[slots.POOL_PAD_D]
                + tap * step[slots.POOL_DILATION_D]
            )
            if z >= 0 and z < step[slots.OUT_D]:
                x = at(pointer(step[slots.X], like), first * x_step + z * out)
                band = (0, step[slots.OUT_H])
                pool_rows(step, x, x_step, band, y, y_step, end - first, rows, scratch)
        if step[slots.POOL_KIND] != slots.MAX:
            divide_pool(step, y, y_step, end - first, plane, rows, scratch)


def col2im(step: Any, like: Any, part: Any, parts: Any) -> None:
    """Kernel: [IMAGES, ROWS * taps, prod(IN)] summed into [IMAGES, ROWS, *OUT]."""
    taps = step[slots.KERNEL_D] * step[slots.KERNEL_H] * step[slots.KERNEL_W]
    windows = step[slots.IN_D] * step[slots.IN_H] * step[slots.IN_W]
    rows = step[slots.ROWS]
    first, end = share(step[slots.IMAGES] * rows, part, parts)
    for unit in range(first, end):
        x = at(pointer(step[slots.X], like), unit * taps * windows)
        gather_channel(step, x, unit // rows, unit % rows)
