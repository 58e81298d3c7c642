"""Turns a graph into a program: kernels chosen, memory planned, addresses noted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from irconv.backend import Options
from irconv.backends.numba_cpu import native
from irconv.backends.numba_cpu.binders import BINDERS
from irconv.backends.numba_cpu.binders.blocks import bind_in_blocks
from irconv.backends.numba_cpu.binders.kind import shape_of
from irconv.backends.numba_cpu.calls import Call, Place, Slot
from irconv.backends.numba_cpu.driver import start_word
from irconv.backends.numba_cpu.in_place import overwritable
from irconv.backends.numba_cpu.launch import Launch, Status
from irconv.backends.numba_cpu.memory import in_one_block
from irconv.backends.numba_cpu.notes import note_of
from irconv.backends.numba_cpu.program import STATUS_BYTES, CpuProgram, Patch, Segment
from irconv.backends.numba_cpu.storages import Storages, find_storages
from irconv.backends.numba_cpu.views import find_views, in_blocks, is_static
from irconv.graph import Graph, Node, Value
from irconv.heap import require
from irconv.interpret import content
from irconv.memory_plan import ALIGNMENT, in_place, lifetimes, plan_memory
from irconv.op import Op
from irconv.ops.rearrange import Concat, Gather
from irconv.ops.slices import Pad
from irconv.ops.sparse import ConvMatrix
from irconv.report import OP_RUN, Memory, NodeReport, Report, known_bytes, node_report
from irconv.types import Array, MatrixType, TensorType

# ops whose kernels take operands and results without elements
ANY_SIZE: tuple[type[Op], ...] = (Concat, Gather, Pad)


@in_one_block
def assemble(graph: Graph, options: Options, pipeline: str) -> CpuProgram:
    """The program of `graph`, whose inputs have known sizes.

    A node runs by `Op.run` where a size of it is only known by then; its results of such sizes are
    arrays of their own, outside the arena.
    """
    views = find_views(graph)
    storages = find_storages(graph, views)
    bound = {n: _bind(n, options.threads, storages) for n in graph if n not in views.free}
    shared = in_place(graph, lambda n: overwritable(n, bound.get(n), storages), views.owners)
    owners = {v: shared.get(owner, owner) for v, owner in views.owners.items()} | shared
    layout = _lay_out(graph, owners, shared, bound.values())
    require(layout.arena_bytes + known_bytes(graph.outputs), "one call of the program")
    table = _Table(layout, owners, _last_reads(graph))
    for node in graph:
        if node in bound:
            table.add(node, bound[node])
    copies = tuple((i, table.slot(graph.outputs[i])) for i in layout.copied)
    table.lines += [f"copy(output[{i}], {slot.place})" for i, slot in copies]
    nodes = tuple(_node_report(node, bound.get(node), node in bound, shared) for node in graph)
    report = Report(
        "numba_cpu",
        pipeline,
        options.precision,
        options.threads,
        (),
        nodes,
        Memory(
            arena=layout.scratch,
            scratch=layout.arena_bytes - layout.scratch,
            weights=sum(a.nbytes for a in table.constants),
            outputs=known_bytes(graph.outputs),
            in_place=known_bytes(shared),
        ),
        0.0,
    )
    return CpuProgram(
        outputs=tuple(_slot(Place("output", i), v) for i, v in enumerate(graph.outputs)),
        copies=copies,
        constants=table.constants,
        table=table.words(),
        segments=table.segments(),
        patches=table.patches,
        arena_bytes=layout.arena_bytes,
        threads=options.threads,
        report=report,
        source=table.text(),
        step_nodes=tuple(table.nodes),
        step_kernels=tuple(table.kernels),
    )


def _slot(place: Place, value: Value) -> Slot:
    if is_static(value):
        return Slot(place, value.tensor_type.dtype, shape_of(value))
    return Slot(place, value.tensor_type.dtype, (), value.shape)


def _bind(node: Node, threads: int, storages: Storages) -> list[Launch] | None:
    """The launches of a node; None where `Op.run` runs it."""
    if in_blocks(node):
        return bind_in_blocks(node, threads, storages)
    binder = BINDERS.get(type(node.op))
    if binder is None or _has_unknown_sizes(node):
        return None
    if not isinstance(node.op, ANY_SIZE):
        if all(0 in shape_of(v) for v in node.results):
            return []
        if any(v is not None and _is_empty(v) for v in node.operands):
            return None  # a sum of nothing
    return binder(node, threads)


def _has_unknown_sizes(node: Node) -> bool:
    return any(v is not None and v.type.symbols() for v in (*node.operands, *node.results))


def _is_empty(value: Value) -> bool:
    return isinstance(value.type, TensorType) and 0 in shape_of(value)


@dataclass(frozen=True)
class _Layout:
    """Where each value is; where the scratch begins in the arena, and the arena's bytes.

    `copied`: numbers of the outputs that are copied in the end.
    """

    places: dict[Value, Place]
    scratch: int
    arena_bytes: int
    copied: list[int]


def _lay_out(
    graph: Graph,
    owners: Mapping[Value, Value],
    shared: Mapping[Value, Value],
    bound: Iterable[list[Launch] | None],
) -> _Layout:
    places = {v: Place("input", i) for i, v in enumerate(graph.inputs)}
    copied = []
    for i, value in enumerate(graph.outputs):
        owner = owners.get(value, value)
        if owner.producer is None or owner in places or not is_static(value):
            copied.append(i)
        else:
            places[owner] = Place("output", i)
    loose = (v for node in graph for v in node.results if v.type.symbols())
    places |= {v: Place("host", i) for i, v in enumerate(loose)}
    plan = plan_memory(lifetimes(graph, owners), shared=shared)
    for value, offset in plan.offsets.items():
        places[value] = Place("arena", STATUS_BYTES + offset)
    needs = [launch.step.scratch_bytes for launches in bound for launch in launches or []]
    scratch = STATUS_BYTES + plan.size
    room = -(-max(needs, default=0) // ALIGNMENT) * ALIGNMENT
    return _Layout(places, scratch, scratch + room, copied)


def _last_reads(graph: Graph) -> dict[Node, list[Value]]:
    """For each node the values of unknown sizes that no later node reads."""
    read = set(graph.outputs)
    read.update(v for n in graph if isinstance(n.op, ConvMatrix) for v in n.operands if v)
    last: dict[Node, list[Value]] = {}
    for node in reversed(list(graph)):
        values = (v for v in (*node.results, *node.operands) if v is not None and v.type.symbols())
        last[node] = [v for v in dict.fromkeys(values) if v not in read]
        read.update(last[node])
    return last


class _Table:
    """The rows of all steps, the patches of their addresses, and the constants they read."""

    def __init__(
        self, layout: _Layout, owners: dict[Value, Value], last: dict[Node, list[Value]]
    ) -> None:
        self.layout = layout
        self.owners = owners
        self.last = last
        self.rows: list[Array] = []
        self.length = 0
        self.starts: list[int | Call] = []
        self.constants: list[Array] = []
        self.patches: list[Patch] = []
        self.lines: list[str] = []
        self.nodes: list[str] = []  # of each step
        self.kernels: list[tuple[native.Key, ...]] = []  # of each step
        self._numbers: dict[int, int] = {}
        self._given: list[Array] = []  # kept, so that no id is given twice

    def add(self, node: Node, launches: list[Launch] | None) -> None:
        if launches is None:
            call = self._call(node)
            self.starts.append(call)
            self.nodes.append(node.name)
            self.kernels.append(())
            self.lines.append(_call_line(call))
        for launch in launches or []:
            self._launch(node, launch)

    def _launch(self, node: Node, launch: Launch) -> None:
        with native.asked_for() as asked:
            row = launch.step.bind()
        self.kernels.append(tuple(asked))
        sources = []
        for word, given in launch.sources.items():
            place = self._place(given)
            if place is not None:
                offset = launch.offsets.get(word, 0)
                self.patches.append(Patch(self.length + word, place, offset))
                sources.append(f"{place}+{offset}" if offset else str(place))
        if launch.scratch_place is not None:
            place = Place("arena", self.layout.scratch)
            self.patches.append(Patch(self.length + launch.scratch_place, place))
        self.starts.append(start_word(self.length, launch.joins))
        self.nodes.append(node.name)
        self.rows.append(row)
        self.length += len(row)
        results = ", ".join(f"{v.type}" for v in node.results)
        self.lines.append(f"{launch.step.name}({', '.join(sources)}) : {results}")

    def _place(self, given: Value | Array | Status) -> Place | None:
        """None for an array without elements: address 0."""
        if isinstance(given, Status):
            return Place("arena", 0)
        if isinstance(given, Value):
            given = self.owners.get(given, given)
            if not given.is_parameter:
                return self.layout.places[given]
            given = content(given)
        return self._constant(given) if given.size else None

    def _constant(self, array: Array) -> Place:
        if id(array) not in self._numbers:
            self._numbers[id(array)] = len(self.constants)
            self._given.append(array)
            self.constants.append(np.ascontiguousarray(array))
        return Place("constant", self._numbers[id(array)])

    def slot(self, value: Value) -> Slot:
        """A dense value as `Op.run` needs it."""
        owner = self.owners.get(value, value)
        if owner.is_parameter:
            place = self._constant(content(owner))
        else:
            place = self.layout.places[owner]
        return _slot(place, value)

    def _call(self, node: Node) -> Call:
        operands = tuple(self._operand(v) if v is not None else None for v in node.operands)
        results = (v for v in node.results if isinstance(v.type, TensorType))
        last = tuple(self.layout.places[v].index for v in self.last.get(node, ()))
        return Call(node.name, node.op, operands, tuple(map(self.slot, results)), last)

    def _operand(self, value: Value) -> Slot | Call:
        if isinstance(value.type, MatrixType) and value.producer is not None:
            return self._call(value.producer)
        return self.slot(value)

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


def _call_line(call: Call) -> str:
    return f"{OP_RUN} {call.op.name}({', '.join(map(_shown, (*call.results, *call.operands)))})"


def _shown(given: Slot | Call | None) -> str:
    if isinstance(given, Call):
        return _call_line(given)
    return "_" if given is None else str(given.place)


def _node_report(
    node: Node, launches: list[Launch] | None, runs: bool, shared: Mapping[Value, Value]
) -> NodeReport:
    if not runs:
        kernel = "index" if isinstance(node.op, ConvMatrix) else "view"
        return node_report(node, kernel)
    if launches is None:
        return node_report(node, OP_RUN)
    names = dict.fromkeys(launch.step.name for launch in launches)
    scratch = max((launch.step.scratch_bytes for launch in launches), default=0)
    report = node_report(node, "+".join(names) or "nothing", scratch, note_of(node, launches))
    owner = next((shared[v].name for v in node.results if v in shared), "")
    return replace(report, in_place=owner)
