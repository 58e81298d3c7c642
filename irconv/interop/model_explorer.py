"""Graphs as the JSON that Model Explorer opens: each stage a graph, so that two stand side by side.

The format is that of `graph_builder.py` in google-ai-edge/model-explorer (0.1): a collection
`{"label", "graphs": [{"id", "nodes": [...]}]}`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from irconv.errors import printable
from irconv.graph import Graph, Node, Value
from irconv.inspector.stages import at_one, scope_of
from irconv.inspector.trace import Trace
from irconv.listing import PLAIN_NAME, attribute_text
from irconv.op import operand_names
from irconv.report import node_cost

VALUE_LIMIT = 400


def model_explorer(trace: Trace) -> dict[str, Any]:
    """All stages of a trace as one collection for Model Explorer, plain data for `json.dumps`."""
    titles = ["0 source", *(f"{p.index} {p.name}" for p in trace.passes)]
    return collection(trace.source.name, zip(titles, trace.stages, strict=True))


def collection(label: str, graphs: Iterable[tuple[str, Graph]]) -> dict[str, Any]:
    """Graphs under their titles as one collection.

    A node keeps its id, which is its name, from graph to graph: Model Explorer finds it in the
    other pane. Weights are not nodes but stand among the attributes of what uses them.
    """
    return {
        "label": printable(label),
        "graphs": [
            {"id": printable(title), "nodes": list(_Ids(graph).nodes())} for title, graph in graphs
        ],
    }


class _Ids:
    """One graph: its nodes with their ids."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        named = (*graph.inputs, *(node.results[0] for node in graph))
        # a name that is not plain could, escaped and shortened, be that of another node
        self.of = {
            v: v.name if PLAIN_NAME.fullmatch(v.name) and len(v.name) <= 120 else f"#{k}"
            for k, v in enumerate(named)
        }

    def nodes(self) -> Iterator[dict[str, Any]]:
        for value in self.graph.inputs:
            yield self._end(self.of[value], value, "input", [])
        for node in self.graph:
            yield self._node(node)
        for index, value in enumerate(self.graph.outputs):
            edges = list(self._edge(0, value))
            yield self._end(f"#output {index}", value, "output", edges)

    def _end(self, key: str, value: Value, label: str, edges: list[Any]) -> dict[str, Any]:
        return {
            "id": key,
            "label": label,
            "namespace": "",
            "attrs": _pairs([("name", value.name), ("type", value.type)]),
            "incomingEdges": edges,
            "outputsMetadata": [] if edges else [_metadata(0, value)],
        }

    def _node(self, node: Node) -> dict[str, Any]:
        edges = [
            edge
            for index, value in enumerate(node.operands)
            if value is not None
            for edge in self._edge(index, value)
        ]
        return {
            "id": self.of[node.results[0]],
            "label": node.op.name,
            "namespace": _namespace(node.name),
            "attrs": _pairs(_attributes(self.graph, node)),
            "incomingEdges": edges,
            "outputsMetadata": [_metadata(i, v) for i, v in enumerate(node.results)],
        }

    def _edge(self, operand: int, value: Value) -> Iterator[dict[str, str]]:
        source = value.producer.results[0] if value.producer is not None else value
        if source in self.of:
            yield {
                "sourceNodeId": self.of[source],
                "sourceNodeOutputId": str(value.index),
                "targetNodeInputId": str(operand),
            }


def _namespace(name: str) -> str:
    """The scopes of a name as a path: `stage1/block1` of `stage1.block1.conv1`."""
    scope = scope_of(name)
    separator = "/" if "/" in scope else "."
    return "/".join(part for part in scope.split(separator) if part)


def _attributes(graph: Graph, node: Node) -> Iterator[tuple[str, object]]:
    yield "name", node.name
    yield from ((k, attribute_text(v)) for k, v in node.op.attributes().items())
    names = operand_names(node.op)
    for index, value in enumerate(node.operands):
        if value is not None and value.is_parameter:
            name = names[min(index, len(names) - 1)].rstrip("?*+")
            yield f"operand {name}", f"%{value.name}: {value.type}"
    cost = node_cost(node)
    yield "multiply-adds", at_one(cost.macs)
    yield "bytes moved", at_one(cost.bytes)
    made_from = graph.provenance.originals([node.uid])
    if made_from:
        yield "made from", ", ".join("%" + r.name for r in made_from)


def _pairs(pairs: Iterable[tuple[str, object]]) -> list[dict[str, str]]:
    return [{"key": key, "value": printable(value, VALUE_LIMIT)} for key, value in pairs]


def _metadata(index: int, value: Value) -> dict[str, Any]:
    facts = [("__tensor_tag", value.name), ("tensor_shape", value.type)]
    return {"id": str(index), "attrs": _pairs(facts)}
