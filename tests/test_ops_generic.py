"""The generic op: ONNX's vectors, onnxruntime with other attributes, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from irconv.attributes import make_op
from irconv.dim import Dim
from irconv.errors import BudgetError, GraphError
from irconv.graph import Graph
from irconv.op import check_count
from irconv.ops.generic import Generic
from irconv.registry import ops
from irconv.text import parse
from irconv.types import Array, TensorType, type_of
from tests.onnx_vectors import Vector, in_onnxruntime, vectors

Operands = list[Array | None]

# the op itself is the importer's to drop or turn into a parameter
NOT_NODES = {"Constant", "Dropout"}
# why the vectors of an op are not all run; anything else must pass
REFUSED = {
    "ImageDecoder": "Pillow must be installed",
    "Attention": "the rank of a result is not known",
}


def generic(vector: Vector) -> Generic:
    pairs = {a.name: _plain(helper.get_attribute_value(a)) for a in vector.node.attribute}
    count = max(i + 1 for i, name in enumerate(vector.node.output) if name)
    version = onnx.defs.get_schema(vector.node.op_type).since_version
    return Generic(vector.node.op_type, version, count, tuple(sorted(pairs.items())))


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, (list, tuple)):
        return tuple(_plain(x) for x in value)
    return value


def run(op: Generic, operands: Operands) -> tuple[Array, ...]:
    with np.errstate(all="ignore"):
        return op.run(operands)


def agree(found: Array, expected: Array, rtol: float = 1e-3, atol: float = 1e-7) -> None:
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    np.testing.assert_allclose(
        found.astype(np.float64), expected.astype(np.float64), rtol=rtol, atol=atol
    )


def check_vector(vector: Vector) -> None:
    op = generic(vector)
    operands = list(vector.inputs)
    types = [None if a is None else type_of(a) for a in operands]
    kept = [i for i, name in enumerate(vector.node.output) if name]
    inferred = op.infer(types, operands)
    results = run(op, operands)
    for i, expected in zip(kept, vector.outputs, strict=True):
        agree(results[i], expected, vector.rtol, vector.atol)
        t = inferred[i]
        assert isinstance(t, TensorType)
        assert (t.dtype, t.rank) == (expected.dtype, expected.ndim)
        known = [(d, n) for d, n in zip(t.shape, expected.shape, strict=True) if isinstance(d, int)]
        assert all(d == n for d, n in known)
    graph = graph_of(op, operands)
    assert parse(str(graph), {v.digest: v.array for v in graph.parameters.values()}) == graph


def graph_of(op: Generic, operands: Operands) -> Graph:
    graph = Graph("one")
    values = [
        None if a is None else graph.add_parameter(f"c{i}", a) for i, a in enumerate(operands)
    ]
    graph.set_outputs(graph.add_node(op, values).results)
    return graph


def held() -> list[str]:
    """The standard ops that have no class of their own."""
    names = {s.name for s in onnx.defs.get_all_schemas() if not s.domain}
    return sorted(names - ops().keys() - NOT_NODES)


@pytest.mark.parametrize("name", held())
def test_vectors(name: str) -> None:
    failures = []
    for vector in vectors().get(name, []):
        try:
            check_vector(vector)
        except Exception as error:  # noqa: BLE001 -- all failures of an op are told together
            if REFUSED.get(name, "\n") not in str(error):
                failures.append(f"{vector.name}: {type(error).__name__}: {str(error)[:300]}")
    assert not failures, "\n".join(failures)


def test_enough_vectors() -> None:
    counts = {name: len(vectors().get(name, [])) for name in held()}
    print({name: count for name, count in counts.items() if count}, sum(counts.values()))
    assert sum(counts.values()) >= 300


# -- with other attributes than the vectors have, against onnxruntime ----------------------------


class _Data:
    """Operands drawn from one seed."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(5)

    def f(self, *shape: int) -> Array:
        return self.rng.standard_normal(shape).astype(np.float32)

    def u8(self, *shape: int) -> Array:
        return np.asarray(self.rng.integers(0, 255, shape, dtype=np.uint8))

    def i8(self, *shape: int) -> Array:
        return np.asarray(self.rng.integers(-128, 127, shape, dtype=np.int8))

    def qconv(self, group: int = 1) -> Operands:
        scales = self.rng.random(6).astype(np.float32) / 50 + np.float32(0.01)
        x = [self.u8(1, 4, 8, 8), np.float32(0.02), np.uint8(128)]
        w = [self.i8(6, 4 // group, 3, 3), scales, np.zeros(6, np.int8)]
        y = [np.float32(0.5), np.uint8(100), self.rng.integers(-99, 99, 6, dtype=np.int32)]
        return [np.asarray(a) for a in (*x, *w, *y)]

    def rnn(self, gates: int, directions: int = 1) -> Operands:
        shapes = ((directions, gates * 2, 5), (directions, gates * 2, 2), (directions, gates * 4))
        return [self.f(4, 3, 5), *(self.f(*s) for s in shapes)]


def _ints(*values: int) -> Array:
    return np.array(values)


D = _Data()
_WINDOWS: list[dict[str, Any]] = [
    {},
    {"group": 2},
    {"strides": (2, 2), "pads": (1, 0, 1, 2)},
    {"dilations": (2, 2)},
]
# (op, opset, attributes, operands, results)
Case = tuple[str, int, dict[str, Any], Callable[[], Operands], int]
CASES: list[Case] = [
    *(
        (
            "ConvInteger",
            10,
            a,
            lambda a=a: [D.u8(1, 4, 8, 8), D.u8(6, 4 // a.get("group", 1), 3, 3)],
            1,
        )
        for a in _WINDOWS
    ),
    ("ConvInteger", 10, {}, lambda: [D.u8(1, 4, 8, 8), D.u8(6, 4, 3, 3), np.array(7, np.uint8)], 1),
    *(("QLinearConv", 10, a, lambda a=a: D.qconv(a.get("group", 1)), 1) for a in _WINDOWS),
    ("MatMulInteger", 10, {}, lambda: [D.u8(2, 3, 4), D.i8(4, 5), np.array(3, np.uint8)], 1),
    *(
        ("TopK", 11, a, lambda: [D.f(3, 4, 5), _ints(2)], 2)
        for a in ({}, {"axis": 0}, {"axis": 1, "largest": 0})
    ),
    *(
        ("Einsum", 12, {"equation": e}, lambda s=s: [D.f(*shape) for shape in s], 1)
        for e, s in (
            ("ij,jk->ik", ((3, 4), (4, 5))),
            ("...ij->...ji", ((2, 3, 4),)),
            ("ii->i", ((4, 4),)),
            ("i,j", ((3,), (4,))),
        )
    ),
    *(
        (
            "ScatterElements",
            18,
            a,
            lambda: [D.f(3, 4), _ints(0, -1, 2, 1).reshape(2, 2), D.f(2, 2)],
            1,
        )
        for a in ({}, {"axis": 1}, {"reduction": "add"}, {"reduction": "max", "axis": 1})
    ),
    *(
        ("ScatterND", 18, a, lambda: [D.f(4, 3, 2), _ints(0, 3, -2).reshape(3, 1), D.f(3, 3, 2)], 1)
        for a in ({}, {"reduction": "add"}, {"reduction": "min"})
    ),
    ("GatherND", 12, {"batch_dims": 1}, lambda: [D.f(2, 3, 4), _ints(1, -1).reshape(2, 1)], 1),
    *(
        ("Trilu", 14, {"upper": u}, lambda: [D.f(2, 4, 5), _ints(-1).reshape(())], 1)
        for u in (0, 1)
    ),
    ("CenterCropPad", 18, {"axes": (1,)}, lambda: [D.f(4, 5), _ints(2)], 1),
    (
        "ReverseSequence",
        10,
        {"batch_axis": 0, "time_axis": 1},
        lambda: [D.f(4, 4, 3), _ints(1, 2, 3, 4)],
        1,
    ),
    *(
        (name, 14, {"hidden_size": 2, "direction": d}, lambda g=g, n=n: D.rnn(g, n), 2)
        for name, g in (("RNN", 1), ("GRU", 3), ("LSTM", 4))
        for d, n in (("forward", 1), ("reverse", 1), ("bidirectional", 2))
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[2]}")
def test_attributes_as_onnxruntime(case: Case) -> None:
    name, opset, attributes, operands, count = case
    op = Generic(name, opset, count, tuple(sorted(attributes.items())))
    arrays = operands()
    op.infer([None if a is None else type_of(a) for a in arrays], arrays)
    for found, expected in zip(
        run(op, arrays), in_onnxruntime(name, opset, attributes, arrays, count), strict=True
    ):
        # a quantized result may round the other way by one step
        step = 1.01 if name.startswith("QLinear") else 1e-5
        agree(found, expected, 1e-4, step)


# -- what it refuses -----------------------------------------------------------------------------

X = TensorType("f32", ("N", 3, 4))
BAD_ATTRIBUTES: list[tuple[tuple[Any, ...], str]] = [
    (("Nonsense", 17), "no such ONNX op: got Nonsense at opset 17"),
    (("TopK", 99), "TopK: no such opset: expected 1 to "),
    (("Upsample", 17), "a deprecated ONNX op has no meaning: got Upsample at opset 17"),
    (("TopK", 11, 3), "TopK has another number of outputs: expected 2 to 2, got 3"),
    (("TopK", 11, 2, (("axes", 1),)), "TopK has no attribute axes (did you mean axis or largest?)"),
    (
        ("TopK", 11, 2, (("axis", "last"),)),
        "attribute axis of TopK is of the wrong type: expected int",
    ),
    (("TopK", 11, 2, (("axis", (1,)),)), "attribute axis of TopK is of the wrong type"),
    (("Einsum", 12), "Einsum needs the attribute equation"),
    (("If", 16, 1, (("then_branch", 1), ("else_branch", 1))), "an attribute of kind graph is not"),
    (("RandomNormal", 1), "onnx.RandomNormal draws numbers (use the op with a seed)"),
    (("LSTM", 14, 2, (("clip", 1.0), ("hidden_size", 2))), "ONNX's reference ignores clip"),
    (("GRU", 14, 2, (("activations", ("Relu", "Relu")),)), "computes with Sigmoid, Tanh only"),
    (("GridSample", 20, 1, (("mode", "cubic"), ("padding_mode", "border"))), "at the border"),
]


@pytest.mark.parametrize(("fields", "message"), BAD_ATTRIBUTES, ids=lambda x: str(x)[:40])
def test_bad_attributes(fields: tuple[Any, ...], message: str) -> None:
    with pytest.raises(GraphError) as caught:
        Generic(*fields)
    assert message in str(caught.value)


def test_sequence_lengths_are_refused_unless_they_are_the_whole() -> None:
    op = Generic("LSTM", 14, 2, (("hidden_size", 2),))
    operands = [*D.rnn(4), np.array([4, 2, 1], np.int32)]
    types = [type_of(a) for a in operands if a is not None]
    with pytest.raises(GraphError, match="ignores sequence_lens"):
        op.infer(types, operands)
    operands[4] = np.array([4, 4, 4], np.int32)
    assert op.infer(types, operands)[0] == TensorType("f32", (4, 1, 3, 2))


def test_symbols_pass_through() -> None:
    found = Generic("Trilu", 14).infer([X], [None])
    assert found == (X,)
    n: Dim = X.shape[0]
    wide = TensorType("f32", (n * 2 + 1, 3, 4))
    assert Generic("Trilu", 14).infer([wide], [None]) == (wide,)


def test_types_are_checked() -> None:
    with pytest.raises(GraphError, match="has unsupported type"):
        Generic("Det", 11).infer([TensorType("i32", (3, 3))], [None])


def test_a_size_that_no_tensor_has_is_refused() -> None:
    op = Generic("OneHot", 11)
    depth = np.array(1 << 50)
    types = [TensorType("i64", (4,)), TensorType("i64", ()), TensorType("f32", (2,))]
    with pytest.raises(GraphError, match="a size of a result cannot be"):
        op.infer(types, [None, depth, None])
    with pytest.raises(BudgetError, match="too large"):
        op.infer(types, [None, np.array(1 << 38), None])


def test_operands_follow_the_schema() -> None:
    op = Generic("TopK", 11, 2)
    assert op.operands == "X, K"
    with pytest.raises(GraphError, match="wrong number of operands"):
        check_count(op, [True])
    assert Generic("Einsum", 12, 1, (("equation", "i"),)).operands == "Inputs+"


def test_it_is_written_by_its_onnx_name() -> None:
    op = make_op("onnx.TopK", {"opset": 11, "n_outputs": 2, "axis": 1})
    assert op == Generic("TopK", 11, 2, (("axis", 1),))
    assert op.attributes() == {"opset": 11, "n_outputs": 2, "axis": 1}
