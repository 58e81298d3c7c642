"""Every stage of a lowering: what each pass did to the graph, its cost and its numbers."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from irconv.backend import Options, Precision
from irconv.errors import printable
from irconv.executable import available_cores
from irconv.export import DEFAULT_OPSET
from irconv.graph import Graph
from irconv.inspector.diff import Diff, diff, joined_links
from irconv.inspector.document import document
from irconv.inspector.html import save_html
from irconv.inspector.later import LaterStage
from irconv.inspector.layer_pages import layer_pages
from irconv.inspector.lines import shown_node
from irconv.inspector.links import Link, links
from irconv.inspector.numerics import Numerics, Watcher
from irconv.inspector.onnx_stages import onnx_stages
from irconv.inspector.pass_table import table_text
from irconv.inspector.program_stage import program_stage
from irconv.inspector.samples import seeded_inputs
from irconv.inspector.stages import ShownStage, shown_stage
from irconv.inspector.totals import Totals
from irconv.pipeline import Pipeline, Stage, lower, pipeline_text
from irconv.types import Array


@dataclass(frozen=True)
class TracedPass:
    """One pass: its stage, the totals before and after it, its numerics if they were checked."""

    index: int
    stage: Stage
    before: Totals
    after: Totals
    numerics: Numerics | None = None

    @property
    def name(self) -> str:
        """The pass as pipeline text."""
        return str(self.stage.pass_)

    @property
    def matches(self) -> int:
        """The number of rewrites."""
        return self.stage.fired.total()

    @property
    def delta(self) -> dict[str, int]:
        """How many nodes of each op came (positive) or went (negative), by name."""
        names = sorted({*self.before.ops, *self.after.ops})
        change = {n: self.after.ops[n] - self.before.ops[n] for n in names}
        return {n: count for n, count in change.items() if count}

    def to_json(self) -> dict[str, Any]:
        """Plain data for `json.dumps`."""
        data: dict[str, Any] = {
            "index": self.index,
            "pass": self.name,
            "changed": self.stage.changed,
            "matches": self.matches,
            "rules": dict(self.stage.fired),
            "ops": dict(self.after.ops),
            "delta": self.delta,
            "macs": [self.before.macs, self.after.macs],
            "bytes": [self.before.bytes, self.after.bytes],
            "parameter_bytes": [self.before.parameter_bytes, self.after.parameter_bytes],
            "seconds": self.stage.seconds,
            "remarks": [
                {"rule": r.rule, "node": r.node, "condition": r.condition}
                for r in self.stage.remarks
            ],
        }
        return data | ({"numerics": _numerics_json(self.numerics)} if self.numerics else {})


def _numerics_json(numerics: Numerics) -> dict[str, Any]:
    exact = numerics.exact
    return {
        "error": numerics.error,
        "error_from_source": numerics.from_source,
        "failed": numerics.failed,
        "exact": None
        if exact is None
        else {
            "holds": exact.holds,
            "void": exact.void,
            "compared": exact.compared,
            "differing": list(exact.differing),
            "largest": exact.largest,
        },
    }


@dataclass(frozen=True)
class Trace:
    """A lowering with all its stages. `later`: those behind the passes.

    `inputs`, where the error was measured, and `references`: the outputs in float64, of the result
    and of the source.
    """

    source: Graph
    pipeline: str
    passes: tuple[TracedPass, ...]
    later: tuple[LaterStage, ...] = ()
    inputs: Mapping[str, Array] | None = field(default=None, repr=False, compare=False)
    references: tuple[Mapping[str, Array], ...] = field(default=(), repr=False, compare=False)

    @property
    def result(self) -> Graph:
        """The graph after the last pass."""
        return self.passes[-1].stage.after if self.passes else self.source

    @property
    def stages(self) -> tuple[Graph, ...]:
        """The source, then the graph after each pass."""
        return (self.source, *(p.stage.after for p in self.passes))

    @cached_property
    def shown(self) -> tuple[ShownStage, ...]:
        """How each stage is shown, node by node."""
        passes = (shown_stage(p.stage.after, "pass", p.name) for p in self.passes)
        return (shown_stage(self.source), *passes, *(s.shown for s in self.later))

    @cached_property
    def links(self) -> tuple[tuple[Link, ...], ...]:
        """Which nodes became which, from each stage to the next."""
        stages = (p.stage for p in self.passes)
        found = (links(s.before, s.after, s.records) for s in stages)
        return (*found, *(s.links for s in self.later))

    def with_program(
        self,
        backend: str = "numba_cpu",
        precision: Precision = "fast",
        threads: int | None = None,
    ) -> Trace:
        """This trace with one stage more: the program that `backend` makes of the result.

        Call it before `with_export`. Raises BackendError.
        """
        options = Options(precision, threads or available_cores())
        stage = program_stage(self.result, backend, options, self.inputs, self.references)
        return replace(self, later=(*self.later, stage))

    def with_export(self, opset: int = DEFAULT_OPSET, onnxruntime: bool = True) -> Trace:
        """This trace with the exported graph, and the one that onnxruntime makes of it.

        Raises ExportError.
        """
        nodes = (node.id for stage in self.shown for node in stage.nodes)
        parameters = (p.id for stage in self.shown for p in stage.parameters)
        stages = onnx_stages(
            self.result,
            opset,
            optimised=onnxruntime,
            first_id=1 + max((*nodes, *parameters), default=0),
            inputs=self.inputs,
            references=self.references,
        )
        return replace(self, later=(*self.later, *stages))

    def diff(self, first: int, last: int) -> Diff:
        """What differs between two stages, by number; 0 is the source, -1 the last."""
        count = len(self.shown)
        a, b = (index + count if index < 0 else index for index in (first, last))
        joined = joined_links(self.shown, self.links, min(a, b), max(a, b))
        if a > b:
            joined = tuple((new, old) for old, new in joined)
        return diff(self.shown[a], self.shown[b], joined)

    def save_html(self, path: str | os.PathLike[str], layers: Sequence[str] | None = None) -> Path:
        """Writes the report, one HTML file that needs no network; gives its path.

        `layers`: the convolutions of the source that are drawn, `["all"]` for every one; by default
        some of each kind. Raises UsageError where a name is not that of a convolution.
        """
        return save_html(document(self) | {"layers": layer_pages(self.source, layers)}, path)

    def __str__(self) -> str:
        """The graph's name and the pipeline, then the table of passes as plain text."""
        head = f"{printable(self.source.name)}: {self.pipeline or '(no passes)'}"
        return f"{head}\n\n{table_text(self)}" if self.passes else head

    def to_json(self) -> dict[str, Any]:
        """Plain data for `json.dumps`: what the passes did, without weights."""
        return {
            "graph": self.source.name,
            "pipeline": self.pipeline,
            "nodes": [len(g) for g in self.stages],
            "passes": [p.to_json() for p in self.passes],
        }


