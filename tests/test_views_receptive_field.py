"""The picture of a receptive field: the boxes in it are the exact set of pixels."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import irconv as ic
from irconv.errors import UsageError
from irconv.graph import Graph
from irconv.types import Array
from irconv.views.receptive_field import Field, receptive_field, runs
from tests.graphs import graphs


def boxes(svg: str, shape: tuple[int, ...]) -> Array:
    """The pixels that the boxes of a picture cover; no pixel twice."""
    found = np.zeros(shape if len(shape) == 2 else (1, *shape), int)
    for element in ET.fromstring(svg).iter():
        if element.get("data-box") is not None:
            top, left, bottom, right = map(int, element.attrib["data-box"].split())
            found[top:bottom, left:right] += 1
    assert found.max(initial=0) <= 1
    return found.reshape(shape).astype(bool)


@settings(max_examples=80)
@given(graphs(steps=6), st.integers(0, 1 << 16))
def test_the_boxes_are_the_exact_set(graph: Graph, seed: int) -> None:
    graph = ic.lower(graph, "fold")
    rank = len(graph.inputs[0].shape) - 2
    nodes = [n for n in graph if len(n.results[0].shape) == rank + 2 and n.op.name != "Transpose"]
    if rank > 2 or not nodes:
        return
    pick = np.random.default_rng(seed)
    node = nodes[int(pick.integers(len(nodes)))]
    sizes = node.results[0].shape[1:]
    if not all(isinstance(size, int) for size in sizes):
        return
    place = [int(pick.integers(size)) for size in sizes]
    field = Field.of(node, place)
    picture = receptive_field(node, place)
    assert np.array_equal(boxes(picture.svg, field.mask.shape[1:]), field.pixels)
    assert picture.data["pixels"] == field.pixels.sum()
    assert picture.data["box"] == field.box


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 1 << 30))
def test_runs_cover_each_pixel_once(rows: int, columns: int, bits: int) -> None:
    flat = [bool(bits >> i & 1) for i in range(rows * columns)]
    pixels = np.array(flat).reshape(rows, columns)
    covered = np.zeros(pixels.shape, int)
    for top, left, bottom, right in runs(pixels):
        covered[top:bottom, left:right] += 1
    assert np.array_equal(covered, pixels.astype(int))


def test_a_dilated_layer_sees_with_gaps() -> None:
    b = ic.Builder("net", seed=0)
    x = b.input("x", ("N", 1, 9, 9))
    b.output(b.conv(x, 1, kernel=3, dilations=2, name="c"))
    picture = receptive_field(b.build().node("c"))
    assert picture.data["pixels"] == 9
    assert picture.data["box"] == ((2, 7), (2, 7))
    assert "9 of the 9\u00d79 pixels (11.1 %), within a field of 5\u00d75" in picture.caption


def test_lenet_in_words() -> None:
    picture = receptive_field(ic.zoo.lenet5().node("conv2"))
    assert picture.caption == (
        "One neuron of conv2, at (5, 5), is computed from 196 of the 28\u00d728 pixels (25 %), "
        "within a field of 14\u00d714. Away from the border it is 14\u00d714, and the next "
        "neuron's lies 2\u00d72 further on."
    )
    assert [row.node for row in picture.data["layers"]] == ["conv1", "average_pool1", "conv2"]
    corner = receptive_field(ic.zoo.lenet5().node("conv1"), (0, 0))
    assert corner.data["pixels"] == 9


def test_a_dense_layer_sees_all() -> None:
    picture = receptive_field(ic.zoo.lenet5().node("logits"), (3,))
    assert picture.data["pixels"] == 28 * 28
    assert "all 28\u00d728 pixels" in picture.caption


def test_groups_are_told() -> None:
    b = ic.Builder("net", seed=0)
    x = b.input("x", ("N", 4, 5, 5))
    b.output(b.conv(x, 4, kernel=3, group=2, name="c"))
    picture = receptive_field(b.build().node("c"), (0, 1, 1))
    assert picture.part == "pixels that are read in any of 2 of 4 channels"


def test_padding_alone_sees_nothing() -> None:
    b = ic.Builder("net", seed=0)
    x = b.input("x", ("N", 1, 3, 3))
    b.output(b.conv(x, 1, kernel=2, pads=2, name="c"))
    picture = receptive_field(b.build().node("c"), (0, 0))
    assert picture.data["pixels"] == 0
    assert "sees no pixel at all" in picture.caption


def test_what_cannot_be_drawn_is_refused() -> None:
    b = ic.Builder("net", seed=0)
    x = b.input("x", ("N", 1, 4, 4, 4))
    b.output(b.conv(x, 1, kernel=2, name="c"))
    with pytest.raises(UsageError, match="one or two dimensions"):
        receptive_field(b.build().node("c"))
    with pytest.raises(UsageError, match="no such place"):
        receptive_field(ic.zoo.lenet5().node("conv1"), (28, 0))


def test_hostile_names_stay_text() -> None:
    name = '"><script>alert(1)</script>\u202e'
    b = ic.Builder("net", seed=0)
    x = b.input(name, ("N", 1, 5, 5))
    b.output(b.conv(x, 1, kernel=3, name=name + "2"))
    graph = b.build()
    picture = receptive_field(graph.outputs[0].producer)  # type: ignore[arg-type]
    root = ET.fromstring(picture.svg)
    assert not [e for e in root.iter() if e.tag.endswith("script")]
    assert "\u202e" not in picture.svg
