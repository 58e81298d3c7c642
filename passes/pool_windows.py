"""Rewrites of the window of a pool."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from irconv.dim import Dim
from irconv.errors import GraphError
from irconv.op import Op
from irconv.ops.pool import AveragePool, MaxPool


def without_ceil_mode(pool: Op, image: Sequence[Dim]) -> Op | None:
    """The same pool over `image` (spatial sizes) with ceil_mode = 0, its end pads long enough.

    None where a size is not known, or where longer pads would be counted in a mean.
    """
    if not isinstance(pool, MaxPool | AveragePool) or not pool.ceil_mode:
        return pool
    sizes = [d for d in image if isinstance(d, int) and d > 0]
    if len(sizes) != len(image):
        return None
    out = pool.out_sizes(sizes, ceil=True)
    ends = []
    for axis, (size, count) in enumerate(zip(sizes, out, strict=True)):
        begin, end = pool.pad_pairs[axis]
        span = pool.dilations[axis] * (pool.kernel_shape[axis] - 1) + 1
        reach = (int(str(count)) - 1) * pool.strides[axis] + span
        ends.append(max(end, reach - size - begin))
    pads = (*pool.pads[: pool.rank], *ends)
    # what hangs over the image is never counted, padding is
    if isinstance(pool, AveragePool) and pool.count_include_pad and pads != pool.pads:
        return None
    try:
        return replace(pool, ceil_mode=0, pads=pads)
    except GraphError:
        return None


def always_sees_image(pool: MaxPool, image: Sequence[Dim]) -> bool:
    """Whether no window lies in the padding alone."""
    # pads are shorter than the window, so that only a dilated one can straddle the image
    gapless = not any(pool.pads) or all(d == 1 for d in pool.dilations)
    return gapless and all(isinstance(d, int) and d > 0 for d in image)
