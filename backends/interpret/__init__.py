"""Runs every node by its `Op.run`, in NumPy: the specification."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from irconv.backend import Options
from irconv.graph import Graph
from irconv.interpret import interpret
from irconv.report import OP_RUN, Memory, Report, known_bytes, node_report
from irconv.types import Array


@dataclass
class InterpretedProgram:
    """A graph as its own program."""

    graph: Graph
    report: Report

    @property
    def source(self) -> str:
        """The listing: there is no other program."""
        return str(self.graph)

    def __call__(self, arrays: Sequence[Array]) -> list[Array]:
        named = {v.name: a for v, a in zip(self.graph.inputs, arrays, strict=True)}
        results = interpret(self.graph, named)
        return [results[v.name] for v in self.graph.outputs]


class Interpret:
    """Runs every node by its `Op.run`, in NumPy: the specification."""

    name: ClassVar[str] = "interpret"
    default_pipeline: ClassVar[str] = ""

    def unavailable(self) -> str | None:
        return None

    def compile(self, graph: Graph, options: Options, pipeline: str) -> InterpretedProgram:
        nodes = tuple(node_report(node, OP_RUN) for node in graph)
        memory = Memory(
            weights=known_bytes(graph.parameters.values()), outputs=known_bytes(graph.outputs)
        )
        report = Report(self.name, pipeline, options.precision, 1, (), nodes, memory, 0.0)
        return InterpretedProgram(graph, report)
