"""ONNX's own test suite runs against irconv: nothing wrong, and refused is only what is listed."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from irconv import onnx_backend
from irconv.errors import BackendError, InputError, ModelError
from tests.onnx_suite import (
    CRASHED,
    DISPUTED,
    NOT_COMPARABLE,
    PASSED,
    RANDOM,
    REFUSED,
    WRONG,
    Outcome,
    matching,
    named,
    refused_list,
    run_suite,
    table,
)

ACTIVATIONS = (
    r"test_(relu|leakyrelu|prelu|elu|celu|selu|gelu|mish|swish|sigmoid|hardsigmoid|hardswish|"
    r"hardmax|softplus|softsign|tanh|thresholdedrelu|clip|shrink)(_.*)?"
)
# node tests of the ops that this project is about, by name, and how many there are at least
FAMILIES = {
    "Conv": (r"test_(basic_)?conv_.*", 5),
    "ConvTranspose": (r"test_convtranspose.*", 10),
    "pools": (r"test_(max|average|lp|globalmax|globalaverage)pool.*", 45),
    "activations": (ACTIVATIONS, 80),
    "BatchNormalization": (r"test_batchnorm_.*", 4),
    "LRN": (r"test_lrn.*", 2),
    "Gemm": (r"test_gemm_.*", 11),
    "MatMul": (r"test_matmul_\dd", 3),
    "Softmax": (r"test_(log)?softmax_.*", 30),
    "Concat": (r"test_concat_.*", 12),
    "Pad": (r"test_\w+_pad(_.*)?", 6),
    "Reshape": (r"test_reshape_.*", 10),
    "Transpose": (r"test_transpose_.*", 7),
}


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    """The whole suite, run once."""
    return run_suite()


@pytest.mark.slow
def test_nothing_is_wrong(outcomes: list[Outcome]) -> None:
    print(table(outcomes))
    assert named(outcomes, WRONG) == []
    assert named(outcomes, CRASHED) == []
    assert len(named(outcomes, PASSED)) >= 1870


@pytest.mark.slow
def test_refused_is_what_the_list_says(outcomes: list[Outcome]) -> None:
    assert refused_list() == named(outcomes, REFUSED)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_passes(outcomes: list[Outcome], family: str) -> None:
    pattern, least = FAMILIES[family]
    found = [o for o in matching(outcomes, pattern) if o.category == "NodeModel"]
    assert len(found) >= least
    assert [(o.name, o.message) for o in found if o.status != PASSED] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("category", "count"),
    [("PyTorchConvertedModel", 82), ("PyTorchOperatorModel", 35), ("RealModel", 9)],
)
def test_a_category_passes(outcomes: list[Outcome], category: str, count: int) -> None:
    found = [o for o in outcomes if o.category == category]
    assert [(o.name, o.message) for o in found if o.status != PASSED] == []
    assert len(found) >= count


@pytest.mark.slow
def test_not_comparable_are_only_the_named_ones(outcomes: list[Outcome]) -> None:
    """A test that agrees after all leaves the list."""
    found = {o.name: o.status for o in outcomes if o.status in (RANDOM, DISPUTED)}
    assert found == NOT_COMPARABLE


# -- the interface itself


def _model(op_type: str = "Relu") -> onnx.ModelProto:
    kind = onnx.TensorProto.FLOAT
    x, y = (helper.make_tensor_value_info(name, kind, [2, 3]) for name in "xy")
    graph = helper.make_graph([helper.make_node(op_type, ["x"], ["y"])], "one", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


X = np.array([[-1, 0, 1], [2, -3, 4]], np.float32)


def test_a_model_runs_on_a_list_an_array_or_a_dict() -> None:
    prepared = onnx_backend.prepare(_model(), "CPU")
    for given in ([X], X, {"x": X}):
        outputs = prepared.run(given)
        np.testing.assert_array_equal(outputs[0], np.maximum(X, 0))
        np.testing.assert_array_equal(outputs.y, outputs[0])  # type: ignore[attr-defined]
    np.testing.assert_array_equal(onnx_backend.run_model(_model(), [X])[0], np.maximum(X, 0))


def test_the_wrong_number_of_inputs_is_refused() -> None:
    with pytest.raises(InputError, match="wrong number of inputs"):
        onnx_backend.prepare(_model()).run([X, X])


def test_a_node_runs_by_itself() -> None:
    node = helper.make_node("Add", ["a", "b"], ["c"])
    (c,) = onnx_backend.run_node(node, [X, X[:1]])
    np.testing.assert_array_equal(c, X + X[:1])


def test_devices_and_models_that_are_not_supported() -> None:
    assert onnx_backend.supports_device("CPU")
    assert not onnx_backend.supports_device("NPU:0")
    assert onnx_backend.is_compatible(_model())
    assert not onnx_backend.is_compatible(_model("NoSuchOperator"))
    with pytest.raises(ModelError, match="NoSuchOperator"):
        onnx_backend.prepare(_model("NoSuchOperator"))
    with pytest.raises(BackendError, match="NPU"):
        onnx_backend.prepare(_model(), "NPU")
