"""Every native op against ONNX's own vectors: values, inferred types, symbolic sizes, text."""

from __future__ import annotations

import functools
import re
import warnings
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx.backend.test.loader import load_model_tests

from irconv.attributes import make_op
from irconv.dim import substitute, symbols_of
from irconv.graph import Graph, Value
from irconv.op import UNKNOWN, Op
from irconv.registry import ops
from irconv.text import parse
from irconv.types import Array, TensorType, as_dtype, dtype_name, type_of

NEWEST = 26
# these got element types only in a later version
_TYPES_ONLY = (
    "BitShift Cast Celu DepthToSpace DequantizeLinear Mod QuantizeLinear ReduceLogSum "
    "ReduceLogSumExp SpaceToDepth"
)
LATER = {"Range": 27} | dict.fromkeys(_TYPES_ONLY.split(), 28)
# what only a later version means
LATER_ONLY = re.compile(
    r"test_bitshift_.*_int|test_mod_float.*_fmod_0|test_range_b?float16|test_spacetodepth_(crd|dcr)"
)
# there length_resized is a fraction; the standard's text, and onnxruntime, take the whole number
DISPUTED = re.compile(r"test_resize_downsample_scales_(linear|cubic)_align_corners")
# stated minimum of (op, vector) pairs that run; a drop means that a family went missing
LEAST = 600
# not the meaning of one native op: what the importer makes of them first
IMPORTED_AWAY = {"auto_pad": ("NOTSET", "VALID"), "training_mode": (0,), "output_shape": ((),)}


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
        if (LATER_ONLY.match(case.name) or DISPUTED.match(case.name)) or not _newest(
            node.op_type, model.opset_import[0].version
        ):
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
    """Whether an opset has the meaning of NEWEST; a later one may have added element types only."""
    if op_type not in ops():
        return False
    newest = onnx.defs.get_schema(op_type, NEWEST).since_version
    return onnx.defs.get_schema(op_type, opset).since_version in (newest, LATER.get(op_type))


def _arrays(values: Sequence[Any]) -> list[Array] | None:
    """The values as arrays; None where one is text, a sequence or absent."""
    found = []
    for value in values:
        array = numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value
        if not isinstance(array, (np.ndarray, np.generic)) or array.dtype.kind in "OUS":
            return None
        found.append(np.asarray(array))
    return found


def native(vector: Vector) -> Op | None:
    """The native op of a vector's node, or None where the importer changes the node first."""
    attributes = {a.name: _plain(onnx.helper.get_attribute_value(a)) for a in vector.node.attribute}
    for key, allowed in IMPORTED_AWAY.items():
        if attributes.pop(key, allowed[0]) not in allowed:
            return None
    if vector.node.op_type == "Cast":
        attributes["to"] = dtype_name(
            as_dtype(onnx.helper.tensor_dtype_to_np_dtype(attributes["to"]))
        )
    if vector.node.op_type == "ConstantOfShape" and "value" in attributes:
        value = numpy_helper.to_array(attributes["value"])
        attributes = {"value": value.item(), "dtype": dtype_name(value.dtype)}
    if vector.node.op_type == "Split":
        attributes["num_outputs"] = len(vector.node.output)
    if "n_outputs" in ops()[vector.node.op_type].__dataclass_fields__:
        attributes["n_outputs"] = len(vector.node.output)
    if vector.node.op_type in {"Conv", "ConvTranspose"} and "kernel_shape" not in attributes:
        attributes["kernel_shape"] = vector.inputs[1].shape[2:]
    return make_op(vector.node.op_type, attributes)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    return tuple(value) if isinstance(value, (list, tuple)) else value


def run(op: Op, inputs: Sequence[Array | None]) -> tuple[Array, ...]:
    with np.errstate(all="ignore"):
        return op.run(inputs)


