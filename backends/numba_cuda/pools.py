"""Pools: each window is joined by one thread."""

from __future__ import annotations

from math import prod
from typing import Any

from irconv.backends.numba_cuda import slots
from irconv.backends.numba_cuda.device import cuda
from irconv.backends.numba_cuda.launch import (
    Binder,
    Bound,
    float_launch,
    not_computed,
    number_row,
    required,
    sizes,
)
from irconv.backends.numba_cuda.slots import COUNT, EXPONENT, OUT, POOL, POOL_KIND, POOLED
from irconv.backends.numba_cuda.windows import (
    MOST_AXES,
    counted_padding,
    in_image,
    pool_finish,
    pool_join,
    pool_pixel,
    pool_slots,
    pool_start,
)
from irconv.graph import Node
from irconv.ops.pool import (
    AveragePool,
    GlobalAveragePool,
    GlobalLpPool,
    GlobalMaxPool,
    LpPool,
    MaxPool,
)


@cuda.jit
def pool(y: Any, x: Any, g: Any, p: Any) -> None:
    """x [N, C, *OUT] -> y [N, C, *POOLED]; padding never wins a maximum, NaN always does."""
    pixels = g[POOLED] * g[POOLED + 1] * g[POOLED + 2]
    taps = g[POOL] * g[POOL + 1] * g[POOL + 2]
    kind = g[POOL_KIND]
    for i in range(cuda.grid(1), g[COUNT], cuda.gridsize(1)):
        plane = i // pixels * g[OUT]
        total = pool_start(kind, p)
        count = 0
        for tap in range(taps):
            c0, c1, c2 = pool_pixel(g, i % pixels, tap)
            if in_image(g, c0, c1, c2):
                v = x[((plane + c0) * g[OUT + 1] + c1) * g[OUT + 2] + c2]
                total = pool_join(kind, total, v, p)
                count += 1
            else:
                count += counted_padding(g, kind, c0, c1, c2)
        y[i] = pool_finish(kind, total, count, p)


def bind_pool(node: Node) -> Bound:
    """Every pool with one result: one launch."""
    x = required(node, 0)
    if len(node.results) > 1:
        return "no kernel for the places of a MaxPool"
    reason = not_computed(node)
    image = sizes(x)[2:]
    if reason is not None or len(image) > MOST_AXES:
        return reason or f"no kernel for {len(image)} axes"
    row = number_row(
        {COUNT: prod(sizes(node.result)), **pool_slots(node.op, image)}, slots.WINDOW_SLOTS
    )
    exponent = float(getattr(node.op, "p", 1))
    return [float_launch(pool, (node.result, x), row, {EXPONENT: exponent})]


BINDERS: dict[type, Binder] = dict.fromkeys(
    (MaxPool, AveragePool, LpPool, GlobalMaxPool, GlobalAveragePool, GlobalLpPool), bind_pool
)
