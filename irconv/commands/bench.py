"""`irconv bench`: our speed and memory beside onnxruntime's and OpenVINO's, in one run."""

from __future__ import annotations

import datetime as dt
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from irconv import __version__
from irconv.backend import find_backend
from irconv.bench.campaign import Request, expanded, peaks, run_campaign
from irconv.bench.measure import RUNS_A_TURN
from irconv.bench.rows import Comparison, Results
from irconv.commands import console
from irconv.commands.bench_files import Outputs
from irconv.commands.bench_forms import bench_forms
from irconv.commands.bench_options import numbers_of, peers_of, precisions_of, words_of
from irconv.commands.bench_tables import print_comparison, print_summary
from irconv.commands.doctor import cpu_facts, versions
from irconv.commands.options import Backend, Seed
from irconv.errors import UsageError, printable
from irconv.executable import THREADS_LIMIT
from irconv.inspector.numerics import TOLERANCE
from irconv.pipeline import pipeline_text

PACKAGES = ("numpy", "numba", "llvmlite", "onnx", "onnxruntime", "openvino")


def bench(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL",
            help="Paths, zoo:NAME, light:NAME, zoo:all, light:all; layers with --forms.",
        ),
    ] = None,
    light: Annotated[bool, typer.Option("--light", help="The same as light:all.")] = False,
    forms: Annotated[
        bool,
        typer.Option(
            "--forms", help="One layer as direct, im2col, tap and literal form beside the machine."
        ),
    ] = False,
    against: Annotated[
        list[str] | None,
        typer.Option(help="onnxruntime, openvino or none; default: all that are installed."),
    ] = None,
    backend: Backend = "numba_cpu",
    pipeline: Annotated[
        list[str] | None,
        typer.Option(
            "--pipeline", "-p", help="May be given several times; default: the backend's."
        ),
    ] = None,
    precision: Annotated[
        str, typer.Option(help="strict (no Winograd), fast, or both: strict,fast.")
    ] = "fast",
    threads: Annotated[
        str, typer.Option("--threads", "-t", help="One number or several: 1,2.")
    ] = "1",
    batch: Annotated[
        str | None, typer.Option(help="One batch size or several: 1,8; default: the model's.")
    ] = None,
    random_weights: Annotated[
        int,
        typer.Option("--random-weights", metavar="SEED", min=0, help="Of light and zoo models."),
    ] = 0,
    runs: Annotated[int, typer.Option(min=1, help="Timed runs of each engine.")] = 20,
    memory: Annotated[
        bool, typer.Option(help="Measure compile time and memory in processes of their own.")
    ] = True,
    layers: Annotated[
        bool, typer.Option("--layers", help="Time each layer, beside onnxruntime's profile.")
    ] = False,
    tune: Annotated[
        bool, typer.Option("--tune", help="Ours chooses algorithms by measuring them.")
    ] = False,
    seed: Seed = 0,
    json: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write all figures as JSON; - is stdout.")
    ] = None,
    markdown_file: Annotated[
        Path | None, typer.Option("--markdown", metavar="FILE", help="Write a page of tables.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.svg", help="Draw the speeds as bars.")
    ] = None,
) -> None:
    """Measure models beside other engines: medians, ratios, layers, compile time, memory.

    All engines take turns in one process, with a pause and an untimed run at each turn, on fresh
    random inputs. Memory is what a fresh process holds above its imports while it runs.
    """
    find_backend(backend)
    if forms:
        counts = tuple(numbers_of("--threads", threads, THREADS_LIMIT))
        given = [*(models or ()), "--threads", threads, "--runs", str(runs)]
        facts = _facts(shlex.join(["irconv", "bench", "--forms", *given]))
        turns = -(-runs // RUNS_A_TURN)
        bench_forms(models or (), backend, counts, turns, facts, json, markdown_file)
        return
    named = [*(models or ()), *(["light:all"] if light else [])]
    request = Request(
        expanded(named),
        peers_of(against),
        tuple(pipeline_text(p) for p in pipeline or ()) or (None,),
        precisions_of(precision),
        backend,
        tuple(numbers_of("--threads", threads, THREADS_LIMIT)),
        tuple(numbers_of("--batch", batch, None)) if batch else (None,),
        random_weights,
        runs,
        memory,
        layers,
        tune,
        seed,
    )
    if not request.models:
        raise UsageError("no model", hint="irconv bench zoo:resnet50, or --light for all nine")
    outputs = Outputs(json, markdown_file, plot)
    outputs.check()
    command = shlex.join(["irconv", "bench", *words_of(named, request, outputs.options())])
    results = _measured(request, _facts(command), quiet=json == "-", outputs=outputs)
    outputs.write(results)
    if json != "-":
        print_summary(results)
    _warn(results)
    _judge(results)


def _measured(request: Request, facts: dict[str, Any], quiet: bool, outputs: Outputs) -> Results:
    """All comparisons, each printed as it is done. Interrupted, the JSON has what there is."""
    peak: dict[int, float] = {}
    done: list[Comparison] = []
    try:
        for comparison in run_campaign(request, console.note):
            done.append(comparison)
            # again and again: another process may have had the core for a while
            for threads, found in peaks(request).items():
                peak[threads] = max(found, peak.get(threads, 0.0))
            if not quiet:
                print_comparison(comparison, peak.get(comparison.threads))
    except KeyboardInterrupt:
        if done and outputs.json not in (None, "-"):
            partial = Results(facts, tuple(done), peak, complete=False)
            Outputs(outputs.json, None, None).write(partial)
        raise
    return Results(facts, tuple(done), peak)


def _facts(command: str) -> dict[str, Any]:
    return {
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "irconv": __version__,
        "versions": {n: v for n, v in versions().items() if n in PACKAGES and v},
        "cpu": cpu_facts(),
        "command": command,
    }


def _warn(results: Results) -> None:
    """Times on such data say little."""
    for model, data in {c.model: c.data for c in results.comparisons if c.data}.items():
        for count, what in ((data.denormals, "denormal"), (data.not_finite, "not finite")):
            if count:
                console.complain(f"warning: {printable(model)}: {count} numbers are {what}")


def _judge(results: Results) -> None:
    """A time of a wrong result is no time, and ours must run everything: else status 1."""
    rows = [(c, r) for c in results.comparisons for r in c.rows]
    wrong = [(c, r) for c, r in rows if r.error is not None and not r.error <= TOLERANCE]
    for comparison, row in wrong:
        console.complain(
            f"error[numerics]: {printable(comparison.model)}: {row.name} differs from the peer by "
            f"{row.error:.1e} of the largest output, more than {TOLERANCE:g}"
        )
    failed = [(c, r) for c, r in rows if r.is_ours and r.failed]
    for comparison, row in failed:
        console.complain(
            f"error[backend]: {printable(comparison.model)}: {row.name} failed: {row.failed}"
        )
    if wrong or failed:
        raise typer.Exit(1)
