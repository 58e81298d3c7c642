"""Binds reductions and softmax."""

from __future__ import annotations

from math import prod

from irconv.backends.numba_cpu.binders.kind import (
    Binder,
    float_type,
    merged,
    operand,
    result_type,
    shape_of,
    source,
    strides_of,
)
from irconv.backends.numba_cpu.launch import Launch, plain
from irconv.backends.numba_cpu.reduction import AXES, STARTS, reduce, softmax
from irconv.graph import Node
from irconv.op import Op
from irconv.ops.reduce import ReduceMax, ReduceMean, ReduceMin, ReduceProd, ReduceSum
from irconv.ops.softmax import LogSoftmax, Softmax

FOLDS: dict[type[Op], str] = {
    ReduceSum: "sum",
    ReduceMean: "sum",
    ReduceMax: "max",
    ReduceMin: "min",
    ReduceProd: "prod",
}


def bind_reduction(node: Node, threads: int) -> list[Launch] | None:
    """Sum, mean, max, min, product over constant axes."""
    op, dtype, x = node.op, result_type(node), operand(node, 0)
    assert isinstance(op, ReduceSum | ReduceMean | ReduceMax | ReduceMin | ReduceProd)
    axes, shape = node.constant(1), shape_of(x)
    if dtype is None or (node.operand(1) is not None and axes is None):
        return None
    chosen = {int(a) % len(shape) for a in axes} if axes is not None and axes.size else set()
    if not chosen and not op.noop_with_empty_axes:
        chosen = set(range(len(shape)))
    steps = strides_of(shape)
    kept = [a for a in range(len(shape)) if a not in chosen]
    folded = sorted(chosen)
    outer = merged([shape[a] for a in kept], [steps[a] for a in kept], axes=AXES)
    inner = merged([shape[a] for a in folded], [steps[a] for a in folded], axes=AXES)
    if outer is None or inner is None:
        return None
    name = FOLDS[type(op)]
    count = prod(shape[a] for a in folded) if isinstance(op, ReduceMean) else 1
    numbers = (*outer[0], *outer[1], *inner[0], *inner[1], STARTS[name], float(count))
    return [plain(f"reduce_{name}", reduce(name), dtype, (node.result, source(x)), numbers)]


def bind_softmax(node: Node, threads: int) -> list[Launch] | None:
    """Softmax and LogSoftmax."""
    op, dtype, x = node.op, float_type(node), operand(node, 0)
    assert isinstance(op, Softmax)
    if dtype is None:
        return None
    shape = shape_of(x)
    axis = op.axis % len(shape)
    numbers = (
        prod(shape[:axis]),
        shape[axis],
        prod(shape[axis + 1 :]),
        int(isinstance(op, LogSoftmax)),
    )
    return [plain("softmax", softmax, dtype, (node.result, source(x)), numbers)]


BINDERS: dict[type[Op], Binder] = {
    **dict.fromkeys(FOLDS, bind_reduction),
    Softmax: bind_softmax,
    LogSoftmax: bind_softmax,
}
