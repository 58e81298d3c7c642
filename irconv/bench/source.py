"""The model of a benchmark: the graph that we compile, and the very same as a file for others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from irconv.bench.peers import peer_file
from irconv.graph import Graph
from irconv.light_models import light_name, randomized_proto
from irconv.models import resolve_model
from irconv.zoo import networks


@dataclass(frozen=True)
class Source:
    """One model with one batch size (None: its own).

    `spec`, `changed_batch` and `random_weights` are what `resolve_model` makes the same graph of,
    in any process; `file` is the ONNX file of it that peers read.
    """

    model: str
    batch: int | None
    spec: str
    changed_batch: int | None
    random_weights: int | None
    graph: Graph
    file: Path


def with_weights(model: str, random_weights: int | None, folder: Path) -> tuple[str, int | None]:
    """What stands for a model from here on, and the seed of its weights if it needs one still.

    The random weights of a light model take seconds to make, so they are made once, into a file.
    """
    kind, _, name = model.partition(":")
    if kind == "light" and random_weights is not None:
        file = folder / f"{light_name(name)}.onnx"
        file.write_bytes(randomized_proto(name, random_weights).SerializeToString())
        return str(file), None
    return model, random_weights if kind == "zoo" and name in networks() else None


def read_source(
    model: str, spec: str, random_weights: int | None, batch: int | None, folder: Path
) -> Source:
    """The graph and the file of `spec` (see `with_weights`), with this batch size.

    Without one a file keeps its own, and a network of the zoo has 1. A peer reads the file of the
    model itself where its batch is as wanted, else our export of the graph.
    """
    changed = 1 if batch is None and spec.startswith("zoo:") else batch
    if changed is not None and not spec.startswith("zoo:") and not spec.endswith(".ir"):
        graph = resolve_model(spec)
        if all(v.shape[:1] == (changed,) for v in graph.inputs):
            return Source(model, batch, spec, None, None, graph, Path(spec))
    graph = resolve_model(spec, changed, random_weights)
    place = folder / f"batch{batch or ''}"
    place.mkdir(exist_ok=True)
    file = peer_file(spec, graph, random_weights, changed, place)
    return Source(model, batch, spec, changed, random_weights, graph, file)
