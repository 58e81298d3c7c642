"""The exported graph as text, and the one that onnxruntime's optimiser makes of it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from irconv.backends.onnx.emit import emit
from irconv.backends.onnx.proto import Model, external, model_of
from irconv.errors import printable
from irconv.exported import ExportText, OnnxNodeText, OnnxText
from irconv.graph import Graph
from irconv.listing import attribute_text
from irconv.types import Array, as_dtype, dtype_name

_SETTINGS = {
    "session.optimized_model_external_initializers_file_name": "weights.bin",
    "session.optimized_model_external_initializers_min_size_in_bytes": "64",
}


def export_text(graph: Graph, opset: int, optimised: bool) -> ExportText:
    """The ONNX graph of `graph`; with `optimised`, also the one that onnxruntime runs."""
    start = time.perf_counter()
    records = emit(graph, opset)
    model = model_of(records)
    origins = [node.origin for node in records.nodes]
    seconds = time.perf_counter() - start
    exported = _text(model.proto.graph, model.big, origins, seconds, opset)
    if not optimised:
        return ExportText(exported)
    start = time.perf_counter()
    try:
        graph_proto = optimised_graph(model)
    except Exception as error:  # noqa: BLE001 - onnxruntime's own types derive from Exception
        return ExportText(exported, None, printable(error, 400))
    return ExportText(exported, _text(graph_proto, {}, (), time.perf_counter() - start, opset))


def optimised_graph(model: Model) -> Any:
    """The GraphProto that onnxruntime makes of a model for this machine's CPU, weights left out."""
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong comes as an exception
    options.intra_op_num_threads = 1
    for key, value in _SETTINGS.items():
        options.add_session_config_entry(key, value)
    proto, _ = external(model, "memory")
    arrays = [np.ascontiguousarray(a) for a in model.big.values()]
    values = [onnxruntime.OrtValue.ortvalue_from_numpy(a) for a in arrays]
    options.add_external_initializers(list(model.big), values)
    with tempfile.TemporaryDirectory(prefix="irconv-") as folder:
        path = Path(folder) / "optimised.onnx"
        options.optimized_model_filepath = str(path)
        onnxruntime.InferenceSession(
            proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        return onnx.load_model(str(path), load_external_data=False).graph


def _text(
    graph: Any, big: Mapping[str, Array], origins: Iterable[str], seconds: float, opset: int
) -> OnnxText:
    constants = {t.name: _tensor_type(t) for t in graph.initializer}
    constants |= {name: f"{dtype_name(a.dtype)}{list(a.shape)}" for name, a in big.items()}
    infos = (*graph.value_info, *graph.input, *graph.output)
    told = [*origins] or [""] * len(graph.node)
    return OnnxText(
        graph.name,
        tuple(_node(n, origin, opset) for n, origin in zip(graph.node, told, strict=True)),
        tuple((v.name, _value_type(v)) for v in graph.input if v.name not in constants),
        tuple(v.name for v in graph.output),
        tuple(constants.items()),
        {v.name: _value_type(v) for v in infos},
        sum(map(_tensor_bytes, graph.initializer)) + sum(a.nbytes for a in big.values()),
        seconds,
    )


def _node(proto: Any, origin: str, opset: int) -> OnnxNodeText:
    domain = f"{proto.domain}." if proto.domain not in ("", "ai.onnx") else ""
    defaults = {} if domain else _defaults(proto.op_type, opset)
    stated = {a.name: _attribute(a) for a in proto.attribute}
    attributes = (f"{n} = {t}" for n, t in stated.items() if defaults.get(n) != t)
    return OnnxNodeText(
        proto.name,
        domain + proto.op_type,
        tuple(proto.input),
        tuple(proto.output),
        ", ".join(sorted(attributes)),
        origin,
    )


@cache
def _defaults(op: str, opset: int) -> dict[str, str]:
    """The text of the attributes that have a default: onnxruntime states them all."""
    import onnx

    schema = onnx.defs.get_schema(op, opset)
    given = ((n, a.default_value) for n, a in schema.attributes.items())
    return {n: _attribute(value) for n, value in given if value.name}


def _attribute(proto: Any) -> str:
    import onnx

    value = onnx.helper.get_attribute_value(proto)
    if isinstance(value, (list, tuple)):
        return attribute_text(tuple(map(_plain, value)))
    return attribute_text(_plain(value))


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, float):
        return float(np.format_float_positional(np.float32(value), trim="0"))
    # a tensor or a subgraph is told by what it is
    return value if isinstance(value, (int, str)) else type(value).__name__


def _value_type(info: Any) -> str:
    kind = info.type.tensor_type
    sizes = [
        d.dim_param or (d.dim_value if d.HasField("dim_value") else "?") for d in kind.shape.dim
    ]
    return f"{_element(kind.elem_type)}[{', '.join(map(str, sizes))}]" if kind.elem_type else ""


def _tensor_type(tensor: Any) -> str:
    return f"{_element(tensor.data_type)}{list(tensor.dims)}"


def _element(code: int) -> str:
    import onnx

    if code == onnx.TensorProto.STRING:
        return "string"
    return dtype_name(as_dtype(onnx.helper.tensor_dtype_to_np_dtype(code)))


def _tensor_bytes(tensor: Any) -> int:
    import onnx

    if tensor.data_type == onnx.TensorProto.STRING:
        return 0
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    return int(np.prod(tensor.dims, dtype=np.int64)) * int(dtype.itemsize)
