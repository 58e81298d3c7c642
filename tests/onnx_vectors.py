"""What one ONNX node gives: ONNX's own test vectors, and onnxruntime."""

from __future__ import annotations

import functools
import re
import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper
from onnx.backend.test.loader import load_model_tests

from irconv.types import Array

# there length_resized is a fraction; the standard's text, and onnxruntime, take the whole number
DISPUTED = re.compile(r"test_resize_downsample_scales_(linear|cubic)_align_corners")


@dataclass(frozen=True)
class Vector:
    """One node of ONNX's test suite with its inputs and expected outputs."""

    name: str
    node: onnx.NodeProto
    inputs: tuple[Array | None, ...]
    outputs: tuple[Array, ...]
    rtol: float
    atol: float


@functools.cache
def vectors() -> dict[str, list[Vector]]:
    """All vectors of a single standard node in its newest meaning, by op."""
    found: dict[str, list[Vector]] = defaultdict(list)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = load_model_tests(kind="node")
    for case in cases:
        model = case.model
        if model is None or len(model.graph.node) != 1 or model.graph.node[0].domain:
            continue
        node = model.graph.node[0]
        if DISPUTED.match(case.name) or not _newest(node.op_type, model.opset_import[0].version):
            continue
        for inputs, outputs in case.data_sets or []:
            arrays = _arrays(inputs), _arrays(outputs)
            if None in arrays:
                continue
            named = dict(zip([i.name for i in model.graph.input], arrays[0], strict=True))
            operands = tuple(named.get(name) for name in node.input)
            found[node.op_type].append(
                Vector(case.name, node, operands, tuple(arrays[1]), case.rtol, case.atol)
            )
    return found


def _newest(op_type: str, opset: int) -> bool:
    """Whether an opset has the newest version of an op."""
    if not onnx.defs.has(op_type):
        return False
    newest = onnx.defs.get_schema(op_type).since_version
    return bool(onnx.defs.get_schema(op_type, opset).since_version == newest)


def _arrays(values: Sequence[Any]) -> list[Array] | None:
    """The values as arrays; None where one is text, a sequence or absent."""
    found = []
    for value in values:
        array = numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value
        if not isinstance(array, (np.ndarray, np.generic)) or array.dtype.kind in "OUS":
            return None
        found.append(np.asarray(array))
    return found


def in_onnxruntime(
    op_type: str,
    opset: int,
    attributes: Mapping[str, Any],
    operands: Sequence[Array | None],
    n_outputs: int = 1,
) -> list[Array]:
    """What onnxruntime computes for one node."""
    present = {f"x{i}": a for i, a in enumerate(operands) if a is not None}
    infos = [
        helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for k, a in present.items()
    ]
    names = ["" if a is None else f"x{i}" for i, a in enumerate(operands)]
    outputs = [f"y{i}" for i in range(n_outputs)]
    node = helper.make_node(op_type, names, outputs, **attributes)
    empty = [onnx.ValueInfoProto(name=n) for n in outputs]
    model = helper.make_model(
        helper.make_graph([node], "one", infos, empty),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=10,
    )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # it warns where ONNX's shape inference is wrong in ceil mode
    runner = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return [np.asarray(a) for a in runner.run(None, present)]
