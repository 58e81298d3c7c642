"""`irconv export`: lower a model and write it as ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from irconv.commands import console
from irconv.commands.options import Batch, Json, Model, RandomWeights, read_model
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
    batch: Batch = None,
    random_weights: RandomWeights = None,
    json: Json = False,
) -> None:
    """Lower a model and write it as ONNX, once onnxruntime has run it and agrees.

    A file that fails the comparison is not written.
    """
    passes = parse_pipeline(pipeline)
    graph = lower(read_model(model, batch, random_weights), passes)
    export_onnx(graph, output, opset=opset, functions=functions, pipeline=pipeline_text(passes))
    size = output.stat().st_size
    if json:
        console.result_json({"path": str(output), "bytes": size, "nodes": len(graph)})
    else:
        console.result(f"wrote {output}: {size} bytes, opset {opset}")
