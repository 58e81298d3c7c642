"""Rules that make one node of two or three that only move elements."""

from __future__ import annotations

import numpy as np

from irconv.graph import Node, Value
from irconv.ops.rearrange import ChannelShuffle
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


@rule(Reshape)
def raise_shuffle(node: Node, rewriter: Rewriter) -> Value | None:
    """Reshape(Transpose(Reshape(x))) => ChannelShuffle(x), where groups of channels change places
    with the channels in them.
    """
    turned = node.operands[0]
    transpose = turned.producer if turned is not None else None
    split = transpose.operands[0] if transpose is not None else None
    reshape = split.producer if split is not None else None
    if transpose is None or turned is None or split is None or reshape is None:
        return None
    if not isinstance(transpose.op, Transpose) or not isinstance(reshape.op, Reshape):
        return None
    x = reshape.operands[0]
    group = _shuffled_groups(x, split, node.result) if x is not None else None
    rank = split.tensor_type.rank
    if group is None or _permutation(transpose, rank) != (0, 2, 1, *range(3, rank)):
        return None
    if turned.only_user is None or split.only_user is None:
        return rewriter.declined(transpose, "what it reads or makes has other users")
    return rewriter.emit(ChannelShuffle(group), x) if 1 not in split.shape[1:3] else x


def _shuffled_groups(x: Value, split: Value, result: Value) -> int | None:
    """The groups g of `x` [N, C, ...] in `split` [N, g, C / g, ...]; None for other shapes."""
    if x.type != result.type or x.tensor_type.rank < 2 or split.tensor_type.rank < 3:
        return None
    images, channels, *spatial = x.shape
    first, group, each, *rest = split.shape
    if (first, *rest) != (images, *spatial) or not channels:
        return None
    numbers = isinstance(group, int) and isinstance(each, int) and group * each == channels
    return group if isinstance(group, int) and numbers else None
