"""Moves an average pool from behind a 1x1 convolution to its front: fewer pixels to multiply."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from irconv.graph import Graph, Node, Value
from irconv.ops.conv import Conv
from irconv.ops.pool import AveragePool, GlobalAveragePool
from irconv.passes.im2col import is_pointwise
from irconv.passes.products import sharing
from irconv.pipeline import Pass
from irconv.rewrite import Rewriter, rule


@dataclass(frozen=True)
class HoistPool(Pass):
    """Moves an average pool from behind a 1x1 convolution to its front: fewer pixels to multiply.

    The one mixes channels and the other pixels, so the order does not matter, but for rounding; a
    pool of 2x2 leaves a quarter of the products. With a bias, the numbers that make an average must
    be as many as it is divided by.
    """

    def run(self, graph: Graph, rewriter: Rewriter) -> None:
        rewriter.apply([pool_before])


@rule(AveragePool, GlobalAveragePool)
def pool_before(node: Node, rewriter: Rewriter) -> Value | None:
    """average(conv(x, w) + b) => conv(average(x), w) + b, for a 1x1 kernel."""
    value = node.operand(0)
    conv = value.producer if value is not None else None
    if value is None or conv is None or type(conv.op) is not Conv:
        return None
    assert isinstance(conv.op, Conv)
    if not is_pointwise(conv.op):
        return None
    reason = sharing(value) or _refusal(node, conv)
    if reason is not None:
        return rewriter.declined(node, reason)
    x, *constants = conv.operands
    return rewriter.emit(conv.op, rewriter.emit(node.op, x, name="pooled"), *constants)


def _refusal(node: Node, conv: Node) -> str | None:
    op = node.op
    if not isinstance(op, AveragePool):
        return None
    if prod(op.strides) == 1:
        return "it leaves as many pixels as there are"
    counts_all = op.count_include_pad and (any(op.pads) or op.ceil_mode)
    if counts_all and conv.operand(2) is not None:
        return "it counts its padding, which has no bias"
    return None
