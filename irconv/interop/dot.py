"""Graphs as DOT, the language of Graphviz; the tools themselves are not needed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from irconv.errors import printable
from irconv.listing import attributes_text

if TYPE_CHECKING:
    from irconv.graph import Graph, Node, Value

ATTRIBUTES_LIMIT = 400


def to_dot(graph: Graph, parameters: bool = False) -> str:
    """The graph as DOT: a box for each node (name, op, types), ovals for inputs and outputs.

    `parameters`: weights and constants are drawn too. An edge tells its type where its producer has
    several results, and its operand's index where the order is not that of the edges. Names are
    escaped, and shortened past 120 characters.
    """
    return "\n".join(_lines(graph, parameters)) + "\n"


def quoted(text: str) -> str:
    """A DOT string: a backslash would begin an escape, a quote end it; control and bidirectional
    characters are shown escaped. A newline stays one.
    """
    lines = (printable(line, limit=1000) for line in text.split("\n"))
    escaped = (line.replace("\\", "\\\\").replace('"', '\\"') for line in lines)
    return '"' + "\\n".join(escaped) + '"'


def _lines(graph: Graph, parameters: bool) -> Iterator[str]:
    yield f"digraph {quoted(printable(graph.name))} {{"
    yield '  node [shape=box, fontname="sans-serif", fontsize=10]'
    yield '  edge [fontname="sans-serif", fontsize=8]'
    ids: dict[Value, str] = {}
    for index, value in enumerate(graph.inputs):
        ids[value] = f"i{index}"
        yield f"  i{index} [label={_value_label(value)}, shape=oval]"
    if parameters:
        for index, value in enumerate(graph.parameters.values()):
            ids[value] = f"p{index}"
            yield f"  p{index} [label={_value_label(value)}, shape=note, color=gray50]"
    for index, node in enumerate(graph):
        ids |= dict.fromkeys(node.results, f"n{index}")
        yield f"  n{index} [label={_node_label(node)}{_tooltip(node)}]"
        yield from _edges(node, ids)
    for index, value in enumerate(graph.outputs):
        yield f"  o{index} [label={_value_label(value)}, shape=oval]"
        if value in ids:
            yield f"  {ids[value]} -> o{index}{_edge_label(value)}"
    yield "}"


def _edges(node: Node, ids: dict[Value, str]) -> Iterator[str]:
    for value in node.operands:
        if value is not None and value in ids:
            yield f"  {ids[value]} -> {ids[node.results[0]]}{_edge_label(value)}"


def _edge_label(value: Value) -> str:
    several = value.producer is not None and len(value.producer.results) > 1
    return f" [label={quoted(printable(value.name))}]" if several else ""


def _value_label(value: Value) -> str:
    return quoted(f"{printable(value.name)}\n{value.type}")


def _node_label(node: Node) -> str:
    types = "\n".join(str(v.type) for v in node.results)
    return quoted(f"{printable(node.name)}\n{node.op.name}\n{types}")


def _tooltip(node: Node) -> str:
    text = printable(attributes_text(node.op), ATTRIBUTES_LIMIT)
    return f", tooltip={quoted(text)}" if text else ""
