"""The program stage: which kernels run each node, step by step."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from irconv.backend import Options, Program, find_backend
from irconv.errors import printable
from irconv.graph import Graph
from irconv.inputs import bind_symbols
from irconv.inspector.later import LaterNumerics, LaterStage
from irconv.inspector.lines import TEXT_LIMIT, shown_name
from irconv.inspector.numerics import relative_error
from irconv.inspector.stages import ShownStage, shown_stage
from irconv.kernels import KernelText, ProgramStep, TellsKernels
from irconv.report import Report
from irconv.specialize import specialize
from irconv.types import Array


def program_stage(
    graph: Graph,
    backend: str = "numba_cpu",
    options: Options | None = None,
    inputs: Mapping[str, Array] | None = None,
    references: Sequence[Mapping[str, Array]] = (),
) -> LaterStage:
    """Compiles `graph` as it stands and shows the program; a node keeps its id.

    `inputs` and `references` (float64 outputs of the last pass and of the source) are for the
    error. Symbolic sizes are those of `inputs`, else 1.
    """
    sized = _sized(graph, inputs)
    program = find_backend(backend).compile(sized, options or Options(), "")
    report = program.report
    steps = program.steps() if isinstance(program, TellsKernels) else ()
    shown = _shown(shown_stage(sized), backend, report, steps)
    memory = report.memory
    totals = {
        "nodes": len(report.nodes),
        "macs": report.macs,
        "bytes": sum(n.bytes for n in report.nodes),
        "parameter_bytes": memory.weights,
        "peak_bytes": memory.arena + memory.scratch,
    }
    return LaterStage(
        shown,
        (),
        report.compile_seconds,
        totals,
        _numerics(program, sized, inputs, references),
        kernels=_kernels(program, steps),
        program=program if isinstance(program, TellsKernels) else None,
    )


def _sized(graph: Graph, inputs: Mapping[str, Array] | None) -> Graph:
    if not graph.symbols():
        return graph
    if inputs is None:
        return specialize(graph, dict.fromkeys(graph.symbols(), 1))
    return specialize(graph, bind_symbols(graph.inputs, [inputs[v.name] for v in graph.inputs]))


def _shown(
    lowered: ShownStage, backend: str, report: Report, steps: Sequence[ProgramStep]
) -> ShownStage:
    """The stage of the graph, each node's line replaced by those of its steps."""
    lines = [f"{backend}: {report.threads} threads, precision {report.precision}"]
    told = {n.node: n for n in report.nodes}
    own: defaultdict[str, list[ProgramStep]] = defaultdict(list)
    for step in steps:
        own[step.node].append(step)
    nodes = []
    for node, name in zip(lowered.nodes, told, strict=True):
        found = told[name]
        place = len(lines)
        lines += [printable(s.line, TEXT_LIMIT) for s in own[name]]
        if not own[name]:
            lines.append(f"    {found.kernel}: %{shown_name(name)}")
        nodes.append(
            replace(
                node,
                op=printable(found.kernel),
                attributes=printable(found.note),
                line=place,
                line_count=len(lines) - place,
                macs=found.macs,
                bytes=found.bytes,
                kernels=_keys(own[name]),
            )
        )
    return ShownStage(
        "program", backend, tuple(lines), tuple(nodes), (), lowered.inputs, lowered.outputs
    )


def _keys(steps: Iterable[ProgramStep]) -> tuple[str, ...]:
    """The kernels of a node; first that of its last step, which computes the result."""
    ordered = [key for step in reversed(list(steps)) for key in step.kernels]
    return tuple(dict.fromkeys(ordered))


def _kernels(program: Program, steps: Iterable[ProgramStep]) -> dict[str, KernelText]:
    """All kernels of a program and the functions that they call, by key."""
    if not isinstance(program, TellsKernels):
        return {}
    found: dict[str, KernelText] = {}
    pending = [key for step in steps for key in step.kernels]
    while pending:
        key = pending.pop()
        if key not in found:
            found[key] = program.kernel(key)
            pending += found[key].calls
    return dict(sorted(found.items()))


def _numerics(
    program: Program,
    graph: Graph,
    inputs: Mapping[str, Array] | None,
    references: Sequence[Mapping[str, Array]],
) -> LaterNumerics | None:
    if inputs is None or len(references) != 2:
        return None
    arrays = program([inputs[v.name] for v in graph.inputs])
    result = {v.name: y for v, y in zip(graph.outputs, arrays, strict=True)}
    return LaterNumerics(*(relative_error(result, reference) for reference in references))
