"""Which values are only another shape of a buffer, so that their nodes need no step."""

from __future__ import annotations

from dataclasses import dataclass, field

from irconv.graph import Graph, Node, Value
from irconv.op import Op
from irconv.ops.identity import Identity
from irconv.ops.shape import Flatten, Reshape, Squeeze, Unsqueeze
from irconv.ops.sparse import ConvMatrix
from irconv.types import TensorType

# ops whose result is their operand's buffer under another shape
VIEWS: tuple[type[Op], ...] = (Identity, Reshape, Flatten, Squeeze, Unsqueeze)


@dataclass(frozen=True)
class Views:
    """`owners`: value -> the value whose buffer it shares; `free`: nodes that need no step."""

    owners: dict[Value, Value] = field(default_factory=dict)
    free: set[Node] = field(default_factory=set)


def is_static(value: Value) -> bool:
    """Whether a value is dense and all its sizes are known before the run."""
    return isinstance(value.type, TensorType) and value.type.is_static


def find_views(graph: Graph) -> Views:
    """The views of a graph.

    An output has a buffer of its own: a view of an input, of a parameter or of another output is
    a copy where it is an output itself.
    """
    views = Views()
    taken: set[Value] = set()  # outputs that have their buffer
    for node in graph:
        if isinstance(node.op, ConvMatrix):
            views.free.add(node)
        elif not isinstance(node.op, VIEWS) or not _are_static(node):
            taken.update(v for v in node.results if v.is_output)
        else:
            _add(views, taken, node)
    return views


def _are_static(node: Node) -> bool:
    x = node.operands[0]
    return x is not None and is_static(x) and is_static(node.result)


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
