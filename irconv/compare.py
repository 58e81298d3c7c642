"""Structural equality of graphs: the first difference, named."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import zip_longest
from typing import TYPE_CHECKING

from irconv.listing import attribute_text, node_line, parameter_line, ref

if TYPE_CHECKING:
    from irconv.graph import Graph, Node, Value


def difference(a: Graph, b: Graph) -> str | None:
    """The first difference of two graphs in one line, or None where they are equal.

    Compared are names, types, operands, attributes, the order of nodes, and the parameters'
    contents.
    """
    if a.name != b.name:
        return f"names differ: @{a.name} and @{b.name}"
    pairs = (
        ("inputs", a.inputs, b.inputs),
        ("parameters", a.parameters.values(), b.parameters.values()),
        ("outputs", a.outputs, b.outputs),
    )
    for what, left, right in pairs:
        found = _values_differ(what, left, right)
        if found:
            return found
    return next(_node_differences(a, b), None)


def _values_differ(what: str, left: Iterable[Value], right: Iterable[Value]) -> str | None:
    for x, y in zip_longest(left, right):
        if x is None or y is None:
            lone = x if y is None else y
            return f"{what}: {ref(lone)} has no counterpart" if lone is not None else None
        if x.name != y.name or x.type != y.type:
            return f"{what}: {ref(x)}: {x.type} and {ref(y)}: {y.type}"
        if x.is_parameter and (x.trainable != y.trainable or not _same_content(x, y)):
            return f"{what}: {parameter_line(x)} and {parameter_line(y)}"
    return None


def _same_content(x: Value, y: Value) -> bool:
    return (x.array is not None and x.array is y.array) or x.digest == y.digest


def _node_differences(a: Graph, b: Graph) -> Iterator[str]:
    for x, y in zip_longest(a, b):
        if x is None or y is None:
            lone = x if y is None else y
            yield f"one graph ends before: {node_line(lone)}"
        elif not _same_node(x, y):
            yield f"nodes differ: {node_line(x)} and {node_line(y)}"


def _same_node(x: Node, y: Node) -> bool:
    return (
        x.op.name == y.op.name
        # by text, so that NaN attributes are equal to themselves
        and attribute_text(x.op) == attribute_text(y.op)
        and [v and v.name for v in x.operands] == [v and v.name for v in y.operands]
        and [(v.name, v.type) for v in x.results] == [(v.name, v.type) for v in y.results]
    )
