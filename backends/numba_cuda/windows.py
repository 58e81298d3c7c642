"""Sliding windows of up to three axes: their integers, the device functions of their loops."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any

from irconv.backends.numba_cuda import slots
from irconv.backends.numba_cuda.device import cuda
from irconv.backends.numba_cuda.elementary import larger, power
from irconv.backends.numba_cuda.slots import (
    AVERAGE,
    AVERAGE_PADDED,
    EXPONENT,
    MAX,
    OUT,
    P_NORM,
    POOL,
    POOL_DILATION,
    POOL_END,
    POOL_PAD,
    POOL_STRIDE,
    POOLED,
)
from irconv.dim import known
from irconv.geometry import Ints
from irconv.op import Op
from irconv.ops.pool import (
    AveragePool,
    GlobalAveragePool,
    GlobalLpPool,
    GlobalMaxPool,
    LpPool,
    MaxPool,
)
from irconv.window import Windowed

MOST_AXES = 3
_LOWEST = -inf

_KINDS: dict[type[Op], int] = {
    MaxPool: MAX,
    GlobalMaxPool: MAX,
    AveragePool: AVERAGE,
    GlobalAveragePool: AVERAGE,
    LpPool: P_NORM,
    GlobalLpPool: P_NORM,
}


def three(values: Sequence[int], fill: int) -> Ints:
    """`values` of the last axes, preceded by `fill` up to three."""
    return (*(fill,) * (MOST_AXES - len(values)), *(int(v) for v in values))


def window_slots(window: Windowed) -> dict[int, Ints]:
    """Kernel, strides, begin pads and dilations by slot."""
    return {
        slots.KERNEL: three(window.kernel_shape, 1),
        slots.STRIDE: three(window.strides, 1),
        slots.PAD: three(window.pads[: window.rank], 0),
        slots.DILATION: three(window.dilations, 1),
    }


def pool_slots(pool: Op | None, image: Sequence[int]) -> dict[int, int | Ints]:
    """The pool of an image of sizes `image`, by slot; None is the pool of one element."""
    if isinstance(pool, Windowed):
        ceil = bool(getattr(pool, "ceil_mode", 0))
        out = [known(size) for size in pool.out_sizes(image, ceil)]
        window = (pool.kernel_shape, pool.strides, pool.pads, pool.dilations)
    else:
        ones, zeros = (1,) * len(image), (0,) * 2 * len(image)
        out = list(image) if pool is None else list(ones)
        window = (ones if pool is None else tuple(image), ones, zeros, ones)
    kernel, strides, pads, dilations = window
    padded = isinstance(pool, AveragePool) and pool.count_include_pad
    kind = MAX if pool is None else _KINDS[type(pool)]
    return {
        slots.POOL_KIND: AVERAGE_PADDED if padded else kind,
        slots.OUT: three(image, 1),
        slots.POOLED: three(out, 1),
        slots.POOL: three(kernel, 1),
        slots.POOL_STRIDE: three(strides, 1),
        slots.POOL_PAD: three(pads[: len(image)], 0),
        slots.POOL_END: three(pads[len(image) :], 0),
        slots.POOL_DILATION: three(dilations, 1),
    }


@cuda.jit(device=True)
def pool_pixel(g: Any, pixel: Any, tap: Any) -> Any:
    """The coordinates, perhaps in the padding, that a pool's tap reads for a result pixel."""
    rest = pixel // g[POOLED + 2]
    q2, q1, q0 = pixel % g[POOLED + 2], rest % g[POOLED + 1], rest // g[POOLED + 1]
    rest = tap // g[POOL + 2]
    t2, t1, t0 = tap % g[POOL + 2], rest % g[POOL + 1], rest // g[POOL + 1]
    c0 = q0 * g[POOL_STRIDE] - g[POOL_PAD] + t0 * g[POOL_DILATION]
    c1 = q1 * g[POOL_STRIDE + 1] - g[POOL_PAD + 1] + t1 * g[POOL_DILATION + 1]
    c2 = q2 * g[POOL_STRIDE + 2] - g[POOL_PAD + 2] + t2 * g[POOL_DILATION + 2]
    return c0, c1, c2


@cuda.jit(device=True)
def in_image(g: Any, c0: Any, c1: Any, c2: Any) -> Any:
    """Whether a pixel lies in the image that is pooled."""
    return 0 <= c0 < g[OUT] and 0 <= c1 < g[OUT + 1] and 0 <= c2 < g[OUT + 2]


@cuda.jit(device=True)
def counted_padding(g: Any, kind: Any, c0: Any, c1: Any, c2: Any) -> Any:
    """1 where a pixel outside the image counts in an average that includes the padding.

    What hangs over the end padding (ceil_mode) never counts.
    """
    if kind != AVERAGE_PADDED:
        return 0
    inside = (
        c0 < g[OUT] + g[POOL_END]
        and c1 < g[OUT + 1] + g[POOL_END + 1]
        and c2 < g[OUT + 2] + g[POOL_END + 2]
    )
    return 1 if inside else 0


@cuda.jit(device=True)
def pool_start(kind: Any, p: Any) -> Any:
    """What a pool of this kind begins with."""
    return p.dtype.type(_LOWEST) if kind == MAX else p.dtype.type(0)


@cuda.jit(device=True)
def pool_join(kind: Any, total: Any, v: Any, p: Any) -> Any:
    """`total` with one more element."""
    if kind == MAX:
        return larger(v, total)
    if kind == P_NORM:
        return total + power(abs(v), p[EXPONENT])
    return total + v


@cuda.jit(device=True)
def pool_finish(kind: Any, total: Any, count: Any, p: Any) -> Any:
    """The pooled number, from what was joined and the number of elements that count."""
    if kind == MAX:
        return total
    if kind == P_NORM:
        return power(total, p.dtype.type(1) / p[EXPONENT])
    return total / p.dtype.type(count)
