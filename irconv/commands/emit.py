"""`irconv emit`: the program that a backend makes of a model, readable."""

from __future__ import annotations

from irconv.commands import console
from irconv.commands.options import (
    Backend,
    Batch,
    Model,
    Pipeline,
    PrecisionClass,
    RandomWeights,
    Threads,
    Tune,
    read_model,
)
from irconv.executable import compile as compile_graph


def emit(
    model: Model,
    backend: Backend = "numba_cpu",
    pipeline: Pipeline = None,
    precision: PrecisionClass = "fast",
    threads: Threads = None,
    tune: Tune = False,
    batch: Batch = None,
    random_weights: RandomWeights = None,
) -> None:
    """Print the program that a backend makes of a model.

    A model of any batch is compiled for batch 1, unless --batch says otherwise.
    """
    graph = read_model(model, batch, random_weights)
    source = compile_graph(graph, backend, pipeline, precision, threads, tune).source
    console.result(source.rstrip("\n"))
