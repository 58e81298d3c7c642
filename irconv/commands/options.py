"""The options that several commands share, and the model they are about."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from irconv.backend import Precision
from irconv.errors import UsageError, printable
from irconv.graph import Graph
from irconv.inspector.dump import resume
from irconv.models import resolve_model
from irconv.pipeline import Pass

Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="A path (.onnx, .ir), zoo:NAME or light:NAME.")
]
Backend = Annotated[str, typer.Option("--backend", "-b", help="See irconv list backends.")]
Pipeline = Annotated[
    str | None,
    typer.Option(
        "--pipeline", "-p", help="The passes to run, as text: fold,fuse{pool=false},im2col."
    ),
]
PrecisionClass = Annotated[
    Precision, typer.Option("--precision", help="strict: no Winograd; fast: Winograd too.")
]
Threads = Annotated[int | None, typer.Option("--threads", "-t", min=1, help="Default: all cores.")]
Tune = Annotated[
    bool,
    typer.Option("--tune", help="Measure which algorithms are fastest, or know it from before."),
]
Batch = Annotated[
    str | None, typer.Option("--batch", help="A batch size, or a name such as N for any.")
]
RandomWeights = Annotated[
    int | None,
    typer.Option(
        "--random-weights",
        metavar="SEED",
        min=0,
        help="Random weights in place of the model's, scaled to keep unit variance.",
    ),
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Of the random inputs.")]
FromStage = Annotated[
    int | None,
    typer.Option(
        "--from-stage",
        metavar="K",
        min=0,
        help="Go on from stage K as it stands in --dump-stages DIR (edited, say); 0 is the source.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="The result as JSON, for programs.")]


def batch_size(text: str | None) -> int | str | None:
    """`--batch`: a size, or the name of a symbol."""
    if text is None:
        return None
    # Python reads no number of thousands of digits
    if text.isdecimal() and len(text) <= 20:
        return int(text)
    if not text.isidentifier():
        raise UsageError(
            "wrong --batch", expected="a size such as 8, or a name such as N", got=printable(text)
        )
    return text


def resumed(
    folder: Path | None, stage: int, passes: Sequence[Pass]
) -> tuple[Graph, tuple[Pass, ...]]:
    """`--from-stage`: the graph of that stage in --dump-stages' folder, and the passes after it."""
    if folder is None:
        raise UsageError("--from-stage needs --dump-stages DIR", hint="the stages stand there")
    return resume(folder, stage, passes)


def read_model(model: str, batch: str | None, random_weights: int | None) -> Graph:
    """The graph that a command is about."""
    return resolve_model(model, batch=batch_size(batch), random_weights=random_weights)
