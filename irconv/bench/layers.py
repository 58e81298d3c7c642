"""Our steps beside onnxruntime's kernels, layer by layer."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import networkx as nx

from irconv.bench.ort_profile import PeerStep, profile_onnxruntime
from irconv.bench.reasons import Limits, OurStep, explain
from irconv.bench.rows import Layer
from irconv.bench.source import Source
from irconv.dim import Dim
from irconv.executable import Executable
from irconv.graph import Graph
from irconv.inputs import bind_symbols, check_inputs
from irconv.inspector.samples import seeded_inputs
from irconv.ops.layout import Pack, Unpack
from irconv.pipeline import lower
from irconv.profiling import Profiled, StepTime
from irconv.provenance import Provenance, Ref
from irconv.report import NodeReport, Report, node_cost
from irconv.specialize import specialize
from irconv.types import Array

LAYOUT = "(layout)"  # what an engine added to the network by itself
# onnxruntime has no such algorithm either, and nothing to fuse there
NO_REASONS = frozenset({"conv_to_winograd", "fuse"})
_KERNEL = re.compile(r"(\S+?)\(")  # of a line of a program: its number, then the kernel
ANY_MACHINE = Limits()
LAYOUT_OPS = frozenset({Pack.__name__, Unpack.__name__})


@dataclass
class _Group:
    """Steps of both that share nodes of the source graph, directly or through another."""

    ours: list[OurStep] = field(default_factory=list)
    theirs: list[PeerStep] = field(default_factory=list)


def peer_steps(source: Source, threads: int, runs: int, seed: int) -> list[PeerStep]:
    """onnxruntime's kernels on the file of a source, each run on inputs of its own."""
    draws = [seeded_inputs(source.graph, seed + i) for i in range(runs)]
    return profile_onnxruntime(source.file, threads, draws)


def our_steps(
    executable: Executable, graph: Graph, inputs: Mapping[str, Array], runs: int
) -> list[OurStep] | None:
    """The nodes of a compiled graph in order; None where the backend has no profile.

    `graph` is what was compiled; the report's pipeline is run on it again, for the provenance.
    """
    arrays = check_inputs(graph.inputs, inputs)
    sizes = bind_symbols(graph.inputs, arrays)
    program = executable.prepare(sizes)
    if not isinstance(program, Profiled):
        return None
    steps: dict[str, list[StepTime]] = {}
    for step in program.profile(arrays, runs):
        steps.setdefault(step.node, []).append(step)
    plain = specialize(graph, sizes) if sizes else graph
    lowered = _lowered(plain, program.report.pipeline)
    sources = _originals(plain, lowered)
    return [
        _our_step(n, sources.get(n.node, frozenset()), reason, steps.get(n.node, []), lowered)
        for n, reason in _with_reasons(program.report)
    ]


def _our_step(
    report: NodeReport,
    nodes: frozenset[str],
    reason: str,
    steps: Sequence[StepTime],
    lowered: Graph,
) -> OurStep:
    kernels: dict[str, float] = {}
    for step in steps:
        found = _KERNEL.search(step.line)
        name = found[1] if found else ""
        kernels[name] = kernels.get(name, 0.0) + step.seconds
    operands = dict.fromkeys(lowered.node(report.node).operands)
    constants = sum(v.array.nbytes for v in operands if v is not None and v.array is not None)
    spread = sum(step.spread for step in steps)
    return OurStep(report, nodes, sum(kernels.values()), reason, spread, kernels, constants)


def _with_reasons(report: Report) -> list[tuple[NodeReport, str]]:
    """Each node with what the report says about its speed: its note, and the remarks."""
    remarks: dict[str, list[str]] = {}
    for remark in report.remarks:
        if remark.rule in NO_REASONS:
            continue
        remarks.setdefault(remark.node, []).append(f"{remark.rule}: {remark.condition}")
    texts = {n.node: [n.note] if n.note else [] for n in report.nodes}
    return [
        (n, "; ".join(dict.fromkeys((*texts[n.node], *remarks.get(n.node, ())))))
        for n in report.nodes
    ]


def originals(graph: Graph, pipeline: str) -> dict[str, frozenset[str]]:
    """For each node of the lowered graph, the names of the nodes of `graph` that it is made of.

    What only changes a layout is made of none: else a Pack that took away the Unpack before it
    would make a layer of all that lies between.
    """
    return _originals(graph, _lowered(graph, pipeline))


