"""Makes a failing case small: fewer nodes, then fewer outputs, then smaller tensors."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from irconv.errors import IrconvError
from irconv.graph import Graph, Node
from irconv.inputs import bind_symbols
from irconv.inspector.fault import Case, Fault
from irconv.inspector.resize import smaller
from irconv.inspector.samples import seeded_inputs
from irconv.inspector.subgraph import cut, rebuild
from irconv.specialize import specialize
from irconv.verify import verify

# how far around a wrong rewrite one looks; the whole graph comes last
RADII = (0, 1, 2, 3, 5, 8, 13)
SECONDS = 20.0


@dataclass
class Shrinker:
    """Tries smaller cases until the time is over; a case is taken where the pass fails in it as it
    did: the same kind of fault, the same cause, and `rule` among the rules that fired.
    """

    fault: Fault
    rule: str
    ends: float
    seed: int = 0

    @property
    def is_over(self) -> bool:
        """Whether the time is."""
        return time.monotonic() > self.ends

    def fails(self, case: Case) -> bool:
        """Whether the pass fails in `case` as it did."""
        if self.is_over:
            return False
        try:
            verify(case.graph)
            found = case.fault()
        except (IrconvError, MemoryError):
            return False
        return found is not None and found.is_like(self.fault, self.rule)

    def shrunk(self, case: Case, seeds: Collection[int]) -> Case:
        """The smallest case that was found; `seeds` are the uids of the nodes to begin at."""
        case = self._static(case)
        case = self._neighbourhood(case, seeds)
        while True:
            size = len(case.graph)
            case = self._smaller(self._fewer_outputs(self._fewer_nodes(case)))
            if len(case.graph) == size:
                return case

    def _static(self, case: Case) -> Case:
        """Every size a number."""
        if not case.graph.symbols():
            return case
        inputs = case.inputs
        if inputs is None:
            inputs = seeded_inputs(case.graph, self.seed)
        sizes = bind_symbols(case.graph.inputs, [inputs[v.name] for v in case.graph.inputs])
        try:
            static = replace(case, graph=specialize(case.graph, sizes))
        except IrconvError:
            return case
        return static if self.fails(static) else case

    def _neighbourhood(self, case: Case, seeds: Collection[int]) -> Case:
        """The nodes nearest to the rewrite that show the fault."""
        found = {n for n in case.graph if n.uid in seeds}
        if not found:
            return case
        reached = 0
        for radius in RADII:
            for _ in range(radius - reached):
                found |= {m for n in found for m in _neighbours(n)}
            reached = radius
            near = self._cut(case, found)
            if near is not None:
                return near
        return case

    def _fewer_nodes(self, case: Case) -> Case:
        """Delta debugging (Zeller and Hildebrandt 2002, ddmin), by removing chunks only."""
        chunk = max(1, len(case.graph) // 2)
        while chunk and not self.is_over:
            shorter = self._without_chunk(case, chunk)
            if shorter is None:
                chunk //= 2
            else:
                case = shorter
                chunk = min(chunk, len(case.graph) - 1)
        return case

    def _without_chunk(self, case: Case, size: int) -> Case | None:
        nodes = case.graph.nodes
        for start in range(0, len(nodes), size):
            if self.is_over:
                break
            rest = [*nodes[:start], *nodes[start + size :]]
            found = self._cut(case, rest) if rest else None
            if found is not None:
                return found
        return None

    def _cut(self, case: Case, nodes: Collection[Node]) -> Case | None:
        """The case of `nodes` alone, if it fails."""
        if self.is_over or len(nodes) == len(case.graph):
            return None
        try:
            found = cut(case.graph, case.inputs, nodes)
        except (IrconvError, MemoryError):
            return None
        if found is None:
            return None
        small = replace(case, graph=found[0], inputs=found[1])
        return small if self.fails(small) else None

    def _fewer_outputs(self, case: Case) -> Case:
        for name in [v.name for v in case.graph.outputs]:
            fewer = None if self.is_over else _without_output(case, name)
            if fewer is not None and self.fails(fewer):
                case = fewer
        return case

    def _smaller(self, case: Case) -> Case:
        while not self.is_over:
            found = next((c for c in _candidates(case) if self.fails(c)), None)
            if found is None:
                break
            case = found
        return case


def _candidates(case: Case) -> Iterator[Case]:
    for graph, inputs in smaller(case.graph, case.inputs):
        yield replace(case, graph=graph, inputs=inputs)


def _without_output(case: Case, name: str) -> Case | None:
    """The case without one output and what only that needed; None where it is the last one."""
    outputs = [v for v in case.graph.outputs if v.name != name]
    if not outputs:
        return None
    needed = _needed([v.producer for v in outputs if v.producer is not None])
    graph: Graph = case.graph
    read = {v for n in needed for v in n.operands} | set(outputs)
    types = {v.name: v.type for v in graph.inputs if v in read}
    small = rebuild(graph, types, nodes=needed, outputs=[v.name for v in outputs])
    inputs = case.inputs
    if inputs is not None:
        inputs = {name: inputs[name] for name in types}
    return replace(case, graph=small, inputs=inputs)


def _needed(nodes: Sequence[Node]) -> set[Node]:
    found: set[Node] = set()
    pending = list(nodes)
    while pending:
        node = pending.pop()
        if node not in found:
            found.add(node)
            pending += [v.producer for v in node.operands if v is not None and v.producer]
    return found


def _neighbours(node: Node) -> Iterator[Node]:
    for operand in node.operands:
        if operand is not None and operand.producer is not None:
            yield operand.producer
    for value in node.results:
        yield from value.users
