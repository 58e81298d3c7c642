"""Turns a graph of known sizes into a program: kernels chosen, memory planned, addresses noted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from irconv.backend import Options
from irconv.backends.numba_cpu.binders import BINDERS
from irconv.backends.numba_cpu.binders.layout import VIEWS
from irconv.backends.numba_cpu.launch import Launch, Status
from irconv.backends.numba_cpu.program import STATUS_BYTES, CpuProgram, Patch, Place, Segment
from irconv.dim import known
from irconv.graph import Graph, Node, Value
from irconv.memory_plan import ALIGNMENT, lifetimes, plan_memory
from irconv.ops.sparse import ConvMatrix
from irconv.report import OP_RUN, Memory, NodeReport, Report, node_report
from irconv.types import Array


def assemble(graph: Graph, options: Options, pipeline: str) -> CpuProgram:
    """The program of `graph`."""
    views = _views(graph)
    bound = {n: _bind(n, n in views.copied, options.threads) for n in graph if n not in views.free}
    places, arena, scratch = _places(graph, views.owners, bound.values())
    table = _Table(places, scratch)
    for node in graph:
        if node in bound:
            table.add(node, bound[node])
    nodes = tuple(_node_report(node, bound.get(node), node in bound) for node in graph)
    memory = Memory(
        arena=arena,
        scratch=max((n.scratch_bytes for n in nodes), default=0),
        weights=sum(a.nbytes for a in table.constants),
        outputs=sum(known(v.tensor_type.nbytes) for v in graph.outputs),
    )
    notes = ("tune: there is one kernel for each node yet",) if options.tune else ()
    report = Report(
        "numba_cpu",
        pipeline,
        options.precision,
        options.threads,
        (),
        nodes,
        memory,
        0.0,
        notes=notes,
    )
    return CpuProgram(
        inputs=tuple(v.tensor_type for v in graph.inputs),
        outputs=tuple(v.tensor_type for v in graph.outputs),
        places=places,
        constants=table.constants,
        table=table.words(),
        segments=table.segments(),
        patches=table.patches,
        arena_bytes=arena,
        threads=options.threads,
        report=report,
        source=table.text(),
    )


@dataclass(frozen=True)
class _Views:
    """Which values are other views of a buffer, and what that spares.

    `owners`: value -> the value whose buffer it shares; `free`: nodes that need no step;
    `copied`: view ops that must copy all the same.
    """

    owners: dict[Value, Value] = field(default_factory=dict)
    free: set[Node] = field(default_factory=set)
    copied: set[Node] = field(default_factory=set)


def _views(graph: Graph) -> _Views:
    views = _Views()
    taken: set[Value] = {v for v in graph.outputs if v.producer and not _is_view(v.producer)}
    for node in graph:
        if isinstance(node.op, ConvMatrix):
            views.free.add(node)
        if not _is_view(node):
            continue
        x = node.operands[0]
        assert x is not None
        owner = views.owners.get(x, x)
        if node.result.is_output and (owner.producer is None or owner in taken):
            views.copied.add(node)
            continue
        if node.result.is_output:
            taken.add(owner)
        views.owners[node.result] = owner
        views.free.add(node)
    return views


def _is_view(node: Node) -> bool:
    return isinstance(node.op, VIEWS)


def _bind(node: Node, copied: bool, threads: int) -> list[Launch] | None:
    binder = BINDERS.get(type(node.op))
    return binder(node, threads) if binder is not None else None


def _places(
    graph: Graph, owners: dict[Value, Value], bound: Iterable[list[Launch] | None]
) -> tuple[dict[Value, Place], int, int]:
    """Where each value is, the bytes of the arena, and where the scratch begins in it."""
    places = {v: Place("input", i) for i, v in enumerate(graph.inputs)}
    for i, value in enumerate(graph.outputs):
        if value.producer is not None:
            places[owners.get(value, value)] = Place("output", i)
    plan = plan_memory(lifetimes(graph, owners))
    for value, offset in plan.offsets.items():
        places[value] = Place("arena", STATUS_BYTES + offset)
    for value, owner in owners.items():
        if owner in places:
            places[value] = places[owner]
    needs = [launch.step.scratch_bytes for launches in bound for launch in launches or []]
    scratch = STATUS_BYTES + plan.size
    room = -(-max(needs, default=0) // ALIGNMENT) * ALIGNMENT
    return places, scratch + room, scratch


class _Table:
    """The rows of all steps, the patches of their addresses, and the constants they read."""

    def __init__(self, places: dict[Value, Place], scratch: int) -> None:
        self.places = places
        self.scratch = Place("arena", scratch)
        self.rows: list[Array] = []
        self.length = 0
        self.starts: list[int | Node] = []
        self.constants: list[Array] = []
        self.patches: list[Patch] = []
        self.lines: list[str] = []
        self._numbers: dict[int, int] = {}
        self._names: dict[Value, str] = {}

    def add(self, node: Node, launches: list[Launch] | None) -> None:
        if launches is None:
            self.starts.append(node)
            self.lines.append(f"Op.run {node.op.name}({self._shown(node.operands)})")
        for launch in launches or []:
            self._launch(node, launch)

    def _launch(self, node: Node, launch: Launch) -> None:
        row = launch.step.bind()
        sources = []
        for word, given in launch.sources.items():
            place = self._place(given)
            if place is not None:
                offset = launch.offsets.get(word, 0)
                self.patches.append(Patch(self.length + word, place, offset))
                sources.append(f"{place.kind}[{place.index + offset}]")
        if launch.scratch_place is not None:
            self.patches.append(Patch(self.length + launch.scratch_place, self.scratch))
        self.starts.append(self.length)
        self.rows.append(row)
        self.length += len(row)
        results = ", ".join(f"{v.type}" for v in node.results)
        self.lines.append(f"{launch.step.name}({', '.join(sources)}) : {results}")

    def _place(self, given: Value | Array | Status) -> Place | None:
        if isinstance(given, Status):
            return Place("arena", 0)
        if isinstance(given, Value):
            if given.array is None:
                return self.places[given]
            given = given.array
        if not given.size:
            return None
        if id(given) not in self._numbers:
            self._numbers[id(given)] = len(self.constants)
            self.constants.append(given)
        return Place("constant", self._numbers[id(given)])

    def _shown(self, values: Iterable[Value | None]) -> str:
        places = [self.places.get(v) if v is not None else None for v in values]
        return ", ".join(f"{p.kind}[{p.index}]" if p else "_" for p in places)

    def words(self) -> Array:
        return np.concatenate(self.rows) if self.rows else np.zeros(0, np.int64)

    def segments(self) -> list[Segment]:
        found: list[Segment] = []
        run: list[int] = []
        for start in [*self.starts, None]:
            if isinstance(start, int):
                run.append(start)
                continue
            if run:
                found.append(Segment(np.array(run, np.int64)))
                run = []
            if start is not None:
                found.append(Segment(np.zeros(0, np.int64), start))
        return found

    def text(self) -> str:
        """One line for each step: kernel, the places it reads and writes, the result's type."""
        width = len(str(len(self.lines)))
        return "\n".join(f"{i:>{width}}  {line}" for i, line in enumerate(self.lines))


def _node_report(node: Node, launches: list[Launch] | None, runs: bool) -> NodeReport:
    if not runs:
        kernel = "index" if isinstance(node.op, ConvMatrix) else "view"
        return node_report(node, kernel)
    if launches is None:
        return node_report(node, OP_RUN)
    names = dict.fromkeys(launch.step.name for launch in launches)
    scratch = max((launch.step.scratch_bytes for launch in launches), default=0)
    return node_report(node, "+".join(names) or "nothing", scratch)
