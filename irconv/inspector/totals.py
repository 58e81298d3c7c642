"""What a graph consists of and costs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import prod

from irconv.errors import GraphError
from irconv.graph import Graph
from irconv.inspector.stages import at_one
from irconv.memory_plan import lifetimes, plan_memory
from irconv.report import graph_cost
from irconv.specialize import specialize


@dataclass(frozen=True)
class Totals:
    """What a graph consists of and costs, its symbolic sizes taken as 1.

    `parameters` counts elements, `free_parameters` those that training may change; an array that
    two parameters share counts once. `peak_bytes`: of an arena for the intermediate values.
    """

    ops: Counter[str]
    macs: int
    bytes: int
    parameter_bytes: int
    parameters: int = 0
    free_parameters: int = 0
    peak_bytes: int = 0

    @property
    def nodes(self) -> int:
        return self.ops.total()

    @classmethod
    def of(cls, graph: Graph) -> Totals:
        cost = graph_cost(graph)
        values = graph.parameters.values()
        arrays = {id(v.array): v for v in values if v.array is not None}
        sizes = [(v, prod(v.array.shape)) for v in arrays.values() if v.array is not None]
        return cls(
            Counter(node.op.name for node in graph),
            at_one(cost.macs),
            at_one(cost.bytes),
            sum(v.array.nbytes for v in arrays.values() if v.array is not None),
            sum(size for _, size in sizes),
            sum(size for v, size in sizes if v.trainable),
            peak_bytes(graph),
        )


def peak_bytes(graph: Graph) -> int:
    """Bytes of an arena for all intermediate values, inputs and outputs not counted.

    0 where the image's sizes are open, and its layers do not fit one of a single pixel.
    """
    symbols = graph.symbols()
    try:
        sized = specialize(graph, dict.fromkeys(symbols, 1)) if symbols else graph
    except GraphError:
        return 0
    return plan_memory(lifetimes(sized)).size
