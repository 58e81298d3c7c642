"""The matrix report against dense matrices: what is counted is equal, what is measured is close."""

from __future__ import annotations

import json
from dataclasses import replace
from math import sqrt
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import irconv as ic
from irconv.analysis.crossbars import crossbar
from irconv.analysis.diagonals import diagonals
from irconv.analysis.layer_matrix import LayerMatrix, has_matrix
from irconv.analysis.operator import ConvOperator
from irconv.analysis.report import matrix_report
from irconv.analysis.spectral_norm import spectral_norm
from irconv.analysis.spectrum import Spectrum, reshaped_norm, spectrum
from irconv.cli import app
from irconv.errors import BudgetError, UsageError
from irconv.geometry import ConvGeometry
from irconv.graph import Graph, Node
from irconv.inspector.layer_pages import layer_pages
from irconv.matrix import SharedMatrix
from irconv.ops.conv import Conv, ConvTranspose
from irconv.types import Array, TensorType


@st.composite
def geometries(draw: Any, largest: int = 6) -> ConvGeometry:
    """Convolutions of 1 to 3 axes with small matrices; padding may be wider than the kernel."""
    rank = draw(st.integers(1, 3))
    group, ins, outs = (draw(st.integers(1, 3)) for _ in range(3))
    sizes = st.tuples(*[st.integers(1, largest if rank < 3 else 3)] * rank)
    small = st.tuples(*[st.integers(1, 3)] * rank)
    kernel, strides, dilations, image = draw(small), draw(small), draw(small), draw(sizes)
    pads = draw(st.tuples(*[st.integers(0, 3)] * (2 * rank)))
    # the window must fit into the padded image
    spans = [d * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True)]
    room = [a + b for a, b in zip(pads[:rank], pads[rank:], strict=True)]
    image = tuple(max(i, s - r) for i, s, r in zip(image, spans, room, strict=True))
    return ConvGeometry(ins * group, outs * group, image, kernel, strides, pads, dilations, group)


def dense(geometry: ConvGeometry, weights: Array) -> Array:
    return SharedMatrix.of(geometry, weights).dense()


