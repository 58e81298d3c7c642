"""`irconv opt`: run passes on a model and look at what each one did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from irconv.commands import console
from irconv.commands.options import (
    Batch,
    FromStage,
    Json,
    Model,
    RandomWeights,
    Seed,
    read_model,
    resumed,
)
from irconv.commands.viewer_files import Dot, ModelExplorer, ViewerFiles
from irconv.errors import ParseError, PipelineError, UsageError, printable
from irconv.graph import Graph
from irconv.inspector.dump import dump_stage
from irconv.inspector.pass_table import delta_lines, pass_table, time_lines
from irconv.inspector.trace import Trace, TracedPass, trace
from irconv.ir_files import save_ir
from irconv.listing import write
from irconv.pipeline import parse_pipeline
from irconv.text import parse


@dataclass
class Show:
    """What is shown after each pass."""

    print_after_change: bool
    verify_each: bool
    provenance: bool
    dump: Path | None
    to_stderr: bool
    first: int = 0  # the stage that the passes begin at

    def __call__(self, traced: TracedPass) -> None:
        after = traced.stage.after
        if self.verify_each:
            _check_text(after, traced.name)
            console.note(f"verified after {traced.name}: {len(after)} nodes, listing reads back")
        if self.print_after_change and traced.stage.changed:
            self.say(f"// after {traced.name}\n{write(after, self.provenance)}\n")
        if self.dump is not None:
            name = traced.stage.pass_.name
            index = self.first + traced.index
            path = dump_stage(self.dump, index, name, after, provenance=self.provenance)
            console.note(f"wrote {path}")

    def say(self, text: str) -> None:
        """On stdout, unless that holds a listing or JSON."""
        if self.to_stderr:
            console.note(text)
        else:
            console.result(text)


def opt(
    model: Model,
    pipeline: Annotated[
        str, typer.Option("--pipeline", "-p", help="The passes, as text: fold,fuse,im2col.")
    ] = "",
    output: Annotated[
        str | None,
        typer.Option("-o", "--output", help="Write the result to this .ir file; - for stdout."),
    ] = None,
    print_after_change: Annotated[
        bool, typer.Option("--print-after-change", help="The listing after each pass that changed.")
    ] = False,
    verify_each: Annotated[
        bool, typer.Option("--verify-each", help="Check graph and listing after each pass.")
    ] = False,
    time_passes: Annotated[
        bool, typer.Option("--time-passes", help="The time of each pass, the slowest first.")
    ] = False,
    check_numerics: Annotated[
        bool,
        typer.Option(
            "--check-numerics",
            help="Run before and after each pass in float64; exact passes on integers, bit by bit.",
        ),
    ] = False,
    remarks: Annotated[
        bool, typer.Option("--remarks", help="What rules looked at and declined, and why.")
    ] = False,
    dump_stages: Annotated[
        Path | None,
        typer.Option(
            "--dump-stages", metavar="DIR", help="Write every stage as a numbered .ir file."
        ),
    ] = None,
    from_stage: FromStage = None,
    provenance: Annotated[
        bool, typer.Option("--provenance", help="In listings, what each node was made from.")
    ] = False,
    dot: Dot = None,
    model_explorer: ModelExplorer = None,
    batch: Batch = None,
    random_weights: RandomWeights = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Run passes on a model: the listing, and a table of what each pass did.

    With -o - only the listing goes to stdout; with --json only JSON does; with --dot - only DOT.
    With --from-stage MODEL is not read.
    """
    passes = parse_pipeline(pipeline)
    if output is not None and output != "-" and Path(output).suffix != ".ir":
        raise PipelineError("wrong --output", expected="a path that ends in .ir, or -", got=output)
    viewers = ViewerFiles(dot, model_explorer)
    viewers.check()
    if viewers.to_stdout and (json or output == "-"):
        raise UsageError("only one result can go to stdout", hint="name a file for the others")
    if from_stage is None:
        graph = read_model(model, batch, random_weights)
    else:
        graph, passes = resumed(dump_stages, from_stage, passes)
    listing_only = output == "-"
    aside = listing_only or json or viewers.to_stdout
    show = Show(print_after_change, verify_each, provenance, dump_stages, aside)
    show.first = from_stage or 0
    if dump_stages is not None and from_stage is None:
        console.note(f"wrote {dump_stage(dump_stages, 0, 'source', graph)}")
    traced = trace(graph, passes, numerics=check_numerics, seed=seed, watch=show)
    _save(traced, output, provenance)
    viewers.write(traced)
    if json:
        console.result_json(traced.to_json())
    elif listing_only:
        console.result(write(traced.result, provenance))
        _table(traced, to_stderr=True)
    elif viewers.to_stdout:
        _table(traced, to_stderr=True)
    else:
        if output is None and not print_after_change and not viewers.any:
            console.result(write(traced.result, provenance) + "\n")
        _table(traced, to_stderr=False)
    _remarks(traced.passes if remarks else (), show)
    if time_passes:
        show.say("\n".join(["", *time_lines(traced)]))
    _judge(traced)


def _save(traced: Trace, output: str | None, provenance: bool) -> None:
    if output is not None and output != "-":
        save_ir(traced.result, output, provenance=provenance)
        console.note(f"wrote {output}")


def _table(traced: Trace, to_stderr: bool) -> None:
    if not traced.passes:
        return
    if to_stderr:
        console.show_beside(pass_table(traced))
        return
    console.show(pass_table(traced))
    lines = delta_lines(traced)
    if lines:
        console.result("\n".join(["", *lines]))


def _remarks(passes: Sequence[TracedPass], show: Show) -> None:
    """What was declined, behind the listing: there it is seen, however long that is."""
    lines = [f"remark: {p.name}: {remark}" for p in passes for remark in p.stage.remarks]
    if lines:
        show.say("\n".join(["", *lines]))


def _check_text(graph: Graph, name: str) -> None:
    arrays = {v.digest: v.array for v in graph.parameters.values() if v.array is not None}
    if parse(str(graph), arrays) != graph:
        raise ParseError("the listing does not read back as the same graph", where=f"after {name}")


def _judge(traced: Trace) -> None:
    """Ends with status 1 where a pass changed the numbers more than it may."""
    failed = [(p, p.numerics.failed) for p in traced.passes if p.numerics and p.numerics.failed]
    for traced_pass, what in failed:
        console.complain(f"error[numerics]: pass {traced_pass.name}: {printable(what, 400)}")
    for p in traced.passes:
        exact = p.numerics.exact if p.numerics else None
        if exact is not None and exact.void:
            console.note(f"note: nothing to compare bit by bit in pass {p.name}")
    if failed:
        raise typer.Exit(1)
