"""Other engines that run the same model: onnxruntime, and OpenVINO where it is installed."""

from __future__ import annotations

import importlib
import importlib.util
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from irconv.errors import BackendError
from irconv.export import export_onnx
from irconv.graph import Graph
from irconv.light_models import light_path, randomized_proto
from irconv.types import Array


class Peer(Protocol):
    """A loaded model; calling it gives its outputs in the model's order."""

    def __call__(self, inputs: Mapping[str, Array]) -> list[Array]: ...


class OnnxRuntime:
    """onnxruntime on the CPU, with all its graph optimizations."""

    def __init__(self, file: Path, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            str(file), options, providers=["CPUExecutionProvider"]
        )

    def __call__(self, inputs: Mapping[str, Array]) -> list[Array]:
        return list(self._session.run(None, dict(inputs)))


class OpenVino:
    """OpenVINO on the CPU, in float32, tuned for latency."""

    def __init__(self, file: Path, threads: int) -> None:
        openvino = load_openvino()
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "INFERENCE_PRECISION_HINT": "f32",
        }
        self._request = openvino.compile_model(str(file), "CPU", settings).create_infer_request()
        self._outputs = self._request.model_outputs

    def __call__(self, inputs: Mapping[str, Array]) -> list[Array]:
        found = self._request.infer(dict(inputs), share_inputs=True)
        return [np.asarray(found[out]) for out in self._outputs]


OPENVINO = "openvino"  # optional: found by its name, never imported by a statement
PEERS: dict[str, Callable[[Path, int], Peer]] = {"onnxruntime": OnnxRuntime, OPENVINO: OpenVino}


def installed_peers() -> tuple[str, ...]:
    """The peers that can be imported here."""
    return tuple(name for name in PEERS if importlib.util.find_spec(name) is not None)


def load_openvino() -> Any:
    """OpenVINO with its CPU plugin; raises BackendError where it is not installed."""
    if OPENVINO not in installed_peers():
        raise BackendError("openvino is not installed", hint="pip install openvino")
    openvino: Any = importlib.import_module(OPENVINO)
    openvino.Core().get_property("CPU", "FULL_DEVICE_NAME")
    return openvino


def peer_file(
    model: str, graph: Graph, random_weights: int | None, batch: int | str | None, folder: Path
) -> Path:
    """An ONNX file of the very model that `graph` was made from, for another engine.

    The file itself where there is one; a light model with its random weights; else an export.
    """
    kind, _, name = model.partition(":")
    if batch is None and kind == "light" and random_weights is None:
        return light_path(name)
    if batch is None and kind == "light" and random_weights is not None:
        file = folder / "model.onnx"
        file.write_bytes(randomized_proto(name, random_weights).SerializeToString())
        return file
    if batch is None and kind != "zoo" and not model.endswith(".ir"):
        return Path(model)
    file = folder / "model.onnx"
    export_onnx(graph, file, check=False)  # the outputs are compared by whoever runs it
    return file


def run_peer(
    peer: str,
    model: str,
    graph: Graph,
    inputs: Mapping[str, Array],
    random_weights: int | None,
    batch: int | str | None = None,
) -> dict[str, Array]:
    """The outputs of a model by name, computed once by another engine."""
    with tempfile.TemporaryDirectory(prefix="irconv-") as folder:
        file = peer_file(model, graph, random_weights, batch, Path(folder))
        results = PEERS[peer](file, 1)(inputs)
    return dict(zip((v.name for v in graph.outputs), results, strict=True))
