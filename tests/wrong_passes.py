"""Deliberately wrong passes, for bisection: load them with `--plugin tests/wrong_passes.py`."""

from __future__ import annotations

from dataclasses import dataclass, replace

from irconv.errors import GraphError
from irconv.graph import Graph, Node, Value
from irconv.interpret import content
from irconv.ops.activation import LeakyRelu, Relu
from irconv.ops.conv import Conv
from irconv.ops.elementwise import Add
from irconv.ops.fused import FusedConv
from irconv.ops.pool import MaxPool
from irconv.pipeline import Pass
from irconv.rewrite import Rewriter, rule


@dataclass(frozen=True)
class ForgetRelu(Pass):
    """Fuses conv + ReLU, and forgets the ReLU of the first one behind a stride of two."""

    def run(self, graph: Graph, rewriter: Rewriter) -> None:
        rewriter.apply([fuse_relu])


@rule(Relu)
def fuse_relu(node: Node, rewriter: Rewriter) -> Value | None:
    """ReLU(Conv(x, w, b)) => FusedConv(x, w, b), wrong where Conv has 256 results and stride 2."""
    conv = node.operands[0].producer if node.operands[0] is not None else None
    if conv is None or not isinstance(conv.op, Conv) or conv.result.only_user is not node:
        return None
    op = conv.op
    forgotten = op.strides == (2, 2) and conv.result.shape[1] == 256
    activation = None if forgotten else Relu()
    fused = FusedConv(
        kernel_shape=op.kernel_shape,
        strides=op.strides,
        pads=op.pads,
        dilations=op.dilations,
        group=op.group,
        activation=activation,
    )
    return rewriter.emit(fused, *conv.operands)


@dataclass(frozen=True)
class LeakAfterAdd(Pass):
    """Makes a leaky ReLU of a ReLU that follows a sum of a pooled value: it needs three nodes."""

    def run(self, graph: Graph, rewriter: Rewriter) -> None:
        rewriter.apply([leak])


@rule(Relu)
def leak(node: Node, rewriter: Rewriter) -> Value | None:
    """ReLU(Add(MaxPool(x), y)) => LeakyRelu(Add(MaxPool(x), y))."""
    add = node.operands[0].producer if node.operands[0] is not None else None
    if add is None or not isinstance(add.op, Add):
        return None
    makers = [v.producer for v in add.operands if v is not None]
    if not any(m is not None and isinstance(m.op, MaxPool) for m in makers):
        return None
    return rewriter.emit(LeakyRelu(alpha=0.5), node.operand(0))


@dataclass(frozen=True)
class RefuseStride(Pass):
    """Raises on the first convolution with a stride of two that is no first layer."""

    def run(self, graph: Graph, rewriter: Rewriter) -> None:
        rewriter.apply([name_conv])


@rule(Conv)
def name_conv(node: Node, rewriter: Rewriter) -> Value | None:
    """Conv => FusedConv, unless it raises."""
    op = node.op
    assert isinstance(op, Conv)
    if max(op.strides) > 1 and node.operands[0] is not None and node.operands[0].producer:
        raise GraphError("no kernel for this stride", got=op.strides)
    fused = FusedConv(
        kernel_shape=op.kernel_shape,
        strides=op.strides,
        pads=op.pads,
        dilations=op.dilations,
        group=op.group,
    )
    return rewriter.emit(fused, *node.operands)


@dataclass(frozen=True)
class BreakTypes(Pass):
    """Leaves a graph that does not verify: one pool gets another window behind the books' back."""

    def run(self, graph: Graph, rewriter: Rewriter) -> None:
        rewriter.apply([widen_pool])


@rule(MaxPool)
def widen_pool(node: Node, rewriter: Rewriter) -> Value | None:
    """MaxPool => MaxPool whose attributes do not give its type."""
    op = node.op
    assert isinstance(op, MaxPool)
    if op.pads is None or not any(op.pads):
        return None
    made = rewriter.emit(replace(op), *node.operands)
    assert made.producer is not None
    rewriter.graph.set_op(made.producer, replace(op, pads=(0,) * len(op.pads)))
    return made


@dataclass(frozen=True)
class HalveBias(Pass):
    """Changes the graph without any rewrite: halves the first bias of a convolution."""

    def run(self, graph: Graph, rewriter: Rewriter) -> None:
        for node in graph:
            bias = node.operand(2)
            if isinstance(node.op, Conv) and bias is not None and bias.is_parameter:
                half = graph.add_parameter(graph.fresh_name("half"), content(bias) / 2)
                graph.set_operand(node, 2, half)
                break
