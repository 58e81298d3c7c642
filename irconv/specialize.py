"""A graph for given sizes: every symbol replaced, every type inferred again."""

from __future__ import annotations

from collections.abc import Mapping

from irconv.graph import Graph


def specialize(graph: Graph, sizes: Mapping[str, int]) -> Graph:
    """A copy of `graph` whose input symbols have the given sizes; the rest follows by inference."""
    copy = graph.copy()
    for value in copy.inputs:
        value.type = value.type.substitute(sizes)
    copy.infer_again()
    return copy
