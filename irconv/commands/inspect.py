"""`irconv inspect`: one HTML file that shows what each pass did to a model."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated

import typer

from irconv.backend import Options, default_pipeline, find_backend
from irconv.commands import console
from irconv.commands.input_files import InputFiles, read_inputs
from irconv.commands.live import MemoryLimit, Port, Serve, TimeLimit, Words
from irconv.commands.live import serve as serve_live
from irconv.commands.options import (
    Backend,
    Batch,
    Json,
    Model,
    Pipeline,
    PrecisionClass,
    RandomWeights,
    Seed,
    read_model,
)
from irconv.errors import BackendError, BudgetError, ExportError, UsageError, printable
from irconv.graph import Graph
from irconv.inspector.document import document
from irconv.inspector.html import save_html
from irconv.inspector.layer_pages import layer_pages
from irconv.inspector.live.worker import Limits, Shows
from irconv.inspector.trace import Trace, trace
from irconv.pipeline import parse_pipeline, pipeline_text
from irconv.specialize import specialize


def inspect(
    model: Model,
    pipeline: Pipeline = None,
    backend: Backend = "numba_cpu",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write the report to this .html file.")
    ] = None,
    precision: PrecisionClass = "fast",
    input_files: InputFiles = None,
    numerics: Annotated[
        bool,
        typer.Option(
            "--numerics", help="Measure the error of each pass; exact ones on integers, bit by bit."
        ),
    ] = False,
    program: Annotated[
        bool, typer.Option(help="Show the program of --backend as a stage, with its kernels.")
    ] = True,
    export: Annotated[
        bool, typer.Option(help="Show the exported ONNX graph, and what onnxruntime makes of it.")
    ] = True,
    with_llvm: Annotated[
        bool, typer.Option("--with-llvm", help="The LLVM IR of the kernels too.")
    ] = False,
    with_asm: Annotated[
        bool, typer.Option("--with-asm", help="The assembly of the kernels too.")
    ] = False,
    layers: Annotated[
        list[str] | None,
        typer.Option("--layers", metavar="NAME", help="Draw this layer, or all; else ten of them."),
    ] = None,
    batch: Batch = None,
    random_weights: RandomWeights = None,
    seed: Seed = 0,
    json: Json = False,
    serve: Serve = False,
    port: Port = 0,
    time_limit: TimeLimit = Limits.seconds,
    memory_limit: MemoryLimit = Limits.memory >> 20,
) -> None:
    """Write a report of what each pass did: one HTML file that needs no network and no server.

    Without --pipeline it is the default pipeline of --backend. A batch that the model leaves open
    is taken as 1 where neither --batch nor --input says another. With --json the document that the
    page draws goes to stdout (docs/report-schema.md). With --serve the passes are edited in the
    page, at an address on this machine that is printed.
    """
    _check_targets(output, json, serve)
    if pipeline is None:
        pipeline = default_pipeline(find_backend(backend), Options(precision))
    passes = parse_pipeline(pipeline)
    graph = read_model(model, batch, random_weights)
    graph = _of_known_batch(graph, batch, input_files)
    if serve:
        words = Words(model, batch, random_weights, seed, backend)
        limits = Limits(time_limit, memory_limit << 20)
        shows = Shows(numerics=numerics, assembly=with_llvm or with_asm)
        serve_live(graph, pipeline_text(passes), words, shows=shows, port=port, limits=limits)
        return
    options = {
        "--backend": backend if backend != "numba_cpu" else None,
        "--precision": precision if precision != "fast" else None,
        "--numerics": numerics or None,
        "--no-program": not program or None,
        "--no-export": not export or None,
        "--with-llvm": with_llvm or None,
        "--with-asm": with_asm or None,
        "--seed": seed or None,
        "--input": input_files,
        "--layers": layers,
        "--batch": batch,
        "--random-weights": random_weights,
    }
    command = _command(
        model, pipeline_text(passes), [(k, v) for k, v in options.items() if v is not None]
    )
    inputs = read_inputs(graph, input_files or (), seed) if numerics or input_files else None
    traced = trace(graph, passes, inputs, seed=seed)
    if program:
        traced = _tried("program", lambda t: t.with_program(backend, precision), traced)
    if export:
        traced = _tried("exported graph", lambda t: t.with_export(), traced)
    told = document(traced, command, llvm=with_llvm, assembly=with_asm)
    told |= {"layers": layer_pages(graph, layers, inputs if input_files else None)}
    if output is not None:
        save_html(told, output)
        console.note(f"wrote {printable(output)} ({output.stat().st_size / 1e6:.1f} MB)")
    if json:
        console.result_json(told)


def _check_targets(output: Path | None, json: bool, serve: bool) -> None:
    if serve and (output is not None or json):
        raise UsageError("--serve writes no file", hint="leave out -o and --json")
    if output is None and not json and not serve:
        raise UsageError("nowhere to write to", hint="-o report.html, --json or --serve")
    if output is not None and output.suffix not in (".html", ".htm"):
        raise UsageError(
            "wrong --output", expected="a path that ends in .html", got=printable(output)
        )
    if output is not None and not output.parent.is_dir():
        raise UsageError("no such folder", got=printable(output.parent))


def _of_known_batch(graph: Graph, batch: str | None, input_files: list[str] | None) -> Graph:
    """The graph with 1 for a batch that nothing tells: layouts are chosen for known sizes only."""
    firsts = {str(v.shape[0]) for v in graph.inputs if v.shape}
    names = [name for name in graph.symbols() if name in firsts]
    if not names or batch is not None or input_files:
        return graph
    shown = ", ".join(map(printable, names))
    console.note(f"{shown} taken as 1 (--batch {printable(names[0])} leaves it open)")
    return specialize(graph, dict.fromkeys(names, 1))


def _tried(what: str, step: Callable[[Trace], Trace], traced: Trace) -> Trace:
    """The trace with one stage more; where that cannot be made, the passes are shown without it."""
    try:
        return step(traced)
    except (BackendError, BudgetError, ExportError) as error:
        console.note(f"no {what} in the report: {printable(error, 400)}")
        return traced


def _command(model: str, pipeline: str, options: Iterable[tuple[str, object]]) -> str:
    """The command line that makes the same report again."""
    words = ["irconv", "inspect", model, "-p", pipeline]
    for name, value in options:
        given = value if isinstance(value, list) else [value]
        words += [word for x in given for word in ((name,) if x is True else (name, str(x)))]
    return printable(shlex.join([*words, "-o", "report.html"]), 4000)
