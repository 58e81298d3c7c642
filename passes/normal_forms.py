"""Rules that write the same thing in one way: fewer forms for what follows."""

from __future__ import annotations

from dataclasses import replace

from irconv.graph import Node, Value
from irconv.kinds import is_float
from irconv.ops.activation import Clip, LeakyRelu, PRelu
from irconv.ops.conv import Conv
from irconv.ops.elementwise import Add, Sum
from irconv.ops.fused import FusedConv
from irconv.ops.pool import AveragePool, MaxPool
from irconv.ops.slices import Pad
from irconv.passes.clamps import clamp_of
from irconv.passes.pool_windows import without_ceil_mode
from irconv.rewrite import Rewriter, rule


@rule(Clip)
def clip_to_clamp(node: Node, rewriter: Rewriter) -> Value | None:
    """Clip(x, low, high) => Clamp(x){low, high}, or Relu(x)."""
    if len(node.operands) == 1:
        return node.operands[0]
    clamp = clamp_of(node)
    if isinstance(clamp, str):
        return rewriter.declined(node, clamp)
    return rewriter.emit(clamp, node.operands[0])


@rule(Sum)
def sum_to_add(node: Node, rewriter: Rewriter) -> Value | None:
    """Sum(a, b) => Add(a, b)."""
    return rewriter.emit(Add(), *node.operands) if len(node.operands) == 2 else None


@rule(PRelu)
def prelu_to_leaky_relu(node: Node, rewriter: Rewriter) -> Value | None:
    """PRelu(x, slope) => LeakyRelu(x){alpha} for one constant slope."""
    slope = node.constant(1)
    if slope is None or slope.size != 1:
        return rewriter.declined(node, "its slope is not one constant number")
    if not is_float(slope.dtype):
        return rewriter.declined(node, "its element type is not a floating point type")
    return rewriter.emit(LeakyRelu(float(slope.reshape(()))), node.operands[0])


@rule(MaxPool, AveragePool)
def drop_ceil_mode(node: Node, rewriter: Rewriter) -> Value | None:
    """A pool with ceil_mode => the same pool with longer end pads."""
    x = node.operands[0]
    assert isinstance(node.op, MaxPool | AveragePool)
    assert x is not None
    if not node.op.ceil_mode or node.op.n_results != 1:
        return None
    pool = without_ceil_mode(node.op, x.shape[2:])
    if pool is None:
        return rewriter.declined(node, "no pads say the same: a size is unknown, or they count")
    return rewriter.emit(pool, x)


@rule(Conv, FusedConv)
def absorb_padding(node: Node, rewriter: Rewriter) -> Value | None:
    """conv(Pad(x)) => conv(x) with longer pads, where the Pad adds zeros around the image."""
    x = node.operands[0]
    pad = x.producer if x is not None else None
    if pad is None or not isinstance(pad.op, Pad):
        return None
    pads = _zero_pads(pad)
    if isinstance(pads, str):
        return rewriter.declined(pad, pads)
    op = node.op
    assert isinstance(op, Conv | FusedConv)
    together = tuple(a + b for a, b in zip(op.pads, pads, strict=True))
    return rewriter.emit(replace(op, pads=together), pad.operands[0], *node.operands[1:])


def _zero_pads(pad: Node) -> list[int] | str:
    """Begins, then ends, of the spatial axes; or why this Pad is no padding of a convolution."""
    assert isinstance(pad.op, Pad)
    pads, value, axes = pad.constant(1), pad.constant(2), pad.constant(3)
    if pad.op.mode != "constant":
        return f"its mode is {pad.op.mode}"
    if pads is None or (pad.operand(3) is not None and axes is None):
        return "its pads are not constant"
    if pad.operand(2) is not None and (value is None or value.any()):
        return "it does not pad with zeros"
    rank = pad.result.tensor_type.rank
    numbers = [int(p) for p in pads]
    named = range(rank) if axes is None else [int(a) % rank for a in axes]
    half = len(numbers) // 2
    begins = dict(zip(named, numbers[:half], strict=True))
    ends = dict(zip(named, numbers[half:], strict=True))
    both = [*begins.items(), *ends.items()]
    if any(p < 0 or (p > 0 and axis < 2) for axis, p in both):
        return "it cuts, or pads another axis than those of the image"
    return [found.get(axis, 0) for found in (begins, ends) for axis in range(2, rank)]
