"""`irconv bisect`: find the pass and the rewrite that break a graph, and make it small."""

from __future__ import annotations

import math
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from irconv.bench.peers import run_peer
from irconv.commands import console
from irconv.commands.options import Batch, Json, RandomWeights, Seed, batch_size, read_model
from irconv.errors import UsageError, printable
from irconv.graph import Graph
from irconv.inspector.bisect import Bisection, Finding
from irconv.inspector.bisect import bisect as bisect_graph
from irconv.inspector.numerics import TOLERANCE
from irconv.inspector.reproducer import (
    Reproducer,
    check_free,
    fresh_folder,
    replay,
    rewrite_text,
    save_finding,
)
from irconv.inspector.samples import seeded_inputs
from irconv.pipeline import parse_pipeline, pipeline_text
from irconv.registry import plugin_files

REFERENCES = ("interpret", "onnxruntime")


def bisect(
    model: Annotated[
        str | None,
        typer.Argument(metavar="MODEL", help="A path (.onnx, .ir), zoo:NAME or light:NAME."),
    ] = None,
    pipeline: Annotated[
        str, typer.Option("--pipeline", "-p", help="The passes, as text: fold,fuse,im2col.")
    ] = "",
    against: Annotated[
        str, typer.Option(help="The reference: interpret, or onnxruntime on the model itself.")
    ] = "interpret",
    tolerance: Annotated[
        float,
        typer.Option(help="The largest error of an output, relative to its largest number."),
    ] = TOLERANCE,
    seed: Seed = 0,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FOLDER", help="Write the reproducer here."),
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=0, help="At most so long is spent on making the graph small.")
    ] = 20.0,
    replay_folder: Annotated[
        Path | None,
        typer.Option("--replay", metavar="FOLDER", help="Replay a reproducer; no MODEL then."),
    ] = None,
    batch: Batch = None,
    random_weights: RandomWeights = None,
    json: Json = False,
) -> None:
    """Find the first pass, then the first rewrite, that breaks a graph; write a small reproducer.

    A pass breaks it by raising, by a graph that does not verify, or by moving an output more than
    the tolerance. Status 1 where a fault is found (or, with --replay, is still there), else 0.
    """
    if replay_folder is not None:
        _replay(replay_folder, json)
        return
    if model is None or not pipeline:
        raise UsageError("a MODEL and a --pipeline are needed", hint="or --replay FOLDER")
    _check(against, tolerance, output)
    passes = parse_pipeline(pipeline)
    graph = read_model(model, batch, random_weights)
    inputs = seeded_inputs(graph, seed)
    expected = None
    if against == "onnxruntime":
        size = batch_size(batch)
        expected = run_peer(against, model, graph, inputs, random_weights, size)
    found = bisect_graph(
        graph, passes, inputs, tolerance=tolerance, seed=seed, expected=expected, watch=console.note
    )
    reproducer = None
    if found.finding is not None:
        words = ["irconv", "bisect", model, "-p", pipeline_text(passes), "--against", against]
        words += ["--tolerance", f"{tolerance:g}", "--seed", str(seed)]
        words += ["--batch", batch] if batch is not None else []
        words += ["--random-weights", str(random_weights)] if random_weights is not None else []
        words += [word for file in plugin_files() for word in ("--plugin", str(file))]
        folder = output or fresh_folder(Path(), f"reproducer-{found.finding.pass_.name}")
        console.note("making it small")
        reproducer = save_finding(
            found.finding, folder, seed=seed, origin=shlex.join(words), seconds=seconds
        )
    if json:
        console.result_json(_json(found, reproducer))
    else:
        _tell(graph, found, reproducer)
    _judge(found)


def _check(against: str, tolerance: float, output: Path | None) -> None:
    """Refuses what would come to nothing before the work begins."""
    if against not in REFERENCES:
        raise UsageError(
            "unknown reference", expected=" or ".join(REFERENCES), got=printable(against)
        )
    if not 0 <= tolerance < math.inf:
        raise UsageError("wrong --tolerance", expected="a number from 0", got=tolerance)
    if output is not None:
        check_free(output)


def _tell(graph: Graph, found: Bisection, reproducer: Reproducer | None) -> None:
    table = console.table("pass", "error", right=["error"])
    for name, error in found.errors:
        table.add_row(console.name(name), "" if math.isnan(error) else f"{error:.1e}")
    console.show(table)
    finding = found.finding
    if finding is None or reproducer is None:
        console.result(f"no pass moves an output by more than {found.tolerance:g}")
        return
    console.result("")
    for line in finding_lines(finding, reproducer):
        console.result(line)


def finding_lines(finding: Finding, reproducer: Reproducer) -> list[str]:
    """What was found, for a terminal."""
    error = finding.error_before
    before = f" ({error:.1e} before it)" if error is not None else ""
    graph = reproducer.case.graph
    inputs = ", ".join(f"%{printable(v.name)}: {v.type}" for v in graph.inputs)
    count = len(finding.whole.graph)
    small = f"shrunk from {count} nodes to {len(graph)}: {printable(inputs, 400)}"
    return [
        f"pass     {finding.index}: {finding.pass_}",
        f"rewrite  {rewrite_text(finding)}",
        f"fault    {printable(finding.fault.message, 1000)}{before}",
        f"graph    {small if reproducer.replays else f'not shrunk: {count} nodes'}",
        f"folder   {printable(reproducer.folder, 400)}",
        f"replay   {printable(reproducer.command, 1000)}",
    ]


def _json(found: Bisection, reproducer: Reproducer | None) -> dict[str, Any]:
    finding = found.finding
    data: dict[str, Any] = {
        "tolerance": found.tolerance,
        "moved": found.moved,
        "void": found.void,
        "errors": [{"pass": name, "error": error} for name, error in found.errors],
        "finding": None,
    }
    if finding is None or reproducer is None:
        return data
    return data | {
        "finding": {
            "index": finding.index,
            "pass": str(finding.pass_),
            "kind": finding.fault.kind,
            "message": finding.fault.message,
            "error": finding.fault.error,
            "error_before": finding.error_before,
            "rewrite": finding.rewrite,
            "rewrites": finding.rewrites,
            "rule": finding.rule,
            "source": finding.source,
            "node": finding.node,
            "nodes": [len(finding.whole.graph), len(reproducer.case.graph)],
            "folder": str(reproducer.folder),
            "replays": reproducer.replays,
            "command": reproducer.command,
        }
    }


def _judge(found: Bisection) -> None:
    if found.finding is not None:
        finding = found.finding
        where = f", rule {printable(finding.rule)}" if finding.rule else ""
        console.complain(f"error[bisect]: pass {finding.pass_}{where} is at fault")
        raise typer.Exit(1)
    if found.void:
        console.complain(
            f"error[numerics]: the check is void: a second input moves an output by "
            f"{found.moved:.1e} of its largest number, less than 100 tolerances"
        )
        raise typer.Exit(1)


def _replay(folder: Path, json: bool) -> None:
    reproducer, now = replay(folder)
    alike = now is not None and now.is_like(reproducer.fault, reproducer.rule)
    if json:
        told = None if now is None else {"kind": now.kind, "message": now.message}
        console.result_json({"pass": str(reproducer.case.pass_), "fails": alike, "fault": told})
    elif now is None:
        console.result(f"pass {reproducer.case.pass_}: the fault is gone")
    else:
        same = "as it did" if alike else "in another way"
        text = printable(now.message, 1000)
        console.result(f"pass {reproducer.case.pass_} fails {same}: {text}")
    if now is not None:
        raise typer.Exit(1)
