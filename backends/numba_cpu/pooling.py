"""Pools, and the adjoint of the patch matrix, as kernels of their own."""

from __future__ import annotations

from typing import Any

from irconv.backends.numba_cpu import slots
from irconv.backends.numba_cpu.pointers import at, pointer
from irconv.backends.numba_cpu.pooled import divide_pool, pool_band, start_pool
from irconv.backends.numba_cpu.transposed import gather_channel
from irconv.backends.numba_cpu.work import share


def pool(step: Any, like: Any, part: Any, parts: Any) -> None:
    """Kernel: max or average pool of [IMAGES, ROWS, *OUT] to [IMAGES, ROWS, *POOLED]."""
    height, planes = step[slots.POOLED_H], step[slots.POOLED_D]
    size = planes * height * step[slots.POOLED_W]
    layer = step[slots.OUT_H] * step[slots.OUT_W]
    first, end = share(step[slots.IMAGES] * step[slots.ROWS] * planes, part, parts)
    for unit in range(first, end):
        channel, plane = unit // planes, unit % planes
        y = at(pointer(step[slots.Y], like), channel * size + plane * height * step[slots.POOLED_W])
        x = at(pointer(step[slots.X], like), channel * step[slots.OUT_D] * layer)
        start_pool(step, y, size, (0, 1), (0, height))
        for tap in range(step[slots.POOL_D]):
            z = (
                plane * step[slots.POOL_STRIDE_D]
                - step[slots.POOL_PAD_D]
                + tap * step[slots.POOL_DILATION_D]
            )
            if z >= 0 and z < step[slots.OUT_D]:
                pool_band(step, at(x, z * layer), (0, step[slots.OUT_H]), y, (0, height))
        if step[slots.POOL_KIND] != slots.MAX:
            divide_pool(step, y, size, (0, 1), plane, (0, height))


def col2im(step: Any, like: Any, part: Any, parts: Any) -> None:
    """Kernel: [IMAGES, ROWS * taps, prod(IN)] summed into [IMAGES, ROWS, *OUT]."""
    taps = step[slots.KERNEL_D] * step[slots.KERNEL_H] * step[slots.KERNEL_W]
    windows = step[slots.IN_D] * step[slots.IN_H] * step[slots.IN_W]
    rows = step[slots.ROWS]
    first, end = share(step[slots.IMAGES] * rows, part, parts)
    for unit in range(first, end):
        x = at(pointer(step[slots.X], like), unit * taps * windows)
        gather_channel(step, x, unit // rows, unit % rows)