def weights_of(geometry: ConvGeometry, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(geometry.weights_shape)


def report(geometry: ConvGeometry, weights: Array | None = None, **options: Any) -> Any:
    return matrix_report(node_of(geometry, weights), **options)


def node_of(geometry: ConvGeometry, weights: Array | None = None, transposed: bool = False) -> Node:
    """A convolution of this geometry as a node; its transpose where asked for."""
    g = geometry
    graph = Graph()
    shape = (g.out_channels, *g.out) if transposed else (g.in_channels, *g.image)
    x = graph.add_input("x", TensorType("f64", (1, *shape)))
    w = graph.add_parameter("w", weights_of(g) if weights is None else weights)
    node = graph.add_node(op_of(g, transposed), [x, w], ["layer"])
    graph.set_outputs(node.results)
    return node


def op_of(g: ConvGeometry, transposed: bool = False) -> Any:
    if not transposed:
        return Conv(g.kernel, g.strides, g.pads, g.dilations, g.group)
    left = ConvOperator(g, weights_of(g)).left_over()
    return ConvTranspose(g.kernel, g.strides, g.pads, g.dilations, g.group, left)


# -- what is counted: exactly equal --------------------------------------------------------------


@given(geometries())
def test_entries_zeros_and_sharing(geometry: ConvGeometry) -> None:
    index = SharedMatrix.of(geometry, weights_of(geometry)).literal()
    places = np.bincount(index.entries, minlength=geometry.free_weights)
    found = report(geometry, norm=False)
    assert (found.rows, found.columns) == index.shape
    assert found.entries == np.count_nonzero(index.dense())
    assert found.fixed_zeros == index.dense().size - found.entries
    assert found.density == found.entries / index.dense().size
    assert found.places == (places.min(), places.max())
    assert found.unused_weights == np.count_nonzero(places == 0)


@given(geometries(), st.booleans())
def test_diagonals(geometry: ConvGeometry, transposed: bool) -> None:
    matrix = dense(geometry, np.ones(geometry.weights_shape))
    rows, columns = np.nonzero(matrix.T if transposed else matrix)
    found = diagonals(geometry, transposed)
    offsets = columns - rows
    assert found.count == len(np.unique(offsets))
    assert found.cyclic == len(np.unique(offsets % max(matrix.shape)))
    if offsets.size:
        assert (found.lowest, found.highest) == (offsets.min(), offsets.max())


@given(geometries(), st.booleans(), st.integers(1, 40), st.integers(1, 40))
@example(ConvGeometry(6, 6, (4,), (3,), (1,), (1, 1), (1,), 6), False, 7, 9)
def test_crossbar_tiles(geometry: ConvGeometry, transposed: bool, rows: int, columns: int) -> None:
    matrix = dense(geometry, np.ones(geometry.weights_shape))
    matrix = matrix.T if transposed else matrix
    tall, wide = -(-matrix.shape[0] // rows), -(-matrix.shape[1] // columns)
    padded = np.zeros((tall * rows, wide * columns))
    padded[: matrix.shape[0], : matrix.shape[1]] = matrix
    occupied = padded.reshape(tall, rows, wide, columns).any(axis=(1, 3))
    found = crossbar(geometry, rows, columns, transposed)
    assert found.tiles == np.count_nonzero(occupied)
    assert found.all_tiles == occupied.size
    assert found.use == (
        np.count_nonzero(matrix) / (found.tiles * rows * columns) if found.tiles else 0
    )


def test_crossbars_of_depthwise_layers_with_many_groups_to_a_tile() -> None:
    geometry = ConvGeometry(64, 64, (3, 3), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 64)
    matrix = dense(geometry, np.ones(geometry.weights_shape))
    padded = np.zeros((5 * 128, 5 * 128))
    padded[:576, :576] = matrix
    occupied = padded.reshape(5, 128, 5, 128).any(axis=(1, 3))
    assert crossbar(geometry, 128, 128).tiles == np.count_nonzero(occupied)


def test_entries_whose_weight_is_zero_just_now() -> None:
    geometry = ConvGeometry(2, 3, (5, 4), (3, 2), (2, 1), (1, 0, 1, 1), (1, 1))
    weights = weights_of(geometry)
    weights[weights < 0.3] = 0
    found = report(geometry, weights, norm=False)
    assert found.entries - found.zero_entries == np.count_nonzero(dense(geometry, weights))


def test_what_takes_too_long_is_not_counted_and_said() -> None:
    geometry = ConvGeometry(512, 512, (512, 512), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1))
    with pytest.raises(BudgetError, match="too small to be counted"):
        crossbar(geometry, 2, 2)
    graph = ic.Builder("wide")
    x = graph.input("x", (1, 8, 1024, 1024))
    graph.output(graph.conv(x, 8, kernel=3, pads="same"))
    found = matrix_report(graph.build().nodes[0], crossbars=[(1, 1)], norm=False)
    assert found.crossbars == ()
    assert "not counted: tiles of 1 x 1 are too small" in str(found)


# -- what is measured ----------------------------------------------------------------------------


@given(geometries(), st.integers(0, 3))
@settings(max_examples=60)
def test_products_and_bounds(geometry: ConvGeometry, seed: int) -> None:
    weights = weights_of(geometry, seed)
    operator, matrix = ConvOperator(geometry, weights), dense(geometry, weights)
    x = np.random.default_rng(seed).standard_normal(geometry.columns)
    y = np.random.default_rng(seed + 1).standard_normal(geometry.rows)
    assert np.allclose(operator.forward(x), matrix @ x, rtol=1e-12, atol=1e-12)
    assert np.allclose(operator.adjoint(y), matrix.T @ y, rtol=1e-12, atol=1e-12)
    rows, columns = operator.largest_sums()
    truth = float(np.linalg.norm(matrix, 2))
    assert truth <= operator.upper_bound() * (1 + 1e-12)
    assert operator.upper_bound() <= np.sqrt(rows * columns) * (1 + 1e-12)
    assert rows == pytest.approx(np.abs(matrix).sum(axis=1).max(initial=0), rel=1e-12)
    assert columns == pytest.approx(np.abs(matrix).sum(axis=0).max(initial=0), rel=1e-12)


@given(geometries(), st.integers(0, 3))
@settings(max_examples=60)
def test_singular_values(geometry: ConvGeometry, seed: int) -> None:
    weights = weights_of(geometry, seed)
    matrix = dense(geometry, weights)
    truth = np.linalg.svd(matrix, compute_uv=False)
    found = spectrum(ConvOperator(geometry, weights))
    assert isinstance(found, Spectrum)
    every = np.sort(np.repeat(found.values, found.multiplicity))[::-1]
    assert len(every) + found.zeros == len(truth)
    assert np.allclose(every, truth[: len(every)], rtol=1e-11, atol=1e-11)
    assert np.allclose(truth[len(every) :], 0, atol=1e-12)
    assert found.rank == np.linalg.matrix_rank(matrix)
    if found.rank == len(truth):
        assert found.condition == pytest.approx(np.linalg.cond(matrix), rel=1e-6)
    else:
        assert found.condition == float("inf")


@given(geometries(largest=8), st.integers(0, 3))
@settings(max_examples=60)
def test_the_spectral_norm_is_that_of_the_dense_matrix(geometry: ConvGeometry, seed: int) -> None:
    weights = weights_of(geometry, seed)
    truth = float(np.linalg.norm(dense(geometry, weights), 2))
    found = spectral_norm(ConvOperator(geometry, weights), np.random.default_rng(seed), 400)
    assert found.residual <= 2e-5 or not truth
    assert found.value == pytest.approx(truth, rel=1e-5)
    slack = truth * 1e-12
    assert found.value - slack <= truth <= found.probable_upper + slack
    assert found.probable_upper <= found.upper * (1 + 1e-12)


def test_few_steps_give_a_lower_bound_and_say_how_sure_it_is() -> None:
    geometry = ConvGeometry(3, 4, (8, 8), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1))
    weights = weights_of(geometry)
    values = np.linalg.svd(dense(geometry, weights), compute_uv=False) ** 2
    truth = sqrt(values[0])
    for steps in (1, 5, 10, 20, 160):
        found = spectral_norm(ConvOperator(geometry, weights), np.random.default_rng(1), steps)
        assert found.iterations <= steps
        assert found.value <= truth * (1 + 1e-12)
        assert truth <= found.probable_upper * (1 + 1e-12)
        # a singular value lies where the residual says
        assert np.abs(values - found.value**2).min() <= found.residual * found.value**2 * 1.0001
    assert found.is_converged