def trace(
    graph: Graph,
    pipeline: Pipeline,
    inputs: Mapping[str, Array] | None = None,
    *,
    numerics: bool = False,
    seed: int = 0,
    watch: Callable[[TracedPass], None] | None = None,
    backend: str | None = None,
    precision: Precision = "fast",
    threads: int | None = None,
    export: bool = False,
) -> Trace:
    """Lowers `graph` and keeps every stage.

    With `inputs` (arrays by name), or with `numerics=True` (random ones from `seed`), the error of
    each pass is measured. `watch` is called after each pass. With `backend`, the program that it
    makes of the result is a stage too; with `export`, so are the ONNX graph and the one that
    onnxruntime makes of it. Weights are shared between all stages. Raises what `lower` raises,
    BackendError, ExportError.
    """
    done: list[TracedPass] = []
    totals = [Totals.of(graph)]
    watcher = None
    if inputs is not None or numerics:
        watcher = Watcher(graph, inputs if inputs is not None else seeded_inputs(graph, seed), seed)

    def hook(stage: Stage) -> None:
        totals.append(Totals.of(stage.after))
        numbers = watcher.look(stage) if watcher is not None else None
        done.append(TracedPass(len(done) + 1, stage, totals[-2], totals[-1], numbers))
        if watch is not None:
            watch(done[-1])

    lower(graph, pipeline, hook, shown_node)
    found = Trace(graph, pipeline_text(pipeline), tuple(done))
    if watcher is not None:
        ends = (watcher.previous, watcher.source)
        found = replace(found, inputs=watcher.inputs, references=ends)
    if backend is not None:
        found = found.with_program(backend, precision, threads)
    return found.with_export() if export else found
