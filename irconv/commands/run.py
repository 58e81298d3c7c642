"""`irconv run`: compile a model and run it once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from irconv.bench.peers import PEERS, run_peer
from irconv.commands import console
from irconv.commands.input_files import InputFiles, read_inputs
from irconv.commands.options import (
    Backend,
    Batch,
    Json,
    Model,
    Pipeline,
    PrecisionClass,
    RandomWeights,
    Seed,
    Threads,
    Tune,
    read_model,
)
from irconv.errors import InputError, printable
from irconv.executable import compile as compile_graph
from irconv.graph import Graph
from irconv.inspector.numerics import TOLERANCE, relative_error
from irconv.interpret import interpret
from irconv.registry import nearest
from irconv.types import Array, type_of

TOP = 5
# an output of this many numbers a row or fewer is shown as numbers, more as its best classes
SHOWN = 4
# sums in another order differ by some 1e-7
EQUAL = 1e-5


def run(
    model: Model,
    backend: Backend = "numba_cpu",
    pipeline: Pipeline = None,
    precision: PrecisionClass = "fast",
    threads: Threads = None,
    tune: Tune = False,
    batch: Batch = None,
    random_weights: RandomWeights = None,
    input_files: InputFiles = None,
    seed: Seed = 0,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write the outputs to this .npz file.")
    ] = None,
    against: Annotated[
        str | None, typer.Option(help="Compare with this: interpret, onnxruntime or openvino.")
    ] = None,
    report: Annotated[bool, typer.Option("--report", help="Which kernel ran each node.")] = False,
    json: Json = False,
) -> None:
    """Compile a model, run it once, and tell its outputs.

    Inputs that are not given are random, the same for the same --seed.
    """
    known = ["interpret", *PEERS]
    if against is not None and against not in known:
        raise InputError("unknown reference", got=printable(against), hint=nearest(against, known))
    graph = read_model(model, batch, random_weights)
    inputs = read_inputs(graph, input_files or (), seed)
    executable = compile_graph(graph, backend, pipeline, precision, threads, tune)
    outputs = executable.run(inputs)
    error = None
    if against is not None:
        error = relative_error(outputs, _expected(against, model, graph, inputs, random_weights))
    if output is not None:
        _write(output, outputs)
    if json:
        facts = {"report": executable.report.to_json()} if report else {}
        console.result_json(_json(outputs, against, error) | facts)
    else:
        _print(outputs)
        if model.startswith("light:") and random_weights is None and _is_flat(outputs):
            console.note(
                "note: the best classes are equal: constant weights (try --random-weights 0)"
            )
        if report:
            console.show(executable.report.table())
            console.result(str(executable.report))
    if error is not None:
        _judge(against or "", error, json)


def _is_flat(outputs: Mapping[str, Array]) -> bool:
    """Whether the best classes are equal, as with the constant weights of light models."""
    rows = [found for a in outputs.values() if (found := class_rows(a)) is not None and a.size]
    best = [np.sort(r, axis=1)[:, -TOP:] for r in rows if np.isfinite(r).all()]
    return bool(best) and all((b[:, 0] >= b[:, -1] - EQUAL * np.abs(b[:, -1])).all() for b in best)


def _expected(
    against: str,
    model: str,
    graph: Graph,
    inputs: Mapping[str, Array],
    random_weights: int | None,
) -> dict[str, Array]:
    if against == "interpret":
        return interpret(graph, inputs)
    return run_peer(against, model, graph, inputs, random_weights)


def _write(output: Path, outputs: Mapping[str, Array]) -> None:
    # the names in the archive are ours: a model's names are no safe file names
    arrays = {f"output{i}": array for i, array in enumerate(outputs.values())}
    with output.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    for i, name in enumerate(outputs):
        console.note(f"wrote %{printable(name)} as output{i} of {output}")


def _print(outputs: Mapping[str, Array]) -> None:
    for name, array in outputs.items():
        console.result(f"%{printable(name)}: {type_of(array)}")
        for line in _summary(array):
            console.result(f"  {line}")


def _summary(array: Array) -> list[str]:
    if not array.size:
        return ["empty"]
    if array.size <= SHOWN:
        return [f"= {array.reshape(-1).tolist()}"]
    numbers = array.astype(np.float64) if array.dtype.kind != "c" else np.abs(array)
    facts = {f: getattr(numbers, f)() for f in ("min", "mean", "max", "std")}
    lines = ["  ".join(f"{name} {number:.6g}" for name, number in facts.items())]
    rows = class_rows(array)
    if rows is not None:
        shown = (_best(row) for row in rows[:SHOWN])
        lines += [f"top {TOP} of row {i}: {text}" for i, text in enumerate(shown)]
    return lines


def class_rows(array: Array) -> Array | None:
    """The array as [N, classes] where it looks like scores of classes, else None."""
    classes = array.shape[1] if array.ndim > 1 else 0
    if array.dtype.kind != "f" or classes <= TOP or array.size != len(array) * classes:
        return None
    return array.reshape(len(array), classes)


def _best(row: Array) -> str:
    order = np.argsort(-row, kind="stable")[:TOP]
    return ", ".join(f"{i} ({row[i]:.4g})" for i in order)


def _json(outputs: Mapping[str, Array], against: str | None, error: float | None) -> dict[str, Any]:
    told = []
    for name, array in outputs.items():
        rows = class_rows(array)
        best = None if rows is None else np.argsort(-rows, axis=1, kind="stable")[:, :TOP].tolist()
        finite = array.size and array.dtype.kind != "c"
        low, high = (float(array.min()), float(array.max())) if finite else (None, None)
        told.append(
            {
                "name": name,
                "type": str(type_of(array)),
                "shape": list(array.shape),
                "min": low,
                "max": high,
                "top": best,
            }
        )
    checked = {} if error is None else {"against": against, "error": error}
    return {"outputs": told, **checked}


def _judge(against: str, error: float, json: bool) -> None:
    """Tells the comparison; status 1 where it fails."""
    agrees = error <= TOLERANCE
    text = f"against {against}: largest difference {error:.1e} of the largest output"
    if not json:
        console.result(f"{text}: {'agrees' if agrees else 'DIFFERS'} (tolerance {TOLERANCE:g})")
    if not agrees:
        console.complain(f"error[numerics]: {text}, more than {TOLERANCE:g}")
        raise typer.Exit(1)