def test_torch_s_number_is_another_one() -> None:
    """A 3x3 box filter: its weights have norm 3; on an image it amplifies by almost 9."""
    geometry = ConvGeometry(1, 1, (30, 30), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1))
    found = report(geometry, np.ones((1, 1, 3, 3)))
    assert found.reshaped_norm == pytest.approx(3.0)
    # the tridiagonal matrix of ones has the eigenvalues 1 + 2 cos(j pi / 31)
    assert found.spectral_norm.value == pytest.approx((1 + 2 * np.cos(np.pi / 31)) ** 2, rel=1e-9)
    assert "torch's spectral_norm" in str(found)


def test_numbers_of_extreme_weights_stay_finite() -> None:
    geometry = ConvGeometry(1, 1, (40, 40), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1))
    plain = report(geometry, dense_budget=0).spectral_norm
    for factor in (1e200, 1e-200):
        found = report(geometry, weights_of(geometry) * factor, dense_budget=0).spectral_norm
        assert found.value == pytest.approx(plain.value * factor, rel=1e-9)


def test_weights_of_zero_have_no_norm_and_no_rank() -> None:
    geometry = ConvGeometry(1, 1, (6, 6), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1))
    found = report(geometry, np.zeros((1, 1, 3, 3)))
    assert (found.rank, found.spectral_norm.value, found.nonzero_condition) == (0, 0.0, None)
    assert report(geometry, np.zeros((1, 1, 3, 3)), dense_budget=0).spectral_norm.value == 0.0


