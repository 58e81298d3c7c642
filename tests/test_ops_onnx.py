"""Every native op against ONNX's own vectors: values, inferred types, symbolic sizes, text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from irconv.attributes import make_op
from irconv.dim import substitute, symbols_of
from irconv.graph import Graph, Value
from irconv.op import UNKNOWN, Op
from irconv.registry import ops
from irconv.text import parse
from irconv.types import Array, TensorType, as_dtype, dtype_name, type_of
from tests.onnx_vectors import Vector, vectors

# stated minimum of (op, vector) pairs that run; a drop means that a family went missing
LEAST = 850
# not the meaning of one native op: what the importer makes of them first
IMPORTED_AWAY = {"auto_pad": ("NOTSET", "VALID"), "training_mode": (0,), "output_shape": ((),)}


def native(vector: Vector) -> Op | None:
    """The native op of a vector's node, or None where the importer changes the node first."""
    attributes = {a.name: _plain(onnx.helper.get_attribute_value(a)) for a in vector.node.attribute}
    if ops()[vector.node.op_type].random:
        return None
    for key, allowed in IMPORTED_AWAY.items():
        if attributes.pop(key, allowed[0]) not in allowed:
            return None
    for key in {"to", "output_dtype", "precision"} & attributes.keys():
        dtype = onnx.helper.tensor_dtype_to_np_dtype(attributes[key])
        attributes[key] = dtype_name(as_dtype(dtype))
    return make_op(vector.node.op_type, {**attributes, **_ours(vector, attributes)})


def _ours(vector: Vector, attributes: dict[str, Any]) -> dict[str, Any]:
    """The attributes that an op of ours has in another form, or always."""
    name, fields = vector.node.op_type, ops()[vector.node.op_type].__dataclass_fields__
    if name == "ConstantOfShape" and "value" in attributes:
        value = numpy_helper.to_array(attributes["value"])
        return {"value": value.item(), "dtype": dtype_name(value.dtype)}
    if name in {"Conv", "ConvTranspose"} and vector.inputs[1] is not None:
        return {"kernel_shape": vector.inputs[1].shape[2:]}
    count = len(vector.node.output)
    return {key: count for key in ("n_outputs", "num_outputs") if key in fields}


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
