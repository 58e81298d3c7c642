"""`irconv demo`: a trained network goes through the passes and comes out as lowered forms."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from irconv.commands import console
from irconv.commands.options import Json
from irconv.demo import FORMS, Demo, Score, export_forms, faults
from irconv.inspector.pass_table import delta_lines, pass_table
from irconv.inspector.trace import Trace

HEAD = "The network, zoo:digits, trained on handwritten digits of 8x8 pixels:"
ABOUT = {
    "fused": "convolution, bias, residual, activation and pool become one node",
    "im2col": "a convolution becomes its patch matrix and a matrix product",
    "conv matrix": "a convolution becomes one sparse matrix, its weights shared: by taps",
    "literal matrix": "the same matrix, every entry of it",
}


def demo(
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where the exported models go.")
    ] = Path("irconv-demo"),
    json: Json = False,
) -> None:
    """Lower a trained digit classifier to four forms, run each on every backend, export all.

    Ends with status 1 unless every form has the same accuracy, 98 % or more, on the held-out
    images.
    """
    start = time.perf_counter()
    console.note("loading the digit classifier and its 450 held-out images")
    shown = Demo()
    traces = shown.lowered()
    if not json:
        _print_graph(shown)
        _print_traces(traces)
    scores = [shown.reference()]
    for form, traced in traces.items():
        console.note(f"running the {form} form")
        scores += shown.scores(form, traced.result)
    paths = export_forms(traces, out)
    wrong = faults(scores)
    if json:
        console.result_json(_json(scores, paths, wrong))
    else:
        _print_scores(scores, len(shown.labels))
        _print_end(paths, time.perf_counter() - start)
    for line in wrong:
        console.complain(f"error[numerics]: {line}")
    if wrong:
        raise typer.Exit(1)


def _print_graph(shown: Demo) -> None:
    console.result(f"{HEAD}\n\n{shown.graph}\n")


def _print_traces(traces: dict[str, Trace]) -> None:
    for form, traced in traces.items():
        console.result(f"{form}: {ABOUT[form]}\n  irconv opt zoo:digits -p '{FORMS[form]}'")
        console.show(pass_table(traced))
        console.result("\n".join(delta_lines(traced)))
        console.result("")


def _print_scores(scores: list[Score], images: int) -> None:
    right = ("accuracy", "largest difference", "us/image")
    table = console.table("form", "backend", *right, right=right)
    for s in scores:
        table.add_row(
            s.form,
            "onnx (onnxruntime)" if s.backend == "onnx" else s.backend,
            f"{s.accuracy:.2%}",
            f"{s.difference:.1e}",
            f"{s.seconds_per_image * 1e6:.2f}",
        )
    console.result(f"Every form on every backend, {images} images it was not trained on:\n")
    console.show(table)
    console.result("")


def _print_end(paths: list[Path], seconds: float) -> None:
    for path in paths:
        console.result(f"wrote {path} ({path.stat().st_size} bytes)")
    console.result(f"\nDone in {seconds:.1f} s. Next, a model of your own: irconv run MODEL.onnx")


def _json(scores: list[Score], paths: list[Path], wrong: list[str]) -> dict[str, Any]:
    return {
        "scores": [
            {
                "form": s.form,
                "backend": s.backend,
                "accuracy": s.accuracy,
                "difference": s.difference,
                "seconds_per_image": s.seconds_per_image,
            }
            for s in scores
        ],
        "exported": [str(p) for p in paths],
        "faults": wrong,
    }
