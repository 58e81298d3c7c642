"""Which values lie in the buffer of another: other shapes of it, parts of a concatenation, channels
in another order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from irconv.dim import known
from irconv.graph import Graph, Node, Value
from irconv.layout import Layout
from irconv.op import Op
from irconv.ops.activation import ACTIVATIONS
from irconv.ops.conv import Conv
from irconv.ops.fused import POOLS, Clamp, FusedConv
from irconv.ops.identity import Identity
from irconv.ops.pair import ConvPair
from irconv.ops.rearrange import ChannelShuffle, Concat
from irconv.ops.shape import Flatten, Reshape, Squeeze, Unsqueeze
from irconv.ops.sparse import ConvMatrix
from irconv.types import TensorType

# ops whose result is their operand's buffer under another shape
VIEWS: tuple[type[Op], ...] = (Identity, Reshape, Flatten, Squeeze, Unsqueeze)


@dataclass(frozen=True)
class Views:
    """`owners`: value -> the value whose buffer it shares; `free`: nodes that need no step.

    `channels`: the first channel at which a value in blocks lies in its owner. `shuffles`: those of
    the free nodes whose result is its operand's buffer with the channels in another order.
    """

    owners: dict[Value, Value] = field(default_factory=dict)
    free: set[Node] = field(default_factory=set)
    channels: dict[Value, int] = field(default_factory=dict)
    shuffles: set[Node] = field(default_factory=set)


def is_static(value: Value) -> bool:
    """Whether a value is dense and all its sizes are known before the run."""
    return isinstance(value.type, TensorType) and value.type.is_static


def find_views(graph: Graph) -> Views:
    """The views of a graph.

    An output has a buffer of its own: a view of an input, of a parameter or of another output is
    a copy where it is an output itself.
    """
    views = Views()
    for node in reversed(graph.nodes):
        if isinstance(node.op, Concat) and layout_of(node.result) is not None:
            _join(views, node)
    views.shuffles.update(_free_shuffles(graph))
    taken: set[Value] = set()  # outputs that have their buffer
    for node in graph:
        if isinstance(node.op, ConvMatrix):
            views.free.add(node)
        elif node in views.shuffles:
            _add(views, taken, node)
        elif not isinstance(node.op, VIEWS) or not _are_static(node):
            taken.update(v for v in node.results if v.is_output)
        else:
            _add(views, taken, node)
    return views


def _are_static(node: Node) -> bool:
    x = node.operands[0]
    if x is None or layout_of(x) != layout_of(node.result):
        return False
    return is_static(x) and is_static(node.result)


def layout_of(value: Value | None) -> Layout | None:
    """How a value lies in memory; None: row by row."""
    return value.type.layout if value is not None and isinstance(value.type, TensorType) else None


def in_blocks(node: Node) -> bool:
    """Whether an operand or the result of a node lies in blocks of channels."""
    return any(layout_of(v) is not None for v in (*node.operands, *node.results))


def _join(views: Views, node: Node) -> None:
    """Puts the operands of a concatenation into its result, those that can be there.

    An operand that lies in another concatenation already, or twice in this one, is copied. Later
    concatenations come first, so that a chain of them ends up in one buffer.
    """
    whole = node.result
    owner, first = views.owners.get(whole, whole), views.channels.get(whole, 0)
    for value in node.operands:
        assert value is not None
        layout = layout_of(value)
        fits = layout is not None and layout == layout_of(whole) and first % layout.block == 0
        if fits and value.producer is not None and value not in views.owners:
            views.owners[value] = owner
            views.channels[value] = first
        first += known(value.shape[1])


def _free_shuffles(graph: Graph) -> Iterator[Node]:
    """The channel shuffles in blocks all of whose readers take channels in any order."""
    any_order: set[Value] = set()
    for node in reversed(graph.nodes):
        y = node.results[0]
        if y.is_output or layout_of(y) is None or len(node.results) != 1:
            continue
        is_shuffle = isinstance(node.op, ChannelShuffle)
        if is_shuffle and layout_of(node.operand(0)) != layout_of(y):
            continue
        if all(_takes_any_order(user, index, any_order) for user, index in y.uses):
            any_order.add(y)
            if is_shuffle:
                yield node


def _takes_any_order(node: Node, index: int, any_order: set[Value]) -> bool:
    """Whether a node reads operand `index` in any order of channels.

    A convolution takes it into its weights; what works channel by channel hands it on.
    """
    if keeps_order(node):
        return index == 0 and node.result in any_order
    return type(node.op) in (Conv, FusedConv, ConvPair) and index == 0 and in_blocks(node)


def keeps_order(node: Node) -> bool:
    """Whether the channels of the result of a node in blocks lie in the order of its operand's."""
    op = node.op
    if isinstance(op, ChannelShuffle | Clamp) or type(op) in (*ACTIVATIONS, *POOLS):
        return True
    weights, residual = node.operand(1), node.operand(3)
    if type(op) not in (Conv, FusedConv) or weights is None or residual is not None:
        return False
    assert isinstance(op, Conv | FusedConv)
    return op.group == weights.shape[0] and weights.shape[1] == 1 and op.group > 1


def _add(views: Views, taken: set[Value], node: Node) -> None:
    x, y = node.operands[0], node.result
    assert x is not None
    owner = views.owners.get(x, x)
    if y.is_output and (owner.producer is None or owner in taken):
        taken.add(y)
        return
    if y.is_output:
        taken.add(owner)
    views.owners[y] = owner
    views.free.add(node)