def test_weights_that_are_not_finite_are_refused_by_name() -> None:
    geometry = ConvGeometry(1, 1, (6, 6), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1))
    found = report(geometry, np.full((1, 1, 3, 3), np.nan))
    assert found.spectral_norm is None
    assert "some weights are not finite" in str(found)


# -- nodes ---------------------------------------------------------------------------------------


def small_network() -> Graph:
    b = ic.Builder("net")
    x = b.input("x", ("N", 2, 7, 6))
    b.output(b.relu(b.conv(x, 4, kernel=3, strides=2, pads="same", name="first")))
    return b.build()


def test_every_form_of_a_layer_has_the_same_matrix() -> None:
    graph = small_network()
    plain = matrix_report(graph.node("first"))
    fused = ic.lower(graph, "fuse")
    lowered = ic.lower(fused, "conv_matrix")
    literal = ic.lower(graph, "conv_matrix{form=literal}")
    nodes = [
        next(n for n in g if n.op.name == op)
        for g, op in (
            (fused, "FusedConv"),
            (lowered, "ConvMatrix"),
            (lowered, "SparseMatMul"),
            (literal, "ConvMatrix"),
        )
    ]
    for node in nodes:
        found = matrix_report(node)
        assert replace(found, node=plain.node, op=plain.op) == plain


@given(geometries())
@settings(max_examples=30)
def test_a_transposed_convolution_has_the_transposed_matrix(geometry: ConvGeometry) -> None:
    g = geometry
    if min(g.out) < 1:
        return
    node = node_of(g, transposed=True)
    layer = LayerMatrix.of(node)
    assert (layer.rows, layer.columns) == (g.columns, g.rows)
    assert replace(layer.geometry, image=g.image) == g
    assert np.array_equal(
        SharedMatrix.of(layer.geometry, weights_of(g), layer.transposed).dense(),
        dense(g, weights_of(g)).T,
    )
    turned, plain = matrix_report(node), matrix_report(node_of(g))
    assert turned.entries == plain.entries
    assert turned.rank == plain.rank
    assert turned.adjoint.difference < 1e-12


def test_nodes_without_a_matrix_are_refused_by_name() -> None:
    graph = small_network()
    other = next(n for n in graph if n.op.name == "Relu")
    assert not has_matrix(other)
    with pytest.raises(UsageError, match="a node with one convolution is needed"):
        matrix_report(other)
    b = ic.Builder("any")
    x = b.input("x", (1, 2, "H", 6))
    b.output(b.conv(x, 4, kernel=3))
    with pytest.raises(UsageError, match="spatial sizes must be known"):
        matrix_report(b.build().nodes[0])


@pytest.mark.parametrize(("batch", "outs"), [(0, 3), (1, 0), (0, 0)])
def test_a_layer_without_images_or_channels_has_a_page_without_pictures(
    batch: int, outs: int
) -> None:
    graph = Graph()
    x = graph.add_input("x", TensorType("f32", (batch, 2, 5, 5)))
    w = graph.add_parameter("w", np.ones((outs, 2, 3, 3), np.float32))
    node = graph.add_node(Conv((3, 3)), [x, w], ["layer"])
    graph.set_outputs(node.results)
    (page,) = layer_pages(graph, ["all"]).values()
    assert page["views"] == []
    if outs:
        assert page["facts"]["rows"] == 27
        return
    assert page["facts"] == {}
    with pytest.raises(UsageError, match="must be known and above 0"):
        matrix_report(node)


def test_weights_that_are_inputs_leave_the_counts() -> None:
    geometry = ConvGeometry(2, 3, (5, 5), (3, 3), (1, 1), (0, 0, 0, 0), (1, 1))
    graph = Graph()
    x = graph.add_input("x", TensorType("f32", (1, 2, 5, 5)))
    w = graph.add_input("w", TensorType("f32", (3, 2, 3, 3)))
    node = graph.add_node(op_of(geometry), [x, w])
    found = matrix_report(node)
    assert found.entries == 3 * 2 * 9 * 9
    assert found.spectral_norm is None
    assert "the weights are not constant" in str(found)


