"""Lowered convolutions in ONNX: exact, any batch, weights once, the index obeyed."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import pytest

from irconv.attributes import make_op
from irconv.backends.onnx import matrices
from irconv.backends.onnx.emit import emit
from irconv.backends.onnx.proto import model_of
from irconv.backends.onnx.records import OnnxGraph
from irconv.backends.onnx.sessions import open_session
from irconv.errors import ExportError
from irconv.graph import Graph
from irconv.interpret import interpret
from irconv.pipeline import lower
from irconv.types import Array, TensorType
from tests.export_cases import inputs_of

CONVOLUTIONS = {"Conv", "ConvTranspose", "ConvInteger", "QLinearConv", "DeformConv"}
PIPELINES = ("im2col", "conv_matrix", "conv_matrix{form=literal}")


@dataclass(frozen=True)
class Layer:
    """A convolution of `channels` to `outputs` over an image."""

    image: tuple[int, ...]
    kernel: tuple[int, ...]
    channels: int = 4
    outputs: int = 6
    attributes: dict[str, Any] = field(default_factory=dict)
    bias: bool = True
    transposed: bool = False

    def graph(self) -> Graph:
        rng = np.random.default_rng(0)
        group = self.attributes.get("group", 1)
        first, second = self.outputs, self.channels
        if self.transposed:
            first, second = second, first
        w = rng.integers(-4, 5, (first, second // group, *self.kernel)).astype(np.float32)
        graph = Graph("layer")
        operands = [graph.add_input("x", TensorType("f32", ("N", self.channels, *self.image)))]
        operands.append(graph.add_parameter("w", w))
        if self.bias:
            b = rng.integers(-4, 5, self.outputs).astype(np.float32)
            operands.append(graph.add_parameter("b", b))
        attributes = {"kernel_shape": self.kernel, **self.attributes}
        op = make_op("ConvTranspose" if self.transposed else "Conv", attributes)
        graph.set_outputs(graph.add_node(op, operands, ["y"]).results)
        return graph


LAYERS = {
    "1d": Layer((11,), (3,), attributes={"strides": (2,), "pads": (2, 1)}),
    "2d": Layer((7, 6), (3, 3), attributes={"pads": (1, 1, 1, 1)}),
    "2d asymmetric": Layer((7, 6), (3, 2), attributes={"pads": (0, 2, 1, 0), "strides": (1, 2)}),
    "2d dilated": Layer((9, 9), (3, 2), attributes={"dilations": (2, 3)}, bias=False),
    "2d groups": Layer((5, 6), (3, 3), attributes={"group": 2, "pads": (1, 0, 1, 0)}),
    "2d depthwise": Layer((6, 5), (3, 3), outputs=4, attributes={"group": 4, "strides": (2, 2)}),
    "2d depthwise, two each": Layer((6, 5), (3, 3), outputs=8, attributes={"group": 4}),
    "1x1": Layer((4, 5), (1, 1)),
    "1x1 strided": Layer((5, 5), (1, 1), attributes={"strides": (2, 2)}),
    "3d": Layer(
        (4, 5, 4), (2, 3, 1), attributes={"strides": (1, 2, 1), "pads": (1, 0, 0, 0, 1, 2)}
    ),
    "transposed": Layer((4, 5), (3, 3), attributes={"strides": (2, 2)}, transposed=True),
    "transposed, padded": Layer(
        (4, 5), (3, 4), attributes={"strides": (2, 3), "pads": (1, 2, 0, 1)}, transposed=True
    ),
    "transposed, output padding": Layer(
        (4, 5), (3, 3), attributes={"strides": (2, 2), "output_padding": (1, 0)}, transposed=True
    ),
    "transposed groups": Layer(
        (4, 3), (2, 3), attributes={"group": 2, "dilations": (2, 1)}, transposed=True
    ),
    "transposed 1d depthwise": Layer(
        (6,), (4,), outputs=4, attributes={"group": 4, "strides": (3,)}, transposed=True
    ),
}


def emitted_ops(graph: OnnxGraph) -> set[str]:
    inner = {node.op_type for f in graph.functions for node in f.nodes}
    return inner | {node.op_type for node in graph.nodes}


def run(graph: Graph, given: dict[str, Array], opset: int = 17) -> Array:
    return open_session(model_of(emit(graph, opset)), threads=1)(given)[0]


@pytest.mark.parametrize("pipeline", PIPELINES)
@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS.keys())
def test_a_lowered_convolution_is_exact_for_every_batch(layer: Layer, pipeline: str) -> None:
    graph = layer.graph()
    lowered = lower(graph, pipeline)
    for opset in (13, 18, 26):
        written = emit(lowered, opset)
        assert not emitted_ops(written) & CONVOLUTIONS
        session = open_session(model_of(written), threads=1)
        for batch in (1, 2, 7, 0):
            given = inputs_of(graph, batch, integers=True)
            (got,) = session(given)
            assert np.array_equal(got, interpret(graph, given)["y"]), (opset, batch)


@pytest.mark.parametrize("pipeline", PIPELINES)
@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS.keys())
def test_the_weights_stand_once_in_the_file(layer: Layer, pipeline: str) -> None:
    lowered = lower(layer.graph(), pipeline)
    written = emit(lowered, 17)
    floats = [a for a in written.initializers.values() if a.dtype == np.float32 and a.ndim]
    biases = layer.outputs if layer.bias else 0
    group = layer.attributes.get("group", 1)
    free = layer.channels * layer.outputs // group * prod(layer.kernel)
    assert sum(a.size for a in floats) == free + biases


def test_one_free_weight_changes_all_its_places() -> None:
    layer = LAYERS["2d"]
    lowered = lower(layer.graph(), "conv_matrix")
    model = model_of(emit(lowered, 17))
    given = {"x": np.ones((1, 4, 7, 6), np.float32)}
    (before,) = open_session(model, threads=1)(given)
    weights = np.array(dict(emit(lowered, 17).initializers)["w"])
    weights[2, 1, 1, 1] += 1
    changed = layer.graph()
    changed.parameters["w"].array = weights
    after = run(lower(changed, "conv_matrix"), given)
    assert np.array_equal(after[0, 2] - before[0, 2], np.ones((7, 6)))
    assert np.array_equal(np.delete(after, 2, 1), np.delete(before, 2, 1))


@pytest.mark.parametrize("pipeline", PIPELINES[1:])
@pytest.mark.parametrize("name", ["2d", "2d groups", "2d depthwise", "transposed, padded", "1x1"])
def test_the_matrix_is_executed_from_its_index(name: str, pipeline: str) -> None:
    lowered = lower(LAYERS[name].graph(), pipeline)
    parameters = lowered.parameters
    columns = next(v for n, v in parameters.items() if n.endswith("columns"))
    entries = next(v for n, v in parameters.items() if n.endswith("entries"))
    assert columns.array is not None
    assert entries.array is not None
    rng = np.random.default_rng(5)
    given = inputs_of(lowered, 2, integers=True)
    before = run(lowered, given)
    # any place may now hold any weight, one tap several times in a row
    columns.array = rng.permutation(columns.array)
    entries.array = rng.permutation(entries.array)
    after = run(lowered, given)
    assert not np.array_equal(after, before)
    assert np.array_equal(after, interpret(lowered, given)["y"])


def test_a_fused_convolution_keeps_its_epilogue_in_each_form() -> None:
    graph = Graph("fused")
    x = graph.add_input("x", TensorType("f32", ("N", 3, 8, 8)))
    r = graph.add_input("r", TensorType("f32", ("N", 5, 8, 8)))
    rng = np.random.default_rng(0)
    w = graph.add_parameter("w", rng.integers(-3, 4, (5, 3, 3, 3)).astype(np.float32))
    b = graph.add_parameter("b", np.arange(5, dtype=np.float32))
    fused = make_op(
        "FusedConv",
        {
            "kernel_shape": (3, 3),
            "pads": (1, 1, 1, 1),
            "activation": make_op("Relu", {}),
            "pool": make_op("MaxPool", {"kernel_shape": (2, 2), "strides": (2, 2)}),
        },
    )
    graph.set_outputs(graph.add_node(fused, [x, w, b, r], ["y"]).results)
    for pipeline in ("", *PIPELINES):
        lowered = lower(graph, pipeline)
        for functions in (False, True):
            written = emit(lowered, 17, functions)
            session = open_session(model_of(written), threads=1)
            for batch in (1, 2, 0):
                given = inputs_of(graph, batch, integers=True)
                assert np.array_equal(session(given)[0], interpret(graph, given)["y"])
        if not pipeline:
            (function,) = written.functions
            assert function.name == "FusedConv.Relu.MaxPool"
            assert [n.op_type for n in function.nodes] == ["Conv", "Add", "Relu", "MaxPool"]


def test_a_literal_matrix_past_the_budget_is_refused_with_its_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(matrices, "LITERAL_BUDGET", 1000)
    lowered = lower(LAYERS["2d"].graph(), "conv_matrix{form=literal}")
    with pytest.raises(ExportError, match=r"at most 1000 bytes of index, got \d+ bytes.*form=tap"):
        emit(lowered, 17)


def test_the_tap_form_reads_pixels_by_gather_and_multiplies_tap_by_tap() -> None:
    written = emit(lower(LAYERS["2d"].graph(), "conv_matrix"), 17)
    kinds = [node.op_type for node in written.nodes]
    assert kinds.count("MatMul") == 9
    # one for the weights of each tap, one for its pixels; the middle tap reads all pixels as they
    # are
    assert kinds.count("Gather") == 9 + 8
    index = [a for n, a in written.initializers.items() if "pixel_index" in n]
    assert {a.dtype.name for a in index} == {"int32"}
    assert {a.shape for a in index} == {(42,)}
