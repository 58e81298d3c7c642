"""Signals carried back: adjoint identities, gradients by differences, and hand-made cases."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import irconv as ic
from irconv.demo_data import load_test_set, model_path
from irconv.errors import InputError, UsageError
from irconv.geometry import ConvGeometry
from irconv.graph import Graph
from irconv.matrix import SharedMatrix
from irconv.ops.conv import Conv
from irconv.ops.pool import MaxPool
from irconv.specialize import specialize
from irconv.types import Array
from irconv.views.activations import activations
from irconv.views.adjoint import average_pool_back, conv_back, max_pool_back
from irconv.views.projection import Projection, carried_back, projection
from tests.graphs import integer_inputs, random_graph

seen: Counter[str] = Counter()


def on_integers(graph: Graph) -> dict[str, Array]:
    """Integers, with an own small part for each element: no two of a pool are equal."""
    given = {n: a.astype(np.float64) for n, a in integer_inputs(graph, batch=1).items()}
    return {n: a + np.arange(a.size).reshape(a.shape) * 2.0**-20 for n, a in given.items()}


def forward(graph: Graph, inputs: dict[str, Array]) -> dict[str, Array]:
    """All values in float64, inputs that float32 cannot hold included."""
    alive: dict[Any, Any] = {v: inputs[v.name] for v in graph.inputs}
    for value in graph.parameters.values():
        array = value.array
        assert array is not None
        alive[value] = array.astype(np.float64) if array.dtype == np.float32 else array
    for node in graph:
        results = node.op.run([None if v is None else alive[v] for v in node.operands])
        alive |= dict(zip(node.results, results, strict=True))
    return {v.name: a for v, a in alive.items()}


STEP = 2.0**-30


@pytest.mark.parametrize("seed", range(90))
def test_the_gradient_is_what_differences_say(seed: int) -> None:
    pick = np.random.default_rng(seed)
    graph = random_graph(random.Random(seed).choice, steps=8)
    graph = ic.lower(specialize(graph, dict.fromkeys(graph.symbols(), 1)), "fold")
    if any(node.op.name == "Cast" for node in graph):
        return  # a cast to float32 rounds the differences away
    (source,) = graph.inputs
    values = [v for n in graph for v in n.results if v.type.dtype == np.float32]
    value = values[-1]
    inputs = on_integers(graph)
    arrays = forward(graph, inputs)
    start = np.zeros(arrays[value.name].shape)
    start.reshape(-1)[int(pick.integers(start.size))] = 1.0
    by_value = {v: arrays[v.name] for v in graph.values}
    try:
        found = carried_back(graph, value, start, by_value, "gradient")
    except UsageError as error:
        seen[f"refused {str(error).split('through ')[-1].split(' ')[0]}"] += 1
        return
    signal = found.get(source, np.zeros(source.shape))  # type: ignore[arg-type]
    direction = pick.integers(-3, 4, source.shape).astype(np.float64)  # type: ignore[arg-type]
    ahead = forward(graph, {source.name: inputs[source.name] + STEP * direction})[value.name]
    behind = forward(graph, {source.name: inputs[source.name] - STEP * direction})[value.name]
    here = arrays[value.name]
    right = float(((ahead - here) * start).sum() / STEP)
    left = float(((here - behind) * start).sum() / STEP)
    scale = 1 + float(np.abs(signal).sum())
    if abs(right - left) > 1e-6 * scale:
        seen["kink"] += 1
        return
    assert abs(right - float((signal * direction).sum())) <= 2e-5 * scale
    seen.update({node.op.name for node in graph})


def test_the_gradients_were_compared() -> None:
    print(dict(seen))
    needed = {"Conv", "MaxPool", "AveragePool", "Add", "Concat", "Reshape", "Pad", "FusedConv"}
    needed |= {"ConvTranspose", "GlobalAveragePool", "Gemm", "BatchNormalization", "Relu", "Mul"}
    assert needed - set(seen) == set()
    assert sum(n for name, n in seen.items() if name.startswith("refused")) < 40
    assert seen["kink"] < 30


GEOMETRIES = st.tuples(
    st.integers(1, 2), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(1, 2)
)


@settings(max_examples=60)
@given(st.lists(GEOMETRIES, min_size=1, max_size=2), st.integers(1, 2), st.integers(0, 99))
def test_a_convolution_goes_back_by_its_transposed_matrix(
    axes: list[tuple[int, ...]], group: int, seed: int
) -> None:
    """<W x, y> = <x, W'y>, exactly, and W' is the transposed matrix."""
    pads, kernel, strides, dilations, _ = (tuple(a) for a in zip(*axes, strict=True))
    image = tuple(8 + i for i in range(len(axes)))
    geometry = ConvGeometry(
        2 * group, 3 * group, image, kernel, strides, (*pads, *pads), dilations, group
    )
    pick = np.random.default_rng(seed)
    weights = pick.integers(-4, 5, geometry.weights_shape).astype(np.float64)
    x = pick.integers(-4, 5, (1, 2 * group, *image)).astype(np.float64)
    y = pick.integers(-4, 5, (1, 3 * group, *geometry.out)).astype(np.float64)
    op = Conv(kernel, strides, (*pads, *pads), dilations, group)
    came = conv_back(op, group, x.shape, weights, y)
    (went,) = op.run([x, weights])
    assert float((went * y).sum()) == float((x * came).sum())
    matrix = SharedMatrix.of(geometry, weights)
    assert np.array_equal(came.reshape(-1), matrix.T @ y.reshape(-1))


def test_unpooling_goes_to_the_switches() -> None:
    x = np.array([[[[1.0, 5.0, 2.0, 0.0], [3.0, 4.0, 8.0, 7.0]]]])
    signal = np.array([[[[10.0, 20.0]]]])
    came = max_pool_back(MaxPool((2, 2), (2, 2)), x, signal)
    assert came.tolist() == [[[[0, 10, 0, 0], [0, 0, 20, 0]]]]


def test_a_mean_is_shared_out_evenly() -> None:
    b = ic.Builder("net")
    x = b.input("x", (1, 1, 3))
    b.output(b.average_pool(x, 2, strides=1, pads=(1, 0), name="p"))
    op: Any = b.build().node("p").op
    came = average_pool_back(op, (1, 1, 3), np.array([[[6.0, 8.0, 10.0]]]))
    assert came.tolist() == [[[6 + 4, 4 + 5, 5]]]


def relu_net() -> Graph:
    """c = relu(x0 - x1), d = relu(x1), y = c - 2 d: each rule differs on it."""
    b = ic.Builder("net")
    x = b.input("x", (1, 1, 1, 2))
    first = np.array([[[[1.0, -1.0]]], [[[0.0, 1.0]]]], np.float32)
    y = b.relu(b.conv(x, w=first, bias=False))
    second = np.array([[[[1.0]], [[-2.0]]]], np.float32)
    b.output(b.conv(y, w=second, bias=False, name="y"))
    return b.build()


@pytest.mark.parametrize(
    ("rule", "expected"),
    # on (3, 1): c = 2, d = 1, y = 0; on (1, 3): c is shut
    [
        ("gradient", [[1, -3], [0, -2]]),
        ("deconvnet", [[1, -1], [1, -1]]),
        ("guided", [[1, -1], [0, 0]]),
    ],
)
def test_the_rules_at_a_rectifier_by_hand(rule: Any, expected: list[list[float]]) -> None:
    graph = relu_net()
    value = graph.outputs[0]
    for image, came in zip(([3.0, 1.0], [1.0, 3.0]), expected, strict=True):
        x = np.array(image, np.float32).reshape(1, 1, 1, 2)
        arrays = activations(graph, {"x": x}, float64=True)
        found = carried_back(graph, value, np.ones((1, 1, 1, 1)), arrays, rule)
        assert found[graph.inputs[0]].reshape(-1).tolist() == came


def digit() -> tuple[Graph, Array]:
    return ic.load(model_path()), load_test_set()[0][3].astype(np.float32)


def test_a_trained_network_stays_inside_the_receptive_field() -> None:
    graph, image = digit()
    for rule in ("deconvnet", "gradient", "guided"):
        found = Projection.of(graph.node("relu3"), image, rule=rule)  # type: ignore[arg-type]
        assert found.box is not None
        outside = found.signal.copy()
        (top, bottom), (left, right) = found.box
        outside[:, top:bottom, left:right] = 0
        assert not outside.any()
        assert np.abs(found.signal).max() > 0
        assert found.answer == found.map.max()


def test_homogeneous_layers_give_their_answer_back() -> None:
    """Euler: without biases and shifts the gradient times the image is the answer itself."""
    b = ic.Builder("net", seed=5)
    x = b.input("x", ("N", 2, 10, 10))
    y = b.max_pool(b.relu(b.conv(x, 4, kernel=3, bias=False)), 2)
    b.output(b.relu(b.conv(y, 3, kernel=3, bias=False, name="c"), name="y"))
    image = np.random.default_rng(0).standard_normal((2, 10, 10)).astype(np.float32)
    found = Projection.of(b.build().node("y"), image, rule="gradient")
    # the start is the answer, not 1: the signal is the gradient times the answer
    total = float((found.signal * found.image).sum()) / found.answer
    assert total == pytest.approx(found.answer, rel=1e-12)


def test_the_picture_tells_and_shows_it() -> None:
    graph, image = digit()
    picture = projection(graph.node("relu3"), image)
    found = Projection.of(graph.node("relu3"), image)
    assert f"Map {found.channel} of relu3 answers" in picture.caption
    assert "Zeiler and Fergus 2014" in picture.caption
    assert np.array_equal(picture.data["signal"], found.signal)  # type: ignore[arg-type]
    logits = projection(graph.node("fc2"), image, channel=1)
    assert logits.data["place"] == ()
    whole = projection(graph.node("relu1"), image, channel=0, place="all")
    assert whole.data["place"] is None


def test_wrong_requests_are_refused() -> None:
    graph, image = digit()
    with pytest.raises(UsageError, match="through Softmax"):
        projection(graph.node("prob"), image)
    with pytest.raises(UsageError, match="no such channel"):
        projection(graph.node("relu1"), image, channel=16)
    with pytest.raises(UsageError, match="no such place"):
        projection(graph.node("relu1"), image, place=(8, 0))


def test_an_image_of_one_channel_may_come_without_it() -> None:
    graph, image = ic.zoo.digits(), load_test_set()[0][0]
    pictures = [
        ic.views.activation_maps(graph.node("relu1"), given).svg
        for given in (image, image[0], image[None])
    ]
    assert len(set(pictures)) == 1
    with pytest.raises(InputError, match="wrong shape"):
        ic.views.activation_maps(graph.node("relu3"), image[0, 0])
