"""A graph as pieces: runs of nodes that onnxruntime executes, and single nodes that Op.run does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, TypeAlias

import numpy as np

from irconv.backends.onnx.emit import emit_part
from irconv.backends.onnx.proto import Model, model_of
from irconv.backends.onnx.sessions import LacksOpError, Run, exchanged, open_session
from irconv.backends.onnx.standard import OPSETS
from irconv.errors import ExportError
from irconv.export import DEFAULT_OPSET
from irconv.graph import Graph, Node, Value
from irconv.interpret import content
from irconv.types import MatrixType

# what has been computed: arrays, and matrices where a node run by Op.run makes one
Alive: TypeAlias = "dict[Value, Any]"


@dataclass(frozen=True, slots=True)
class SessionPiece:
    """Nodes that onnxruntime runs as one model."""

    nodes: tuple[Node, ...]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    model: Model
    run: Run

    def __call__(self, alive: Alive) -> None:
        results = self.run({v.name: alive[v] for v in self.inputs})
        alive.update(zip(self.outputs, results, strict=True))


@dataclass(frozen=True, slots=True)
class NodePiece:
    """One node that Op.run runs."""

    node: Node

    @property
    def nodes(self) -> tuple[Node, ...]:
        return (self.node,)

    def __call__(self, alive: Alive) -> None:
        arrays = [None if v is None else _array(v, alive) for v in self.node.operands]
        with np.errstate(all="ignore"):
            results = self.node.op.run(arrays)
        alive.update(zip(self.node.results, results, strict=True))


Piece: TypeAlias = "SessionPiece | NodePiece"


def _array(value: Value, alive: Alive) -> Any:
    return alive[value] if value in alive else content(value)


def pieces_of(graph: Graph, threads: int) -> tuple[Piece, ...]:
    """The whole graph as one piece where onnxruntime can run it, else as few as it takes.

    Each piece is written at the lowest opset from 17 on that can say it. A batch of 0 is left to
    Op.run: onnxruntime 1.31 fails in several ops (see empty.py).
    """
    if any(v.tensor_type.size == 0 for v in graph.inputs):
        return tuple(map(NodePiece, graph))
    outer = [v.tensor_type for v in (*graph.inputs, *graph.outputs)]
    if exchanged(outer) and not any(node.op.random for node in graph):
        try:
            return (_session(graph, graph.nodes, threads),)
        except (ExportError, LacksOpError):
            pass
    return tuple(_split(graph, threads))


def _split(graph: Graph, threads: int) -> Iterator[Piece]:
    runnable = {node for node in graph if _can_run(graph, node)}
    # a matrix has to be made for those of its users that Op.run runs
    runnable |= {
        n for n in graph if _is_matrix(n) and all(u in runnable for u in n.results[0].users)
    }
    for together, group in groupby(graph, lambda node: node in runnable):
        nodes = tuple(group)
        if together and not all(map(_is_matrix, nodes)):
            yield _session(graph, nodes, threads)
        elif not together:
            yield from map(NodePiece, nodes)


def _is_matrix(node: Node) -> bool:
    return isinstance(node.results[0].type, MatrixType)


def _can_run(graph: Graph, node: Node) -> bool:
    values = [*(v for v in node.operands if v is not None), *node.results]
    dense = [v.tensor_type for v in values if not isinstance(v.type, MatrixType)]
    if node.op.random or _is_matrix(node) or not exchanged(dense):
        return False
    try:
        _session(graph, (node,), 1)
    except (ExportError, LacksOpError):
        return False
    return True


def _session(graph: Graph, nodes: Sequence[Node], threads: int) -> SessionPiece:
    whole = len(nodes) == len(graph)
    inputs = graph.inputs if whole else _taken(nodes)
    outputs = graph.outputs if whole else _given(nodes)
    model = _lowest(graph, nodes, inputs, outputs)
    return SessionPiece(tuple(nodes), inputs, outputs, model, open_session(model, threads))


def _taken(nodes: Sequence[Node]) -> tuple[Value, ...]:
    made = {v for node in nodes for v in node.results}
    used = dict.fromkeys(v for node in nodes for v in node.operands if v is not None)
    return tuple(v for v in used if v not in made and not v.is_parameter and _is_dense(v))


def _given(nodes: Sequence[Node]) -> tuple[Value, ...]:
    inside = set(nodes)
    results = [v for node in nodes for v in node.results if _is_dense(v)]
    return tuple(v for v in results if v.is_output or any(u not in inside for u in v.users))


def _is_dense(value: Value) -> bool:
    return not isinstance(value.type, MatrixType)


def _lowest(
    graph: Graph, nodes: Sequence[Node], inputs: Sequence[Value], outputs: Sequence[Value]
) -> Model:
    first: ExportError | None = None
    for opset in OPSETS:
        if opset < DEFAULT_OPSET:
            continue
        try:
            return model_of(emit_part(graph, nodes, inputs, outputs, opset))
        except ExportError as error:
            first = first or error
    assert first is not None
    raise first