def _lowered(graph: Graph, pipeline: str) -> Graph:
    """With a provenance that begins here."""
    plain = graph.copy()
    plain.provenance = Provenance()
    return lower(plain, pipeline)


def _originals(graph: Graph, lowered: Graph) -> dict[str, frozenset[str]]:
    names = frozenset(n.name for n in graph)
    made: dict[int, frozenset[str]] = {}
    for record in lowered.provenance:
        sources = [_sources(ref, made, names) for ref in record.old if _computes(ref)]
        for ref in record.new:
            if _computes(ref) and sources:
                made[ref.uid] = _sources(ref, made, names).union(*sources)
    refs = {n.name: Ref(n.uid, "node", n.name, n.op.name) for n in lowered}
    return {
        name: _sources(ref, made, names) if _computes(ref) else frozenset()
        for name, ref in refs.items()
    }


def _computes(ref: Ref) -> bool:
    return ref.kind == "node" and ref.op not in LAYOUT_OPS


def _sources(ref: Ref, made: Mapping[int, frozenset[str]], names: frozenset[str]) -> frozenset[str]:
    return made.get(ref.uid, frozenset([ref.name]) & names)


def matched(
    graph: Graph,
    ours: Sequence[OurStep],
    theirs: Sequence[PeerStep],
    limits: Limits = ANY_MACHINE,
) -> tuple[Layer, ...]:
    """The layers in the order of our steps, then what only onnxruntime runs, then the layouts.

    A layer is the smallest set of steps and kernels that computes the same nodes on both sides.
    One that is slower than onnxruntime's has its reasons.
    """
    flops = {n.name: 2 * _static(node_cost(n).macs) for n in graph}
    groups = _groups([s for s in ours if s.nodes], [t for t in theirs if t.nodes])
    layers = [_layer(g, flops, limits) for g in groups if g.ours and (g.theirs or _takes_time(g))]
    layers += [_layer(g, flops, limits) for g in groups if not g.ours]
    added = _Group([s for s in ours if not s.nodes], [t for t in theirs if not t.nodes])
    if added.theirs or _takes_time(added):
        layers.append(replace(_layer(added, flops, limits), name=LAYOUT))
    return tuple(layers)


def _takes_time(group: _Group) -> bool:
    """Whether a step of ours in a group takes any time: a view does not."""
    return any(step.seconds for step in group.ours)


def _static(size: Dim) -> int:
    return size if isinstance(size, int) else 0


def _groups(ours: Sequence[OurStep], theirs: Sequence[PeerStep]) -> list[_Group]:
    """Connected components of steps and nodes, in the order of their first step."""
    links: nx.Graph[object] = nx.Graph()
    steps: list[OurStep | PeerStep] = [*ours, *theirs]
    for number, step in enumerate(steps):
        links.add_node(number)
        links.add_edges_from((number, name) for name in step.nodes)
    group_of: dict[int, _Group] = {}
    for component in nx.connected_components(links):
        group = _Group()
        group_of.update((n, group) for n in component if isinstance(n, int))
    for number, step in enumerate(steps):
        if isinstance(step, OurStep):
            group_of[number].ours.append(step)
        else:
            group_of[number].theirs.append(step)
    return list({id(g): g for _, g in sorted(group_of.items())}.values())


def _layer(group: _Group, flops: Mapping[str, int], limits: Limits) -> Layer:
    steps: list[OurStep | PeerStep] = [*group.ours, *group.theirs]
    nodes = {n for step in steps for n in step.nodes}
    seconds = sum(s.seconds for s in group.ours) if group.ours else None
    theirs = sum(t.seconds for t in group.theirs) if group.theirs else None
    total = sum(flops.get(n, 0) for n in nodes)
    if not group.ours:
        op = "+".join(dict.fromkeys(t.op for t in group.theirs))
        return Layer(min(nodes, default=LAYOUT), op, "", len(nodes), total, None, theirs)
    heaviest = max(group.ours, key=lambda s: s.seconds).report
    kernels = "+".join(dict.fromkeys(s.report.kernel for s in group.ours if s.seconds))
    ops = "+".join(dict.fromkeys(s.report.op for s in group.ours))
    layer = Layer(heaviest.node, ops, kernels, len(nodes), total, seconds, theirs)
    if layer.is_slower:
        return replace(layer, reason=explain(group.ours, group.theirs, total, limits))
    return replace(layer, reason="; ".join(dict.fromkeys(s.reason for s in group.ours if s.reason)))
