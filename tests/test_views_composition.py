"""Two convolutions as one: exactly so where the second layer meets no padding of its own."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import irconv as ic
from irconv.errors import UsageError
from irconv.graph import Graph
from irconv.matrix import SharedMatrix
from irconv.specialize import specialize
from irconv.views.composing import Composition
from irconv.views.composition import composition

AXIS = st.fixed_dictionaries(
    {
        "kernel": st.integers(1, 3),
        "strides": st.integers(1, 2),
        "pads": st.integers(0, 2),
        "dilations": st.integers(1, 2),
    }
)
CHANNELS = st.tuples(st.integers(1, 2), st.integers(1, 2), st.integers(1, 2))


def window(axes: list[dict[str, int]]) -> dict[str, Any]:
    found = {key: tuple(a[key] for a in axes) for key in ("strides", "dilations")}
    return found | {"pads": tuple(a["pads"] for a in axes) * 2}


def stack(
    axes: list[tuple[dict[str, int], dict[str, int]]], channels: tuple[int, int, int], group: int
) -> Graph:
    pick = np.random.default_rng(len(axes) + sum(channels))
    c, m, o = (n * group for n in channels)
    b = ic.Builder("net")
    x = b.input("x", ("N", c, *(15 + i for i in range(len(axes)))))
    shapes = [(m, c // group), (o, m // group)]
    for n, (out, per_group) in enumerate(shapes):
        kernel = tuple(a[n]["kernel"] for a in axes)
        w = pick.integers(-3, 4, (out, per_group, *kernel)).astype(np.float32)
        bias = pick.integers(-3, 4, out).astype(np.float32)
        x = b.conv(x, w=w, b=bias, group=group, **window([a[n] for a in axes]), name=f"c{n + 1}")
    b.output(x)
    return b.build()


@settings(max_examples=80)
@given(st.lists(st.tuples(AXIS, AXIS), min_size=1, max_size=2), CHANNELS, st.integers(1, 2))
def test_one_layer_is_the_two_inside(axes: Any, channels: Any, group: int) -> None:
    graph = static(stack(axes, channels, group))
    found = Composition.of(graph.node("c2"))
    pick = np.random.default_rng(1)
    x = pick.integers(-4, 5, (2, *found.first.in_shape)).astype(np.float64)
    one, two = found.one_layer(x), found.two_layers(x)
    inside = (slice(None), slice(None), *found.inside())
    assert np.array_equal(one[inside], two[inside])
    assert one.shape == two.shape
    pads = [a[1]["pads"] for a in axes]
    if not any(pads):
        assert found.is_exact
        m1, m2 = found.first.matrix.dense(), found.second.matrix.dense()
        composed = SharedMatrix.of(found.geometry, found.weights).dense()
        assert np.array_equal(m2.astype(np.float64) @ m1, composed)


def static(graph: Graph) -> Graph:
    return specialize(graph, {"N": 1})


def edges(relu: bool, pads: int = 0) -> Graph:
    b = ic.Builder("net")
    x = b.input("x", (1, 1, 9, 9))
    blur = np.array([[[[1, 2, 1], [2, 4, 2], [1, 2, 1]]]], np.float32)
    edge = np.array([[[[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]]], np.float32)
    y = b.conv(x, w=edge, bias=False, pads=pads, name="edge")
    y = b.relu(y) if relu else y
    b.output(b.conv(y, w=blur, bias=False, pads=pads, name="blur"))
    return b.build()


def test_blur_and_edge_by_hand() -> None:
    picture = composition(edges(relu=False).node("blur"))
    expected = np.outer([1, 4, 6, 4, 1], [-1, -2, 0, 2, 1])
    weights: Any = picture.data["weights"]
    assert np.array_equal(weights[0, 0], expected)
    read = {
        int(e.attrib["data-k"]): float(e.attrib["data-v"])
        for e in ET.fromstring(picture.svg).iter()
        if e.get("data-k") is not None
    }
    assert [read[i] for i in range(25)] == expected.reshape(-1).tolist()
    assert "3\u00d73 and one of 3\u00d73 behind it are one of 5\u00d75" in picture.caption
    assert "holds everywhere" in picture.caption
    assert picture.data["border"] == 0


def test_padding_of_the_second_layer_breaks_it_at_the_border_only() -> None:
    picture = composition(edges(relu=False, pads=1).node("blur"))
    assert picture.data["exact"] == ((1, 8), (1, 8))
    assert picture.data["inside"] == 0
    assert picture.data["border"] > 0  # type: ignore[operator]
    assert "7\u00d77 of the 9\u00d79 places" in picture.caption


def test_a_relu_breaks_it() -> None:
    for relu in (False, True):
        picture = composition(edges(relu).node("blur"))
        assert picture.data["bent"] > 1  # type: ignore[operator]
        assert "With Relu between the layers the result differs" in picture.caption
    graph = ic.lower(edges(relu=True), "fuse")
    assert [op.name for op in Composition.of(graph.nodes[-1]).between] == ["Relu"]


def test_what_cannot_be_composed_is_refused() -> None:
    with pytest.raises(UsageError, match="no convolution stands right before"):
        composition(edges(relu=False).node("edge"))
    b = ic.Builder("net")
    x = b.input("x", (1, 1, 9, 9))
    b.output(b.conv(b.max_pool(b.conv(x, 1, kernel=3), 2), 1, kernel=2, name="c"))
    with pytest.raises(UsageError, match="no convolution stands right before"):
        composition(b.build().node("c"))
    with pytest.raises(UsageError, match="does not fit"):
        composition(edges(relu=False).node("blur"), np.zeros((1, 8, 8)))
