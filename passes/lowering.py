"""What both lowerings of a convolution share: known sizes, reshapes of operands, the pool at the
end.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from irconv.errors import GraphError
from irconv.graph import Node, Value
from irconv.op import Op
from irconv.ops.fused import FusedConv
from irconv.ops.pair import ConvPair
from irconv.ops.preact import PreactConv, ScaleShift
from irconv.ops.shape import Reshape
from irconv.rewrite import Rewriter, rule

TRANSFORMED = "it is computed by Winograd's transforms already"


def operand(node: Node, index: int) -> Value:
    """Operand `index`, which the op requires."""
    value = node.operand(index)
    if value is None:
        raise GraphError(f"operand {index} is missing", where=f"%{node.name}")
    return value


def known_sizes(node: Node, rewriter: Rewriter) -> bool:
    """Whether channels and spatial sizes are integers; else a remark is left."""
    sizes = (*operand(node, 0).shape[1:], *node.result.shape[1:])
    if all(isinstance(d, int) and d > 0 for d in sizes):
        return True
    rewriter.declined(node, "its spatial sizes are not known")
    return False


def reshaped(rewriter: Rewriter, value: Value, shape: Sequence[int], name: str) -> Value:
    """`value` with another shape; a parameter becomes another parameter, that shares the array."""
    if value.array is not None:
        array = value.array.reshape(shape)
        return rewriter.constant(array, name, trainable=value.trainable)
    target = rewriter.constant(np.array(shape, np.int64), f"{name}.shape")
    return rewriter.emit(Reshape(), value, target, name=name)


def with_pool(rewriter: Rewriter, op: Op, y: Value) -> Value:
    """The pool of a fused convolution as a node of its own."""
    pool = op.pool if isinstance(op, FusedConv) else None
    return y if pool is None else rewriter.emit(pool, y, name="pool")


@rule(PreactConv)
def split_preactivation(node: Node, rewriter: Rewriter) -> Value | None:
    """PreactConv(x, scale, shift, w) => FusedConv(ScaleShift(x, scale, shift), w)."""
    op = node.op
    assert isinstance(op, PreactConv)
    if not known_sizes(node, rewriter):
        return None
    x = rewriter.emit(ScaleShift(op.activation), *node.operands[:3], name="preactivated")
    return rewriter.emit(op.conv, x, *node.operands[3:])


@rule(ConvPair)
def split_pair(node: Node, rewriter: Rewriter) -> Value | None:
    """ConvPair(x, w, v, b, c, r) => FusedConv(FusedConv(x, w, b), v, c, r)."""
    op = node.op
    assert isinstance(op, ConvPair)
    if not known_sizes(node, rewriter):
        return None
    x, w, v, b, c, r = (node.operand(i) for i in range(6))
    between = rewriter.emit(op.first, x, w, b, name="between")
    return rewriter.emit(op.second, between, v, c, r)


SPLITS = (split_preactivation, split_pair)
