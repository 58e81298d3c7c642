"""Shift the input: where the answers shift, and where border, stride and pool break that."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import irconv as ic
from irconv.errors import UsageError
from irconv.graph import Graph
from irconv.views.seen import seen_values
from irconv.views.sight import hull
from irconv.views.translation import Translation, shifted, translation
from tests.test_views_filters import images


def net(layers: list[tuple[str, int, int, int]]) -> Graph:
    b = ic.Builder("net", seed=len(layers))
    y = b.input("x", (1, 1, 24, 24))
    for kind, kernel, stride, pad in layers:
        window = {"strides": stride, "pads": min(pad, kernel - 1)}
        if kind == "pool":
            y = b.max_pool(y, kernel, **window)
        else:
            y = b.relu(b.conv(y, 2, kernel=kernel, **window))
    b.output(y, "y")
    return b.build()


LAYER = st.tuples(
    st.sampled_from(["conv", "conv", "pool"]),
    st.integers(1, 3),
    st.sampled_from([1, 1, 2]),
    st.integers(0, 1),
)


@settings(max_examples=50)
@given(st.lists(LAYER, min_size=1, max_size=3), st.integers(-4, 4), st.integers(-4, 4))
def test_away_from_the_border_the_answers_shift(layers: Any, rows: int, columns: int) -> None:
    graph = net(layers)
    node = graph.outputs[0].producer
    assert node is not None
    image = np.random.default_rng(7).standard_normal((1, 24, 24)).astype(np.float32)
    found = Translation.of(node, image, (rows, columns))
    if found.expected is None:
        assert any(s % int(j) for s, j in zip((rows, columns), found.step, strict=True))
        return
    axes = seen_values(graph, graph.inputs[0])[graph.outputs[0]].axes
    safe = np.ones(found.equal.shape, bool)
    for i, axis in enumerate(axes):
        for place in range(len(axis.places)):
            both = [hull(s.at(p) for s in axis.sights) for p in (place, place - found.expected[i])]
            inside = all(b is not None and b[0] >= 0 and b[1] < 24 for b in both)
            if not inside:
                safe[(slice(None),) * i + (place,)] = False
    assert not (safe & ~found.equal).any()


def test_a_shift_by_hand() -> None:
    array = np.arange(6.0).reshape(2, 3)
    assert shifted(array, (1, -1), 9.0).tolist() == [[9, 9, 9], [1, 2, 9]]
    assert shifted(array, (2, 0), 9.0).tolist() == [[9, 9, 9]] * 2


def spot() -> Any:
    image = np.zeros((1, 24, 24), np.float32)
    image[0, 9:12, 9:12] = [[1, 2, 1], [2, 4, 2], [1, 2, 1]]
    return image


def test_a_spot_moves_with_the_input() -> None:
    graph = net([("conv", 3, 1, 1)])
    node: Any = graph.outputs[0].producer
    picture = translation(node, spot(), (0, 3))
    assert picture.data["expected"] == (0, 3)
    # the three columns that nothing moved to, and those that lost their neighbours in the padding
    where: Any = picture.data["where"]
    assert not where[:, :3].any()
    assert where[:, 4:-4].all()
    assert "reaches over the border" in picture.caption


def test_both_images_have_one_scale() -> None:
    graph = net([("conv", 3, 1, 1)])
    node: Any = graph.outputs[0].producer
    first, second, *_ = images(translation(node, spot() + 2, (0, 3)).svg)
    assert np.array_equal(second[:, 3:], first[:, :-3])
    assert not second[:, :3].any()
    assert first.min() == round(255 * 2 / 6)


def test_a_pool_breaks_odd_shifts() -> None:
    graph = net([("conv", 3, 1, 1), ("pool", 2, 2, 0)])
    node: Any = graph.outputs[0].producer
    odd = translation(node, spot(), (0, 1))
    assert odd.data["expected"] is None
    assert odd.data["difference"] > 0  # type: ignore[operator]
    assert "stand 2\u00d72 pixels apart: no shift" in odd.caption
    even = translation(node, spot(), (0, 2))
    assert even.data["expected"] == (0, 1)
    where: Any = even.data["where"]
    assert where[:, 2:-2].all()


def test_what_cannot_be_shifted_is_refused() -> None:
    graph = net([("conv", 3, 1, 1)])
    node: Any = graph.outputs[0].producer
    with pytest.raises(UsageError, match="one number for each axis"):
        translation(node, spot(), (1,))
    with pytest.raises(UsageError, match="no such channel"):
        translation(node, spot(), (1, 1), channel=5)
