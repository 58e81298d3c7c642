"""Rules that drop nodes which give their operand back, bit for bit, NaN and -0.0 included."""

from __future__ import annotations

import numpy as np

from irconv.graph import Node, Value
from irconv.kinds import is_float
from irconv.listing import attributes_text
from irconv.ops.activation import Relu, ThresholdedRelu
from irconv.ops.cast import Cast
from irconv.ops.elementwise import Add, Div, Max, Mean, Min, Mul, Sub, Sum
from irconv.ops.fill import Expand, Tile
from irconv.ops.functions import Abs, Ceil, Floor, Neg, Round, Sign
from irconv.ops.fused import Clamp
from irconv.ops.identity import Identity
from irconv.ops.logic import Not
from irconv.ops.pool import AveragePool, MaxPool
from irconv.ops.rearrange import Concat
from irconv.ops.shape import Flatten, Reshape, Squeeze, Transpose, Unsqueeze
from irconv.ops.slices import Pad, Slice
from irconv.rewrite import Rewriter, rule

# equal types mean equal elements
_ORDER_KEEPING = (Reshape, Flatten, Squeeze, Unsqueeze, Expand, Tile, Cast)


@rule(Identity)
def remove_identity(node: Node, rewriter: Rewriter) -> Value | None:
    """Identity(x) => x, except where an output needs a name of its own."""
    x = node.operand(0)
    named = node.result.is_output and x is not None and (x.producer is None or x.is_output)
    if named and not node.result.uses:
        return rewriter.declined(node, "an output needs a name of its own")
    return x


@rule(*_ORDER_KEEPING, Transpose, Concat, Pad, Slice)
def remove_rearrangement(node: Node, rewriter: Rewriter) -> Value | None:
    """Reshape, Cast, Transpose, Pad, Slice, Concat ... that change nothing => their operand."""
    x = node.operand(0)
    if x is None or x.type != node.result.type:
        return None
    match node.op:
        case Transpose(perm):
            unchanged = bool(perm) and list(perm) == sorted(perm)
        case Concat():
            unchanged = len(node.operands) == 1
        case Pad():
            unchanged = _all_equal(node, 1, 0)
        case Slice():
            # of n elements n are taken, one after the other
            unchanged = node.operand(4) is None or _all_equal(node, 4, 1)
        case _:
            unchanged = True
    return x if unchanged else None


def _all_equal(node: Node, index: int, number: int) -> bool:
    array = node.constant(index)
    return array is not None and bool((array == number).all())


@rule(Add, Sub, Mul, Div)
def remove_neutral_operand(node: Node, rewriter: Rewriter) -> Value | None:
    """x * 1, x / 1, x - 0.0, x + -0.0 => x.

    x + 0.0 stays: it makes 0.0 of -0.0.
    """
    pairs = [(node.operands[0], node.operands[1])]
    if isinstance(node.op, Add | Mul):
        pairs.append((node.operands[1], node.operands[0]))
    for x, other in pairs:
        array = other.array if other is not None else None
        if x is None or array is None or x.type != node.result.type:
            continue
        wanted = 1 if isinstance(node.op, Mul | Div) else 0
        if not bool((array == wanted).all()):
            continue
        signs = is_float(array.dtype) and wanted == 0
        if signs and (np.signbit(array) != isinstance(node.op, Add)).any():
            return rewriter.declined(node, "it would change the sign of a zero")
        return x
    return None


@rule(Sum, Max, Min, Mean)
def remove_single_operand(node: Node, rewriter: Rewriter) -> Value | None:
    """The sum, maximum, minimum or mean of x alone => x."""
    return node.operands[0] if len(node.operands) == 1 else None


@rule(MaxPool, AveragePool)
def remove_unit_pool(node: Node, rewriter: Rewriter) -> Value | None:
    """A pool of single pixels => its operand."""
    op = node.op
    assert isinstance(op, MaxPool | AveragePool)
    single = set(op.kernel_shape) == {1} == set(op.strides) and not any(op.pads)
    return node.operand(0) if single and op.n_results == 1 else None


@rule(Relu, ThresholdedRelu, Clamp, Abs, Sign, Floor, Ceil, Round)
def remove_repetition(node: Node, rewriter: Rewriter) -> Value | None:
    """f(f(x)) => f(x) for a function that changes nothing the second time."""
    x = node.operand(0)
    inner = x.producer if x is not None else None
    if inner is None or type(inner.op) is not type(node.op):
        return None
    return x if attributes_text(inner.op) == attributes_text(node.op) else None


@rule(Neg, Not)
def cancel_pair(node: Node, rewriter: Rewriter) -> Value | None:
    """-(-x) => x and not(not x) => x."""
    x = node.operand(0)
    inner = x.producer if x is not None else None
    return inner.operand(0) if inner is not None and type(inner.op) is type(node.op) else None
