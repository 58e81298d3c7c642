"""Rules that make one node of two that only move elements."""

from __future__ import annotations

import numpy as np

from irconv.graph import Node, Value
from irconv.ops.shape import Flatten, Reshape, Squeeze, Transpose, Unsqueeze
from irconv.rewrite import Rewriter, rule
from irconv.shape_contents import reshape_target

_RESHAPES = (Reshape, Flatten, Squeeze, Unsqueeze)


@rule(Transpose)
def merge_transposes(node: Node, rewriter: Rewriter) -> Value | None:
    """Transpose(Transpose(x)) => Transpose(x), or x where one undoes the other."""
    middle = node.operands[0]
    inner = middle.producer if middle is not None else None
    if inner is None or not isinstance(inner.op, Transpose) or middle is None:
        return None
    first, second = (_permutation(n, middle.tensor_type.rank) for n in (inner, node))
    perm = tuple(first[axis] for axis in second)
    x = inner.operands[0]
    return x if list(perm) == sorted(perm) else rewriter.emit(Transpose(perm), x)


def _permutation(node: Node, rank: int) -> tuple[int, ...]:
    assert isinstance(node.op, Transpose)
    return node.op.perm or tuple(range(rank))[::-1]


@rule(*_RESHAPES)
def merge_reshapes(node: Node, rewriter: Rewriter) -> Value | None:
    """Reshape(Reshape(x)) => Reshape(x), or x; so too for Flatten, Squeeze and Unsqueeze."""
    middle = node.operands[0]
    inner = middle.producer if middle is not None else None
    if inner is None or not isinstance(inner.op, _RESHAPES) or middle is None:
        return None
    x = inner.operands[0]
    assert x is not None
    if x.type == node.result.type:
        return x
    if middle.only_user is None:
        return rewriter.declined(inner, "its result has other users")
    wanted = node.result.shape
    # a 0 in the target of a Reshape would copy a size
    target = reshape_target(x.shape, wanted) if 0 not in wanted else None
    if target is None:
        return rewriter.declined(node, "its shape cannot be written as a constant")
    shape = rewriter.constant(np.array(target, np.int64), "shape")
    merged = rewriter.emit(Reshape(), x, shape)
    if merged.type != node.result.type:
        return rewriter.declined(node, "its shape cannot be written as a constant")
    return merged
