"""Reductions over axes: one thread for each number that is left."""

from __future__ import annotations

from math import inf, prod
from typing import Any

from irconv.backends.numba_cuda.broadcasts import place, strides_of, table
from irconv.backends.numba_cuda.device import cuda
from irconv.backends.numba_cuda.elementary import larger, smaller, sqrt
from irconv.backends.numba_cuda.launch import (
    Binder,
    Bound,
    float_launch,
    not_computed,
    required,
    sizes,
)
from irconv.backends.numba_cuda.slots import (
    CODE,
    COUNT,
    INNER,
    INNER_RANK,
    OUTER_RANK,
    REDUCE_TABLE,
)
from irconv.graph import Node
from irconv.ops import reduce as ops

SUM, MEAN, L1, L2, SUM_SQUARE, PRODUCT, MAX, MIN = range(8)
_LOWEST, _HIGHEST = -inf, inf

_KINDS: dict[type, int] = {
    ops.ReduceSum: SUM,
    ops.ReduceMean: MEAN,
    ops.ReduceL1: L1,
    ops.ReduceL2: L2,
    ops.ReduceSumSquare: SUM_SQUARE,
    ops.ReduceProd: PRODUCT,
    ops.ReduceMax: MAX,
    ops.ReduceMin: MIN,
}


@cuda.jit
def reduce(y: Any, x: Any, g: Any, p: Any) -> None:
    """y[i] = x joined over the axes that go; two tables tell where the elements are."""
    kind, outer, inner = g[CODE], g[OUTER_RANK], g[INNER_RANK]
    inside = REDUCE_TABLE + 2 * outer
    for i in range(cuda.grid(1), g[COUNT], cuda.gridsize(1)):
        first = place(i, g, REDUCE_TABLE, outer, 0)
        total = _start(kind, p)
        for k in range(g[INNER]):
            total = _join(kind, total, x[first + place(k, g, inside, inner, 0)])
        if kind == MEAN:
            total /= p.dtype.type(g[INNER])
        y[i] = sqrt(total) if kind == L2 else total


@cuda.jit(device=True)
def _start(kind: Any, p: Any) -> Any:
    if kind == MAX:
        return p.dtype.type(_LOWEST)
    if kind == MIN:
        return p.dtype.type(_HIGHEST)
    return p.dtype.type(1) if kind == PRODUCT else p.dtype.type(0)


@cuda.jit(device=True)
def _join(kind: Any, total: Any, v: Any) -> Any:
    if kind in (SUM, MEAN):
        return total + v
    if kind == MAX:
        return larger(v, total)
    if kind == MIN:
        return smaller(v, total)
    if kind == PRODUCT:
        return total * v
    return total + (abs(v) if kind == L1 else v * v)


def bind_reduction(node: Node) -> Bound:
    """A reduction: one launch."""
    op, x, axes = node.op, required(node, 0), node.constant(1)
    assert isinstance(op, ops._Reduction)
    reason = not_computed(node, (x, node.result))
    if reason is not None or (node.operand(1) is not None and axes is None):
        return reason or "the axes are not known at compile time"
    shape = sizes(x)
    gone = op._axes(axes, len(shape))
    if not gone and op.noop_with_empty_axes:
        return "nothing is reduced"
    strides = strides_of(shape)
    kept = [a for a in range(len(shape)) if a not in gone]
    outer, outside = table([shape[a] for a in kept], [strides[a] for a in kept])
    inner, inside = table([shape[a] for a in gone], [strides[a] for a in gone])
    row = (
        prod(sizes(node.result)), _KINDS[type(op)], prod(shape[a] for a in gone),
        inner, outer, *outside, *inside,
    )  # fmt: skip
    return [float_launch(reduce, (node.result, x), row)]


BINDERS: dict[type, Binder] = dict.fromkeys(_KINDS, bind_reduction)
