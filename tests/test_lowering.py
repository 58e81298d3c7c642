"""im2col and conv_matrix: every kind of convolution, bit-equal on integers, nothing left direct."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from irconv.errors import GraphError, PipelineError
from irconv.graph import Graph
from irconv.interpret import interpret
from irconv.listing import write
from irconv.op import Op
from irconv.ops.activation import Relu
from irconv.ops.conv import Conv, ConvTranspose
from irconv.ops.fused import FusedConv
from irconv.ops.pool import MaxPool
from irconv.pipeline import Stage, lower
from irconv.text import parse
from irconv.types import Array, TensorType

PIPELINES = ["im2col", "conv_matrix", "conv_matrix{form=literal}"]
DIRECT = (Conv, ConvTranspose, FusedConv)


def integers(rng: np.random.Generator, *shape: int) -> Array:
    return rng.integers(-4, 5, shape).astype(np.float32)


def one_layer(
    op: Op, image: tuple[int, ...], *parameters: Array, residual: Array | None = None
) -> Graph:
    graph = Graph("layer")
    operands = [graph.add_input("x", TensorType("f32", ("N", *image)))]
    operands += [graph.add_parameter(f"p{i}", p) for i, p in enumerate(parameters)]
    if residual is not None:
        operands.append(graph.add_input("r", TensorType("f32", ("N", *residual.shape[1:]))))
    graph.set_outputs([graph.add_node(op, operands, ["y"]).result])
    return graph


def check(graph: Graph, pipeline: str, **inputs: Array) -> Graph:
    """The lowered graph, after comparing it bit by bit and reading its listing back."""
    before = str(graph)
    lowered = lower(graph, pipeline)
    assert not any(isinstance(node.op, DIRECT) for node in lowered)
    expected = interpret(graph, inputs)["y"]
    assert np.array_equal(interpret(lowered, inputs)["y"], expected)
    arrays = {v.digest: v.array for v in lowered.parameters.values() if v.array is not None}
    assert parse(str(lowered), arrays) == lowered
    assert str(graph) == before
    return lowered


def random_window(rng: np.random.Generator, rank: int) -> dict[str, tuple[int, ...]]:
    def draw(low: int, high: int, count: int) -> tuple[int, ...]:
        return tuple(int(v) for v in rng.integers(low, high, count))

    return {
        "kernel_shape": draw(1, 4, rank),
        "strides": draw(1, 3, rank),
        "pads": draw(0, 3, 2 * rank),
        "dilations": draw(1, 3, rank),
    }


@pytest.mark.parametrize("pipeline", PIPELINES)
@pytest.mark.parametrize(("rank", "group"), list(itertools.product((1, 2, 3), (1, 2, 4))))
def test_every_convolution_is_lowered_exactly(pipeline: str, rank: int, group: int) -> None:
    rng = np.random.default_rng(10 * rank + group)
    done = 0
    for _ in range(6):
        window = random_window(rng, rank)
        image = (4, *(int(n) for n in rng.integers(5, 8, rank)))
        w = integers(rng, 8, 4 // group, *window["kernel_shape"])
        graph = one_layer(Conv(**window, group=group), image, w, integers(rng, 8))
        check(graph, pipeline, x=integers(rng, 3, *image))
        w = integers(rng, 4, 8 // group, *window["kernel_shape"])
        try:
            graph = one_layer(ConvTranspose(**window, group=group), image, w, integers(rng, 8))
        except GraphError:
            continue  # the pads of this draw leave nothing of the image
        check(graph, pipeline, x=integers(rng, 3, *image))
        done += 1
    assert done >= 3


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_output_padding(pipeline: str) -> None:
    rng = np.random.default_rng(0)
    op = ConvTranspose((3, 3), (2, 2), (1, 1, 1, 1), output_padding=(1, 0))
    graph = one_layer(op, (2, 4, 5), integers(rng, 2, 3, 3, 3))
    check(graph, pipeline, x=integers(rng, 2, 2, 4, 5))


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_a_fused_convolution_keeps_its_epilogue_and_gives_its_pool_a_node(pipeline: str) -> None:
    rng = np.random.default_rng(1)
    op = FusedConv(
        (3, 3), pads=(1, 1, 1, 1), activation=Relu(), pool=MaxPool((2, 2), strides=(2, 2))
    )
    r = integers(rng, 2, 6, 8, 8)
    graph = one_layer(op, (3, 8, 8), integers(rng, 6, 3, 3, 3), integers(rng, 6), residual=r)
    lowered = check(graph, pipeline, x=integers(rng, 2, 3, 8, 8), r=r)
    product = next(n for n in lowered if n.op.name in ("FusedMatMul", "SparseMatMul"))
    assert product.op.attributes()["activation"] == Relu()
    assert [n.op.name for n in lowered][-1] == "MaxPool"


def test_the_listing_of_a_small_layer() -> None:
    w = np.ones((1, 1, 2, 2), np.float32)
    lowered = lower(one_layer(Conv((2, 2)), (1, 3, 3), w), "conv_matrix")
    assert str(lowered.node("y.matrix").result.type) == (
        "matrix<f32, 4 x 9, nnz 16, tap, 1 x 3 x 3 -> 1 x 2 x 2, kernel [2, 2], strides [1, 1], "
        "pads [0, 0, 0, 0], dilations [1, 1], group 1>"
    )
    assert [n.op.name for n in lowered] == ["ConvMatrix", "Reshape", "SparseMatMul", "Reshape"]
    assert lowered.value("p0") in lowered.node("y.matrix").operands


def test_provenance_goes_back_to_the_convolution_and_survives_the_text() -> None:
    graph = one_layer(Conv((2, 2)), (1, 3, 3), np.ones((1, 1, 2, 2), np.float32))
    lowered = lower(graph, "im2col")
    for node in lowered:
        assert [r.name for r in lowered.provenance.originals([node.uid])] == ["y"]
    made = lowered.provenance.descendants([graph.node("y").uid])
    assert [r.op for r in made] == ["Im2Col", "MatMul", "Reshape"]
    read = parse(write(lowered, provenance=True))
    assert [r.name for r in read.provenance.originals([read.nodes[0].uid])] == ["y"]


def remarks(graph: Graph, pipeline: str) -> list[str]:
    found: list[str] = []

    def note(stage: Stage) -> None:
        found.extend(map(str, stage.remarks))

    lower(graph, pipeline, note)
    return found


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_unknown_sizes_are_declined_with_a_remark(pipeline: str) -> None:
    graph = Graph("layer")
    x = graph.add_input("x", TensorType("f32", ("N", 1, "H", 8)))
    w = graph.add_parameter("w", np.zeros((1, 1, 3, 3), np.float32))
    graph.set_outputs([graph.add_node(Conv((3, 3)), [x, w], ["y"]).result])
    rule = "conv_to_product" if pipeline == "im2col" else "conv_to_matrix"
    assert remarks(graph, pipeline) == [f"%y: {rule} declined: its spatial sizes are not known"]


def test_a_negative_budget_is_refused() -> None:
    with pytest.raises(PipelineError, match="wrong budget: expected 0 or more, got -5"):
        lower(Graph(), "conv_matrix{budget=-5}")


def test_a_literal_matrix_past_the_budget_is_left_alone_with_its_size() -> None:
    w = np.zeros((64, 64, 3, 3), np.float32)
    graph = one_layer(Conv((3, 3), pads=(1, 1, 1, 1)), (64, 56, 56), w)
    (remark,) = remarks(graph, "conv_matrix{form=literal,budget=512MiB}")
    assert remark == (
        "%y: conv_to_matrix declined: its literal index takes 903757828 bytes, 536870912 of "
        "536870912 are left; form=tap takes 232996 bytes"
    )
