"""`irconv bench`: our speed and memory beside onnxruntime's, in one interleaved run."""

from __future__ import annotations

import datetime as dt
import math
from typing import Annotated, Any

import typer
from rich.table import Table

from irconv import __version__
from irconv.bench.compare import Comparison, Plan, Row, compare
from irconv.bench.peers import PEERS
from irconv.commands import console
from irconv.commands.doctor import cpu_facts, versions
from irconv.commands.options import Backend, Json, PrecisionClass, Seed
from irconv.errors import BackendError, printable
from irconv.inspector.numerics import TOLERANCE
from irconv.pipeline import pipeline_text
from irconv.registry import nearest


def bench(
    models: Annotated[
        list[str], typer.Argument(metavar="MODEL...", help="Paths, zoo:NAME or light:NAME.")
    ],
    against: Annotated[
        list[str] | None, typer.Option(help="onnxruntime (the default), openvino or none.")
    ] = None,
    openvino: Annotated[bool, typer.Option("--openvino", help="OpenVINO too.")] = False,
    backend: Backend = "numba_cpu",
    pipeline: Annotated[
        list[str] | None,
        typer.Option(
            "--pipeline", "-p", help="May be given several times; default: the backend's."
        ),
    ] = None,
    precision: PrecisionClass = "fast",
    threads: Annotated[int, typer.Option("--threads", "-t", min=1)] = 1,
    batch: Annotated[int | None, typer.Option(min=1, help="The batch size.")] = None,
    random_weights: Annotated[
        int, typer.Option("--random-weights", metavar="SEED", help="Of light and zoo models.")
    ] = 0,
    runs: Annotated[int, typer.Option(min=1, help="Timed runs of each engine.")] = 20,
    memory: Annotated[
        bool, typer.Option(help="Measure compile time and memory in processes of their own.")
    ] = True,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Measure models beside other engines: medians, ratio, compile time, memory.

    All engines take turns in one process, with a pause and an untimed run at each turn. Memory is
    what a fresh process holds above its imports while it runs.
    """
    peers = _peers(against, openvino)
    texts = tuple(pipeline_text(p) for p in pipeline or ())
    facts = _facts(threads)
    done = []
    for model in models:
        plan = Plan(
            model,
            peers,
            texts or (None,),
            backend,
            precision,
            threads,
            batch,
            random_weights if model.partition(":")[0] in ("light", "zoo") else None,
            runs,
            memory,
            seed,
        )
        done.append(compare(plan, console.note))
        if not json:
            _print(done[-1])
    if json:
        console.result_json(facts | {"models": [c.to_json() for c in done]})
    else:
        _print_facts(facts, done)
    _judge(done)


def _peers(against: list[str] | None, openvino: bool) -> tuple[str, ...]:
    chosen = [p for p in (against or ["onnxruntime"]) if p != "none"]
    chosen += ["openvino"] if openvino else []
    for name in chosen:
        if name not in PEERS:
            hint = nearest(name, [*PEERS, "none"])
            raise BackendError("unknown engine", got=printable(name), hint=hint)
    return tuple(dict.fromkeys(chosen))


def _facts(threads: int) -> dict[str, Any]:
    kept = ("numpy", "numba", "llvmlite", "onnx", "onnxruntime", "openvino")
    return {
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "irconv": __version__,
        "versions": {n: v for n, v in versions().items() if n in kept and v},
        "cpu": cpu_facts(),
        "threads": threads,
    }


def _print(comparison: Comparison) -> None:
    shapes = ", ".join(f"{n} {t}" for n, t in comparison.inputs.items())
    console.result(f"{printable(comparison.model)}  ({printable(shapes, 400)})")
    console.show(_table(comparison))
    console.result("")


def _table(comparison: Comparison) -> Table:
    right = ("median ms", "IQR", "ratio", "diff", "cold s", "cached s", "MB")
    table = console.table("engine", *right, right=right)
    for row in comparison.rows:
        table.add_row(console.name(row.engine), *_cells(row))
    return table


def _cells(row: Row) -> list[str]:
    held = row.cached.resident if row.cached else None
    return [
        f"{row.timing.median * 1e3:.2f}",
        f"{row.timing.spread:.0%}",
        "" if row.ratio is None else f"{row.ratio:.2f}x",
        "" if row.error is None else f"{row.error:.0e}",
        "" if row.cold is None else f"{row.cold.compile_seconds:.2f}",
        "" if row.cached is None else f"{row.cached.compile_seconds:.2f}",
        "" if held is None else f"{held / 1e6:.0f}",
    ]


def _print_facts(facts: dict[str, Any], done: list[Comparison]) -> None:
    loads = [load for c in done for load in c.load]
    ratios = [r.ratio for c in done for r in c.rows if r.ratio and r.engine.startswith("irconv")]
    if len(done) > 1 and ratios:
        mean = math.exp(math.fsum(map(math.log, ratios)) / len(ratios))
        console.result(f"geometric mean of {len(ratios)} ratios: {mean:.2f}x")
    shown = ", ".join(f"{n} {v}" for n, v in facts["versions"].items())
    console.result(
        f"{facts['date']}, irconv {facts['irconv']}, {shown}\n{facts['cpu']['model']}, "
        f"{facts['cpu']['cores']} cores, {facts['threads']} threads used, "
        f"load {min(loads):.2f} to {max(loads):.2f}"
    )


def _judge(done: list[Comparison]) -> None:
    """A time of a wrong result is no time: status 1."""
    wrong = [
        (c.model, r) for c in done for r in c.rows if r.error is not None and r.error > TOLERANCE
    ]
    for model, row in wrong:
        console.complain(
            f"error[numerics]: {printable(model)}: {row.engine} differs from the peer by "
            f"{row.error:.1e} of the largest output, more than {TOLERANCE:g}"
        )
    if wrong:
        raise typer.Exit(1)
