"""`irconv export`: lower a model and write it as ONNX."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from irconv.commands import console
from irconv.commands.options import Batch, Json, Model, RandomWeights, read_model
from irconv.errors import UsageError, printable
from irconv.export import DEFAULT_OPSET, export_onnx
from irconv.pipeline import lower, parse_pipeline, pipeline_text


def export(
    model: Model,
    output: Annotated[Path, typer.Option("-o", "--output", help="The .onnx file to write.")],
    pipeline: Annotated[
        str, typer.Option("--pipeline", "-p", help="The passes to run first, as text.")
    ] = "",
    opset: Annotated[int, typer.Option(help="Of the file, 13 to 26.")] = DEFAULT_OPSET,
    functions: Annotated[
        bool, typer.Option("--functions", help="Fused nodes as model-local functions.")
    ] = False,
    external_data: Annotated[
        bool, typer.Option("--external-data", help="Weights in a file of their own, FILE.data.")
    ] = False,
    batch: Batch = None,
    random_weights: RandomWeights = None,
    json: Json = False,
) -> None:
    """Lower a model and write it as ONNX, once onnxruntime has run it and agrees.

    A file that fails the comparison is not written.
    """
    if str(output) == "-":
        raise UsageError("wrong --output", expected="the name of a file", got="-")
    passes = parse_pipeline(pipeline)
    graph = lower(read_model(model, batch, random_weights), passes)
    console.note(f"writing {printable(output)} and comparing it")
    written = export_onnx(
        graph,
        output,
        opset,
        functions=functions,
        external_data=True if external_data else None,
        pipeline=pipeline_text(passes),
    )
    if json:
        console.result_json(asdict(written))
        return
    console.result(f"wrote {printable(written)}")
    for text in written.notes:
        console.note(f"note: {printable(text, 400)}")
