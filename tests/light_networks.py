"""Runs the nine light models through every form: `python tests/light_networks.py [NAME]`.

Weights are random, images 224 x 224. Each lowered form runs on numba_cpu and, exported, on
onnxruntime; the reference is onnxruntime on the model as it was before the import. Compared are
the output and, where it is a Softmax, its operand (a one-hot softmax would hide everything).
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

import irconv as ic
from irconv.graph import Graph
from irconv.light_models import LIGHT_MODELS, load_light, randomized_proto
from irconv.ops.softmax import Softmax
from irconv.types import Array

PIPELINES = ("fold,fuse", "fold,im2col", "fold,fuse,conv_matrix")
TOLERANCE = 1e-3  # of the largest number of the reference output: the numbers policy
SEED = 7


@dataclass(frozen=True)
class Row:
    """One form of one network on one engine: its worst error as a part of the tolerance."""

    network: str
    pipeline: str
    engine: str
    error: float
    fallbacks: int
    seconds: float


def with_logits(graph: Graph) -> Graph:
    """A copy whose outputs include the operand of each final Softmax."""
    copy = graph.copy()
    outputs = list(copy.outputs)
    for value in copy.outputs:
        node = value.producer
        while node is not None and not isinstance(node.op, Softmax) and len(node.operands) == 1:
            node = node.operands[0].producer if node.operands[0] is not None else None
        if node is not None and isinstance(node.op, Softmax) and node.operands[0] is not None:
            outputs.append(node.operands[0])
    copy.set_outputs(outputs)
    return copy


def reference(name: str, outputs: list[str], images: Mapping[str, Array]) -> dict[str, Array]:
    """The outputs of onnxruntime on the model as it is in the onnx package, with our weights."""
    proto = randomized_proto(name, SEED)
    known = {o.name for o in proto.graph.output}
    proto.graph.output.extend(onnx.ValueInfoProto(name=n) for n in outputs if n not in known)
    return run_onnx(proto.SerializeToString(), outputs, images)


def run_onnx(
    model: bytes | str, outputs: list[str], images: Mapping[str, Array]
) -> dict[str, Array]:
    """The named outputs of one run by onnxruntime."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return dict(zip(outputs, session.run(outputs, dict(images)), strict=True))


def error(found: Mapping[str, Array], expected: Mapping[str, Array]) -> float:
    """The worst error over all outputs, 1.0 being what the numbers policy allows."""
    return max(
        float(np.abs(found[n] - e).max()) / (TOLERANCE * float(np.abs(e).max()))
        for n, e in expected.items()
    )


def check(name: str) -> Iterator[Row]:
    """The rows of one network; raises AssertionError where a second image does not move it."""
    graph = with_logits(load_light(name, random_weights=SEED))
    outputs = [v.name for v in graph.outputs]
    rng = np.random.default_rng(SEED)
    shape = [int(str(d)) for d in graph.inputs[0].shape]
    images: list[dict[str, Any]] = [
        {graph.inputs[0].name: rng.standard_normal(shape).astype(np.float32)} for _ in range(2)
    ]
    expected = [reference(name, outputs, image) for image in images]
    moved = error(expected[1], expected[0])
    assert moved >= 100, f"{name}: a second image moves the outputs by {moved} tolerances only"
    for pipeline in PIPELINES:
        lowered = ic.lower(graph, pipeline)
        yield on_numba(name, pipeline, lowered, images[0], expected[0])
        yield on_onnxruntime(name, pipeline, lowered, images[0], expected[0])


def on_numba(
    name: str,
    pipeline: str,
    lowered: Graph,
    image: Mapping[str, Array],
    expected: Mapping[str, Array],
) -> Row:
    """The lowered graph as it stands, by compiled kernels."""
    start = time.perf_counter()
    executable = ic.compile(lowered, backend="numba_cpu", pipeline="")
    worst = error(executable.run(image), expected)
    seconds = time.perf_counter() - start
    return Row(name, pipeline, "numba_cpu", worst, len(executable.report.fallbacks), seconds)


def on_onnxruntime(
    name: str,
    pipeline: str,
    lowered: Graph,
    image: Mapping[str, Array],
    expected: Mapping[str, Array],
) -> Row:
    """The lowered graph exported; the export checks and compares it too."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lowered.onnx"
        ic.export_onnx(lowered, path)
        kinds = {node.op_type for node in onnx.load(path, load_external_data=False).graph.node}
        if pipeline != "fold,fuse":
            assert not kinds & {"Conv", "ConvTranspose", "ConvInteger"}, f"{name}: {kinds}"
        worst = error(run_onnx(str(path), list(expected), image), expected)
    return Row(name, pipeline, "onnxruntime", worst, 0, time.perf_counter() - start)


def main() -> int:
    """Prints a row for each form and engine; 1 if any is outside of the tolerance."""
    failed = 0
    print(
        f"{'network':<14}{'pipeline':<24}{'engine':<13}{'error/allowed':>14}{'Op.run':>8}{'s':>7}"
    )
    for name in sys.argv[1:] or LIGHT_MODELS:
        for row in check(name):
            failed += row.error > 1 or row.fallbacks > 0
            print(
                f"{row.network:<14}{row.pipeline:<24}{row.engine:<13}{row.error:>14.5f}"
                f"{row.fallbacks:>8}{row.seconds:>7.1f}",
                flush=True,
            )
    print(f"{failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    raise SystemExit(main())
