"""Old versions of operators mean what onnxruntime says they mean, or what opset 6 said."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.backend.test.loader import load_model_tests

from irconv import code_cache
from irconv.errors import ModelError
from irconv.interpret import interpret
from irconv.onnx_import import load
from irconv.onnx_node import split_domain
from irconv.onnx_reader import schema_table
from irconv.onnx_reader.raising import NATIVE, RULES
from irconv.onnx_reader.schema import known_operators
from irconv.onnx_reader.schema_table import schema
from irconv.onnx_reader.trusted import TRUSTED
from irconv.registry import ops
from irconv.types import Array
from irconv.verify import verify

RNG = np.random.default_rng(3)
X = RNG.standard_normal((2, 3, 6, 5)).astype(np.float32)


def model(
    op: str,
    inputs: dict[str, Any],
    constants: dict[str, Any] | None = None,
    opset: int = 9,
    outputs: int = 1,
    **attributes: Any,
) -> onnx.ModelProto:
    """One node; its operands are the inputs, then the constants."""
    results = [f"y{i}" for i in range(outputs)]
    arrays = {k: np.asarray(v) for k, v in (constants or {}).items()}
    made = helper.make_node(op, [*inputs, *arrays], results, **attributes)
    kinds = {k: helper.np_dtype_to_tensor_dtype(np.asarray(v).dtype) for k, v in inputs.items()}
    graph = helper.make_graph(
        [made],
        "g",
        [helper.make_tensor_value_info(k, kinds[k], np.shape(v)) for k, v in inputs.items()],
        [onnx.ValueInfoProto(name=r) for r in results],
        [numpy_helper.from_array(v, k) for k, v in arrays.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    proto.ir_version = 4
    return proto


def ours(proto: onnx.ModelProto, inputs: dict[str, Any]) -> list[Array]:
    for batch in (None,):
        graph = load(proto, batch)
        verify(graph)
    return list(interpret(graph, inputs).values())


def peer(proto: onnx.ModelProto, inputs: dict[str, Any]) -> list[Array]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    found: list[Array] = session.run(None, inputs)
    return found


def compare(proto: onnx.ModelProto, inputs: dict[str, Any]) -> None:
    for mine, theirs in zip(ours(proto, inputs), peer(proto, inputs), strict=True):
        assert mine.dtype == theirs.dtype
        np.testing.assert_allclose(mine, theirs, rtol=2e-5, atol=2e-6)


W = RNG.standard_normal((4, 3, 3, 3)).astype(np.float32)
WT = RNG.standard_normal((3, 4, 3, 3)).astype(np.float32)

CASES: list[tuple[str, int, dict[str, Any], dict[str, Any], int]] = [
    ("Softmax", 9, {"axis": 1}, {}, 1),
    ("Softmax", 11, {"axis": -2}, {}, 1),
    ("Softmax", 7, {"axis": 3}, {}, 1),
    ("Softmax", 7, {"axis": 0}, {}, 1),
    ("LogSoftmax", 9, {"axis": 2}, {}, 1),
    ("Hardmax", 9, {}, {}, 1),
    ("Clip", 7, {"min": -0.5, "max": 0.25}, {}, 1),
    ("Clip", 7, {"max": 0.25}, {}, 1),
    ("Clip", 7, {}, {}, 1),
    ("Pad", 9, {"pads": [0, 0, 1, 2, 0, 0, 3, 0], "value": 1.5}, {}, 1),
    ("Pad", 9, {"pads": [0, 0, -1, 2, 0, 0, 3, -1]}, {}, 1),
    ("Pad", 9, {"pads": [0, 0, 1, 2, 0, 0, 3, 0], "mode": "reflect"}, {}, 1),
    ("Pad", 9, {"pads": [0, 0, 1, 2, 0, 0, 3, 0], "mode": "edge"}, {}, 1),
    ("Slice", 9, {"starts": [1, -3], "ends": [3, 1000], "axes": [1, 3]}, {}, 1),
    ("Slice", 9, {"starts": [0, 1], "ends": [1, 2]}, {}, 1),
    ("Split", 9, {"axis": 2}, {}, 2),
    ("Split", 9, {"axis": 3, "split": [1, 4]}, {}, 2),
    ("Split", 12, {"axis": -1, "split": [2, 3]}, {}, 2),
    ("TopK", 9, {"k": 2, "axis": 2}, {}, 2),
    ("Unsqueeze", 9, {"axes": [0, 3]}, {}, 1),
    ("Unsqueeze", 11, {"axes": [-1, 1]}, {}, 1),
    ("Flatten", 9, {"axis": 2}, {}, 1),
    ("Flatten", 11, {"axis": -1}, {}, 1),
    ("Dropout", 7, {"ratio": 0.5}, {}, 1),
    ("Dropout", 10, {}, {}, 1),
    ("Dropout", 12, {}, {"ratio": np.float32(0.5)}, 1),
    ("ArgMax", 9, {"axis": 2, "keepdims": 0}, {}, 1),
    ("Cast", 9, {"to": TensorProto.INT32}, {}, 1),
    ("MaxPool", 7, {"kernel_shape": [3, 2], "strides": [2, 1], "auto_pad": "SAME_UPPER"}, {}, 1),
    ("MaxPool", 8, {"kernel_shape": [3, 2], "strides": [2, 1], "auto_pad": "SAME_LOWER"}, {}, 1),
    ("MaxPool", 8, {"kernel_shape": [2, 2]}, {}, 2),
    ("MaxPool", 10, {"kernel_shape": [2, 2], "ceil_mode": 1, "dilations": [2, 1]}, {}, 1),
    ("AveragePool", 7, {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}, {}, 1),
    ("AveragePool", 7, {"kernel_shape": [3, 3], "auto_pad": "SAME_LOWER"}, {}, 1),
    ("AveragePool", 10, {"kernel_shape": [2, 2], "auto_pad": "VALID", "ceil_mode": 1}, {}, 1),
    ("AveragePool", 7, {"kernel_shape": [3, 3], "pads": [1] * 4, "count_include_pad": 1}, {}, 1),
    ("LpPool", 9, {"kernel_shape": [3, 3], "p": 2, "strides": [2, 2]}, {}, 1),
    ("Conv", 7, {"auto_pad": "SAME_UPPER", "strides": [2, 3]}, {"w": W}, 1),
    ("Conv", 7, {"auto_pad": "SAME_LOWER", "strides": [1, 2]}, {"w": W}, 1),
    ("Conv", 11, {"auto_pad": "VALID", "dilations": [2, 1]}, {"w": W}, 1),
    ("Conv", 11, {"auto_pad": "SAME_LOWER"}, {"w": W[:, :, :2, :2]}, 1),
    ("ConvTranspose", 7, {"strides": [2, 2], "output_padding": [1, 1]}, {"w": WT}, 1),
    ("ConvTranspose", 7, {"strides": [2, 3], "output_shape": [12, 14]}, {"w": WT}, 1),
    ("ConvTranspose", 11, {"strides": [2, 2], "auto_pad": "SAME_UPPER"}, {"w": WT}, 1),
    ("ConvTranspose", 11, {"strides": [2, 2], "auto_pad": "SAME_LOWER"}, {"w": WT}, 1),
    (
        "ConvTranspose", 11,
        {"strides": [2, 2], "auto_pad": "SAME_UPPER", "output_shape": [12, 10]}, {"w": WT}, 1,
    ),
    ("Upsample", 7, {"scales": [1.0, 1.0, 2.0, 3.0]}, {}, 1),
    ("Upsample", 9, {}, {"s": np.array([1, 1, 2.5, 2], np.float32)}, 1),
    ("Upsample", 9, {"mode": "linear"}, {"s": np.array([1, 1, 2, 3], np.float32)}, 1),
    ("Resize", 10, {"mode": "linear"}, {"s": np.array([1, 1, 0.5, 0.6], np.float32)}, 1),
    ("Resize", 10, {}, {"s": np.array([1, 1, 0.6, 0.4], np.float32)}, 1),
    (
        "Resize", 11, {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
        {"roi": np.zeros(0, np.float32), "s": np.array([1, 1, 2, 2], np.float32)}, 1,
    ),
    ("PRelu", 7, {}, {"s": np.array([[[0.1]], [[0.2]], [[0.3]]], np.float32)}, 1),
    ("PRelu", 9, {}, {"s": np.float32(0.25).reshape(1)}, 1),
    ("LRN", 7, {"size": 3, "alpha": 0.5}, {}, 1),
    ("InstanceNormalization", 7, {}, {"s": np.ones(3, np.float32), "b": np.ones(3, np.float32)}, 1),
    ("GridSample", 16, {"mode": "bilinear"}, {"g": RNG.random((2, 4, 4, 2)).astype(np.float32)}, 1),
    ("RoiAlign", 10, {"output_height": 2, "output_width": 2},
     {"r": np.array([[0, 0, 3, 3]], np.float32), "i": np.array([1])}, 1),
    *[(f"Reduce{kind}", 9, {"axes": [1, 3], "keepdims": 0}, {}, 1)
      for kind in ("Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "LogSumExp", "SumSquare")],
    ("ReduceSum", 11, {"axes": [-1]}, {}, 1),
    ("ReduceMean", 9, {}, {}, 1),
]  # fmt: skip


@pytest.mark.parametrize(
    ("op", "opset", "attributes", "constants", "outputs"),
    CASES,
    ids=[f"{c[0]}-{c[1]}-{i}" for i, c in enumerate(CASES)],
)
def test_old_versions_against_onnxruntime(
    op: str, opset: int, attributes: dict[str, Any], constants: dict[str, Any], outputs: int
) -> None:
    compare(model(op, {"x": X}, constants, opset, outputs, **attributes), {"x": X})


def test_squeeze_and_batch_normalization() -> None:
    x = X[:, :1]
    compare(model("Squeeze", {"x": x}, axes=[1]), {"x": x})
    stats = {k: RNG.random(3).astype(np.float32) + 0.5 for k in ("s", "b", "m", "v")}
    for opset in (7, 9, 14, 15):
        compare(model("BatchNormalization", {"x": X}, stats, opset, epsilon=0.01), {"x": X})
    with pytest.raises(ModelError, match="training mode"):
        load(model("BatchNormalization", {"x": X}, stats, 9, outputs=5))
    y, mean, var = ours(
        model("BatchNormalization", {"x": X}, stats, 14, 3, training_mode=1, momentum=0.75),
        {"x": X},
    )
    wide = X.astype(np.float64)
    centre, spread = wide.mean((0, 2, 3)), wide.var((0, 2, 3))
    unit = (wide - centre[:, None, None]) / np.sqrt(spread + 1e-5)[:, None, None]
    s, b, m, v = stats.values()
    np.testing.assert_allclose(y, unit * s[:, None, None] + b[:, None, None], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(mean, m * 0.75 + centre * 0.25, rtol=1e-5)
    np.testing.assert_allclose(var, v * 0.75 + spread * 0.25, rtol=1e-5)
    flat = model("BatchNormalization", {"x": X[:, :, 0, 0]}, stats, 7, spatial=0)
    assert load(flat).nodes[0].op.name == "BatchNormalization"


# -- opset 6, which onnxruntime does not read


def opset6(op: str, *arrays: Array, outputs: int = 1, **attributes: Any) -> list[Array]:
    inputs = {f"x{i}": a for i, a in enumerate(arrays)}
    return ours(model(op, inputs, opset=6, outputs=outputs, **attributes), inputs)


@pytest.mark.parametrize(
    ("op", "function"), [("Add", np.add), ("Sub", np.subtract), ("Mul", np.multiply)]
)
def test_opset_6_broadcast(op: str, function: Any) -> None:
    channel, plane = X[0, :, 0, 0], X[0, 0]
    (y,) = opset6(op, X, channel, broadcast=1, axis=1)
    np.testing.assert_array_equal(y, function(X, channel[:, None, None]))
    (y,) = opset6(op, X, plane, broadcast=1)
    np.testing.assert_array_equal(y, function(X, plane))
    (y,) = opset6(op, X, X[0, :, :, 0], broadcast=1, axis=1)
    np.testing.assert_array_equal(y, function(X, X[0, :, :, 0][..., None]))
    (y,) = opset6(op, X, np.ones((1, 1), np.float32), broadcast=1)
    np.testing.assert_array_equal(y, function(X, np.float32(1)))
    (y,) = opset6(op, X, X)
    np.testing.assert_array_equal(y, function(X, X))
    with pytest.raises(ModelError, match="without broadcast takes equal shapes"):
        opset6(op, X, plane)
    with pytest.raises(ModelError, match="no part of the first"):
        opset6(op, X, channel, broadcast=1, axis=2)


def test_opset_6_others() -> None:
    slope = np.array([0.1, 0.2, 0.3], np.float32)
    (y,) = opset6("PRelu", X, slope)
    np.testing.assert_array_equal(y, np.where(X < 0, X * slope[:, None, None], X))
    (y,) = opset6("Clip", X, min=-0.5)
    np.testing.assert_array_equal(y, np.maximum(X, np.float32(-0.5)))
    (y,) = opset6("Dropout", X, is_test=1)
    np.testing.assert_array_equal(y, X)
    y, mask = opset6("Dropout", X, is_test=1, outputs=2)
    np.testing.assert_array_equal(mask, np.ones_like(X))
    with pytest.raises(ModelError, match="training mode"):
        opset6("Dropout", X)
    a, b = X[0, 0], X[1, 0].T
    (y,) = opset6("Gemm", a, b, X[0, 0, 0, :1], broadcast=1)
    np.testing.assert_allclose(y, a @ b + X[0, 0, 0, :1], rtol=1e-5)
    (y,) = opset6("Cast", X, to=TensorProto.INT64)
    np.testing.assert_array_equal(y, X.astype(np.int64))
    (y,) = opset6("Greater", X, X[0, :, 0, 0], broadcast=1, axis=1)
    np.testing.assert_array_equal(y, X[0, :, 0, 0][:, None, None] < X)


def test_a_required_result_that_nothing_uses_stays() -> None:
    proto = model("TopK", {"x": X}, {"k": [2]}, opset=11, outputs=2)
    del proto.graph.output[1]
    compare(proto, {"x": X})
    (node,) = load(proto).nodes
    assert len(node.results) == 2


def test_ways_to_write_a_constant() -> None:
    ways = {
        "value": numpy_helper.from_array(np.arange(3, dtype=np.float32)),
        "value_float": 1.5,
        "value_floats": [1.5, 2.5],
        "value_int": 3,
        "value_ints": [3, 4],
    }
    for name, value in ways.items():
        (y,) = ours(model("Constant", {}, opset=13, **{name: value}), {})
        wanted = numpy_helper.to_array(value) if name == "value" else np.array(value)
        np.testing.assert_array_equal(y, wanted)
    with pytest.raises(ModelError, match="strings"):
        load(model("Constant", {}, opset=13, value_string="a"))
    with pytest.raises(ModelError, match="takes one attribute"):
        load(model("Constant", {}, opset=13, value_int=1, value_float=1.0))


def test_attributes_are_the_shortest_decimals() -> None:
    graph = load(model("LeakyRelu", {"x": X}, alpha=0.1))
    assert "{alpha = 0.1}" in str(graph)
    graph = load(model("LeakyRelu", {"x": X}, alpha=0.01))
    assert "alpha" not in str(graph)


# -- ONNX's own models of opset 6


def stored_models() -> list[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kinds = ("pytorch-converted", "pytorch-operator")
        return [c for kind in kinds for c in load_model_tests(kind=kind)]


@pytest.mark.parametrize("case", stored_models(), ids=lambda c: c.name)
def test_models_of_opset_6(case: Any) -> None:
    folder = Path(case.model_dir)
    graph = load(folder / "model.onnx")
    verify(graph)
    checked = 0
    for data in folder.glob("test_data_set_*"):
        inputs = [_stored(data / f"input_{i}.pb") for i in range(len(graph.inputs))]
        found = interpret(graph, dict(zip([v.name for v in graph.inputs], inputs, strict=True)))
        for i, array in enumerate(found.values()):
            wanted = _stored(data / f"output_{i}.pb")
            assert array.dtype == wanted.dtype
            np.testing.assert_allclose(array, wanted, rtol=case.rtol, atol=case.atol)
            checked += 1
    assert checked


def _stored(path: Path) -> Array:
    found: Array = numpy_helper.to_array(TensorProto.FromString(path.read_bytes()))
    return found


# -- the tables


def test_tables_name_only_what_exists() -> None:
    known = set(known_operators())
    for table in (NATIVE, TRUSTED):
        assert {op for op in table if not split_domain(op)[0]} <= known | {"Scatter", "Upsample"}
    for op_type, versions in {**NATIVE, **TRUSTED}.items():
        for version in versions:
            domain, name = split_domain(op_type)
            found = onnx.defs.get_schema(name, version, domain)
            assert found.since_version == version, (op_type, version)
    both = {(k, v) for k, vs in NATIVE.items() for v in vs} & set(RULES)
    assert not both


def test_every_class_with_an_onnx_name_is_reachable() -> None:
    reachable = set(NATIVE) | {op for op, _ in RULES}
    own = {"Clamp", "Generic", "FusedConv", "FusedMatMul", "Im2Col", "ConvMatrix", "SparseMatMul"}
    named = {name for name in ops() if name in known_operators()} - own
    assert named - reachable == set()


# strings, sequences, optionals, control flow; recurrent and other ops of versions that nothing
# vouches for; it may only shrink
REFUSED = """
ConcatFromSequence 11; GRU 3; If 1 11 13 16 19 21 23 24 25; ImageDecoder 20;
LSTM 1; Loop 1 11 13 16 19 21 23 24 25; MaxRoiPool 1 22; NonMaxSuppression 10; Optional 15 28;
OptionalGetElement 15 18 28; OptionalHasElement 15 18 28; RNN 1; RegexFullMatch 20;
Scan 8 9 11 16 19 21 23 24 25; SequenceAt 11; SequenceConstruct 11; SequenceEmpty 11;
SequenceErase 11; SequenceInsert 11; SequenceLength 11; SequenceMap 17; SplitToSequence 11 24;
StringConcat 20; StringNormalizer 10; StringSplit 20; Upsample 1
"""


@pytest.fixture
def no_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """No table in memory; the cache folder of this test."""
    monkeypatch.setenv("IRCONV_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(code_cache, "_state", {"enabled": True, "warned": False})
    schema_table._table.cache_clear()
    yield tmp_path / "kernels"
    schema_table._table.cache_clear()


@pytest.mark.parametrize("opset", [6, 17, 22])
def test_schemas_are_those_of_onnx_and_kept_on_disk(
    opset: int, no_tables: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {*known_operators(), "Upsample", "no such operator"}
    made = {name: schema(name, opset) for name in names}
    for name, held in made.items():
        try:
            found = onnx.defs.get_schema(name, opset, "")
        except onnx.defs.SchemaError:
            assert held is None
            continue
        assert held is not None
        assert (held.since_version, held.deprecated) == (found.since_version, found.deprecated)
        assert held.attributes.keys() == set(found.attributes)
        assert (held.min_inputs, held.max_inputs) == (found.min_input, found.max_input)
    schema_table._table.cache_clear()
    monkeypatch.setattr(schema_table, "_of_onnx", lambda *_: pytest.fail("made anew"))
    assert {name: schema(name, opset) for name in names} == made


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", '{"of": 1}', '{"of": "OF", "schemas": 3}', '{"of": "OF", "schemas": [[]]}'],
)
def test_a_damaged_table_is_made_anew(text: str, no_tables: Path) -> None:
    right = schema("Conv", 11)
    (file,) = no_tables.glob("schemas-*.json")
    of = json.loads(file.read_text())["of"]
    file.write_text(text.replace("OF", of))
    schema_table._table.cache_clear()
    assert schema("Conv", 11) == right
    assert json.loads(file.read_text())["of"] == of


def test_refusals_do_not_grow() -> None:
    found: dict[str, set[int]] = {}
    for op_type in known_operators():
        for opset in range(6, 29):
            held = schema(op_type, opset)
            if (
                held is not None
                and not held.deprecated
                and not _is_taken(op_type, held.since_version)
            ):
                found.setdefault(op_type, set()).add(held.since_version)
    listed = [entry.split() for entry in REFUSED.split(";")]
    assert found == {words[0]: set(map(int, words[1:])) for words in listed}


def _is_taken(op_type: str, version: int) -> bool:
    tables = (NATIVE.get(op_type, ()), TRUSTED.get(op_type, ()))
    return (op_type, version) in RULES or any(version in table for table in tables)