def test_a_report_is_plain_data() -> None:
    found = ic.matrix_report(small_network().node("first"), crossbars=[(8, 16)])
    data = json.loads(json.dumps(found.to_json()))
    assert data["crossbars"][0]["tiles"] == found.crossbars[0].tiles
    assert data["density"] == found.density
    assert data["spectral_norm"]["method"] == "dense"
    assert data["adjoint"]["difference"] < 1e-12
    lines = found.lines()
    assert lines[0].startswith("%first (Conv): 2 x 7 x 6 -> 4 x 4 x 3, kernel [3, 3]")
    assert any(line.startswith("crossbar 8x16") for line in lines)


def test_the_readme_s_smallest_example() -> None:
    """The 3x3 image and 2x2 filter: 4 x 9, four weights at four places each, 20 fixed zeros."""
    geometry = ConvGeometry(1, 1, (3, 3), (2, 2), (1, 1), (0, 0, 0, 0), (1, 1))
    found = report(geometry, np.array([1.0, 2.0, 3.0, 4.0]).reshape(1, 1, 2, 2))
    assert (found.rows, found.columns, found.entries, found.fixed_zeros) == (4, 9, 16, 20)
    assert (found.free_weights, found.places) == (4, (4, 4))
    # rows 0 and 1 begin at their own column, rows 2 and 3 one further: 0, 1, 3, 4 and 1, 2, 4, 5
    assert (found.diagonals.count, found.diagonals.lowest, found.diagonals.highest) == (6, 0, 5)
    assert found.rank == 4
    assert found.spectral_norm.value <= sqrt(10 * 10)
    assert reshaped_norm(np.array([[[[1.0, 2.0], [3.0, 4.0]]]])) == pytest.approx(sqrt(30))


# -- the command ---------------------------------------------------------------------------------


def told(*arguments: str, status: int = 0) -> str:
    done = CliRunner().invoke(app, ["matrix", *arguments])
    assert done.exit_code == status, (done.stdout, done.stderr)
    return done.stdout if status == 0 else done.stderr


def test_the_command_tells_one_layer_or_all() -> None:
    one = told("zoo:lenet5", "--node", "conv3", "--crossbar", "64x32")
    assert "matrix            120 x 400; 48000 entries" in one
    assert "crossbar 64x32" in one
    assert "spectral norm" in one
    every = told("zoo:lenet5", "--quiet")
    assert [line.split()[0] for line in every.splitlines() if line.startswith("conv")] == [
        "conv1",
        "conv2",
        "conv3",
    ]
    lowered = json.loads(told("zoo:lenet5", "-p", "conv_matrix", "--json", "--no-norm"))
    assert [r["op"] for r in lowered] == ["ConvMatrix"] * 3
    assert [r["entries"] for r in lowered] == [107736, 240000, 48000]


def test_a_norm_that_takes_long_is_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["matrix", "zoo:lenet5", "--node", "conv2", "--iterations", "2"]
    assert CliRunner().invoke(app, words).stderr == ""
    monkeypatch.setattr("irconv.commands.matrix.LONG", 240000 * 4 - 1)
    assert CliRunner().invoke(app, words).stderr == (
        "%conv2: the norm of a matrix of 1600 x 1176 takes up to 2 steps, a minute perhaps "
        "(--no-norm leaves it out)\n"
    )
    assert CliRunner().invoke(app, [*words, "--no-norm"]).stderr == ""


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["zoo:lenet5", "--node", "conv9"], "no such node: got conv9 (did you mean conv"),
        (["zoo:lenet5", "--node", "image"], "not the result of a node"),
        (["zoo:lenet5", "--crossbar", "0x8"], "wrong --crossbar: expected a size such as 128x128"),
        (["zoo:lenet5", "-p", "im2col"], "no convolution in this model"),
    ],
)
def test_wrong_requests_get_one_line(arguments: list[str], line: str) -> None:
    assert line in told(*arguments, "--quiet", status=2)