def values_agree(op: Op, vector: Vector) -> None:
    results = run(op, vector.inputs)
    for found, expected in zip(results, vector.outputs, strict=True):
        assert isinstance(found, np.ndarray)
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        exact = expected.dtype.kind in "iub"
        wide = [a if exact else a.astype(np.float64) for a in (found, expected)]
        tolerance = {} if exact else {"rtol": vector.rtol, "atol": vector.atol}
        np.testing.assert_allclose(*wide, **tolerance)


def types_agree(op: Op, vector: Vector) -> None:
    types = [None if a is None else type_of(a) for a in vector.inputs]
    found = op.infer(types, vector.inputs)
    assert found == tuple(type_of(a) for a in vector.outputs)
    unknown = [None] * len(types)
    for t, a in zip(op.infer(types, unknown), vector.outputs, strict=True):
        assert t.dtype == a.dtype
        assert t.rank == a.ndim
        assert all(
            d == n or UNKNOWN in symbols_of(d) for d, n in zip(t.shape, a.shape, strict=True)
        )


def symbols_agree(op: Op, vector: Vector) -> None:
    """Each size n > 1 is called `Dn`; what is inferred must be right with the names filled in."""
    data = [_is_data(op, i, a) for i, a in enumerate(vector.inputs)]
    types = [None if a is None else _named(a, d) for a, d in zip(vector.inputs, data, strict=True)]
    sizes = {f"D{n}": n for a in vector.inputs if a is not None for n in a.shape}
    for t, a in zip(op.infer(types, vector.inputs), vector.outputs, strict=True):
        filled = [substitute(d, sizes) for d in t.shape]
        assert all(d == n or UNKNOWN in symbols_of(d) for d, n in zip(filled, a.shape, strict=True))


def _named(array: Array, is_data: bool) -> TensorType:
    """The type of data with its sizes named; a shape's own length stays known."""
    t = type_of(array)
    return t.with_shape(f"D{d}" if d > 1 else d for d in t.shape) if is_data else t


def _is_data(op: Op, index: int, array: Array | None) -> bool:
    """Whether an operand is data; others (a shape, axes, scales) are constants in networks."""
    if array is None or (op.name == "Resize" and index):
        return False
    return array.dtype not in (np.int64, np.int32)


def text_returns(op: Op, vector: Vector) -> None:
    graph = Graph("one")
    operands: list[Value | None] = []
    for i, array in enumerate(vector.inputs):
        if array is None:
            operands.append(None)
        elif _is_data(op, i, array):
            operands.append(graph.add_input(f"x{i}", type_of(array)))
        else:
            operands.append(graph.add_parameter(f"c{i}", array))
    node = graph.add_node(op, operands)
    graph.set_outputs(node.results)
    stored = {v.digest: v.array for v in graph.parameters.values() if v.array is not None}
    assert parse(str(graph), stored) == graph


CHECKS = (values_agree, types_agree, symbols_agree, text_returns)
# their sizes must be known: tests of their own say so
SKIPPED = {
    "Conv": {symbols_agree},
    "ConvTranspose": {symbols_agree},
    "Col2Im": {types_agree, symbols_agree},
}


@pytest.mark.parametrize("name", sorted(ops()))
def test_vectors(name: str) -> None:
    failures = []
    for vector in vectors().get(name, []):
        op = native(vector)
        for check in CHECKS if op is not None else ():
            if check in SKIPPED.get(name, ()):
                continue
            try:
                check(op, vector)
            except Exception as error:  # noqa: BLE001 -- all failures of an op are told together
                text = " ".join(str(error).split())[:300]
                failures.append(f"{vector.name}: {check.__name__}: {type(error).__name__}: {text}")
    assert not failures, "\n".join(failures)


def test_enough_vectors() -> None:
    counts = {n: sum(native(v) is not None for v in vectors().get(n, [])) for n in ops()}
    print({n: c for n, c in counts.items() if c})
    print("no vector:", [n for n, c in counts.items() if not c])
    print("in total:", sum(counts.values()))
    assert sum(counts.values()) >= LEAST
