"""Runs a graph on a given image and keeps what its nodes answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from irconv.errors import UsageError, printable
from irconv.executable import compile as compile_graph
from irconv.graph import Graph, Node, Value
from irconv.interpret import interpret
from irconv.types import Array


def inputs_of(graph: Graph, given: Any) -> dict[str, Array]:
    """What was given as inputs by name: an array is the only input, its batch of one (and its only
    channel) left out or not.
    """
    if isinstance(given, Mapping):
        return {str(name): np.asarray(array) for name, array in given.items()}
    if len(graph.inputs) != 1:
        raise UsageError("the graph has several inputs", expected="arrays by name", got="one array")
    (value,) = graph.inputs
    kind = value.tensor_type
    array = np.asarray(given)
    if array.ndim == kind.rank - 2 and kind.shape[1:2] == (1,):
        array = array[None]  # of one channel: an image as most people keep it
    array = array[None] if array.ndim == kind.rank - 1 else array
    return {value.name: array.astype(kind.dtype, copy=False)}


def activation(node: Node, given: Any, *, backend: str | None = None) -> Array:
    """The first result [N, ...] of `node` on an input: interpreted, or compiled by `backend`.

    `given` is an array for the graph's only input ([N, C, ...] or one image [C, ...]), or arrays by
    name.
    """
    graph = graph_up_to(node)
    inputs = inputs_of(graph, given)
    value = graph.node(node.name).results[0]
    if backend is None:
        return activations(graph, inputs)[value]
    return compile_graph(graph, backend=backend).run(inputs)[value.name]


def activations(
    graph: Graph, inputs: Mapping[str, Array], float64: bool = False
) -> dict[Value, Array]:
    """Every result of every node, and the inputs."""
    kept: dict[Value, Array] = {}
    interpret(graph, inputs, float64=float64, watch=kept.__setitem__)
    wide = np.float64 if float64 else None
    return kept | {v: np.asarray(inputs[v.name], wide) for v in graph.inputs}


def graph_up_to(node: Node) -> Graph:
    """A copy of the graph without what the node's first result does not need: it is the output."""
    graph = graph_of(node).copy()
    graph.set_outputs([graph.node(node.name).results[0]])
    for other in reversed(graph.nodes):
        if not any(result.is_used for result in other.results):
            graph.erase(other)
    return graph


def graph_of(node: Node) -> Graph:
    """The graph that holds `node`."""
    if node.graph is None:
        raise UsageError("the node was erased from its graph", where=f"%{printable(node.name)}")
    return node.graph
