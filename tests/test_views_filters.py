"""Filters and activation maps: what is read back from the pictures is what the layer holds."""

from __future__ import annotations

import re
import struct
import xml.etree.ElementTree as ET
import zlib
from base64 import b64decode
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import irconv as ic
from irconv.demo_data import load_test_set, model_path
from irconv.errors import UsageError
from irconv.graph import Graph
from irconv.types import Array
from irconv.views.activation_maps import activation_maps, strongest
from irconv.views.activations import graph_up_to
from irconv.views.colours import diverging
from irconv.views.filters import filters
from irconv.views.maps import array_block, png
from irconv.views.svg import text_width


def marked(svg: str, mark: str) -> dict[int, float]:
    """The exact value of each cell that carries the mark; no index twice."""
    found = {}
    for element in ET.fromstring(svg).iter():
        if element.get(f"data-{mark}") is not None:
            index = int(element.attrib[f"data-{mark}"])
            assert index not in found
            found[index] = float(element.attrib["data-v"])
    return found


def unpacked(data: bytes) -> Array:
    """A PNG of 8 bits without filters, read by the standard library."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    place, parts = 8, {}
    while place < len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        name, content = data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        (check,) = struct.unpack(">I", data[place + 8 + length : place + 12 + length])
        assert check == zlib.crc32(name + content)
        parts[name] = content
        place += 12 + length
    columns, rows, depth, kind = struct.unpack(">IIBB", parts[b"IHDR"][:10])
    assert depth == 8
    lines = np.frombuffer(zlib.decompress(parts[b"IDAT"]), np.uint8).reshape(rows, -1)
    assert not lines[:, 0].any()
    if kind == 3:
        return np.frombuffer(parts[b"PLTE"], np.uint8).reshape(-1, 3)[lines[:, 1:]]
    return lines[:, 1:].reshape((rows, columns, 3) if kind == 2 else (rows, columns))


def images(svg: str) -> list[Array]:
    hrefs = [e.attrib["href"] for e in ET.fromstring(svg).iter() if e.tag.endswith("image")]
    return [unpacked(b64decode(h.removeprefix("data:image/png;base64,"))) for h in hrefs]


LAYERS = st.fixed_dictionaries(
    {
        "channels": st.integers(1, 12),
        "filters": st.integers(1, 12),
        "kernel": st.lists(st.integers(1, 3), min_size=1, max_size=3),
        "transposed": st.booleans(),
        "seed": st.integers(0, 99),
    }
)


def layer(of: dict[str, Any]) -> Graph:
    b = ic.Builder("net", seed=of["seed"])
    x = b.input("x", (1, of["channels"], *(4 for _ in of["kernel"])))
    call = b.conv_transpose if of["transposed"] else b.conv
    b.output(call(x, of["filters"], kernel=tuple(of["kernel"]), name="c"))
    return b.build()


@settings(max_examples=60)
@given(LAYERS)
def test_the_cells_are_the_weights(of: dict[str, Any]) -> None:
    node = layer(of).node("c")
    weights = node.constant(1)
    assert weights is not None
    picture = filters(node)
    found = marked(picture.svg, "w")
    shown, channels = picture.data["shown"]  # type: ignore[misc]
    expected = np.arange(weights.size).reshape(weights.shape)[:shown, :channels].reshape(-1)
    assert sorted(found) == expected.tolist()
    assert all(np.float32(v) == weights.reshape(-1)[w] for w, v in found.items())
    assert bool(picture.part) == (len(found) < weights.size)


def test_a_large_layer_shows_a_stated_part() -> None:
    node = layer({"channels": 40, "filters": 30, "kernel": [3, 3], "transposed": False, "seed": 0})
    picture = filters(node.node("c"))
    assert picture.part == "the first 8 of 30 filters, the first 8 of 40 channels"
    assert len(picture.svg) < 100_000


def number_widths(elements: Iterable[ET.Element]) -> list[float]:
    """How wide the written numbers are."""
    found = []
    for element in elements:
        (size,) = re.findall(r"\bs(\d+)\b", element.get("class", "")) or [0]
        if "number" in element.get("class", "") and element.text and size:
            found.append(text_width(element.text, int(size)))
    return found


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=12), st.floats(8, 60))
def test_numbers_stay_in_their_cells(values: list[float], cell: float) -> None:
    drawn = array_block(np.array([values]), cell * len(values), "signed", written=True)
    widths = number_widths(ET.fromstring(e.xml) for e in drawn.elements)
    assert len(widths) in {0, len(values)}
    assert all(width <= cell for width in widths)


def test_six_filters_have_numbers_that_fit() -> None:
    picture = filters(ic.zoo.lenet5().node("conv1"))
    root = ET.fromstring(picture.svg)
    (cell,) = {float(e.attrib["width"]) for e in root.iter() if "data-w" in e.attrib}
    widths = number_widths(root.iter())
    assert len(widths) == 6 * 25
    assert max(widths) <= cell


def digits() -> tuple[Graph, Array]:
    return ic.load(model_path()), load_test_set()[0].astype(np.float32)


def test_small_maps_hold_each_answer_exactly() -> None:
    graph, image = digits()
    picture = activation_maps(graph.node("pool2"), image[:1], channels=range(32))
    expected = {}
    ic.interpret(graph, {"image": image[:1]}, watch=lambda v, a: expected.update({v.name: a}))
    found = marked(picture.svg, "o")
    assert len(found) == 32 * 16
    read = np.array([found[i] for i in range(len(found))], np.float32).reshape(32, 4, 4)
    assert np.array_equal(read, expected["pool2"][0])
    assert picture.part == ""
    pixels = marked(picture.svg, "i")
    assert np.array_equal([pixels[i] for i in range(64)], image[0].reshape(-1))


def test_large_maps_are_images_of_the_same_numbers() -> None:
    b = ic.Builder("net", seed=3)
    x = b.input("x", (1, 1, 24, 30))
    b.output(b.conv(x, 2, kernel=3, name="c"))
    graph = b.build()
    image = np.random.default_rng(0).integers(-3, 4, (1, 24, 30)).astype(np.float32)
    picture = activation_maps(graph.node("c"), image)
    maps: Any = picture.data["maps"]
    grey, *shown = images(picture.svg)
    assert np.abs(grey - 255 * (image[0].astype(float) + 3) / 6).max() <= 0.5
    limit = np.abs(maps).max()
    for drawn, answers in zip(shown, maps, strict=True):
        colours = [[diverging(round(127 * v / limit) / 127, 1.0) for v in row] for row in answers]
        read = [["#" + bytes(p).hex() for p in row] for row in drawn]
        assert read == colours


def test_the_strongest_maps_are_chosen_and_told() -> None:
    graph, image = digits()
    picture = activation_maps(graph.node("relu2"), image[5])
    maps: Any = picture.data["maps"]
    chosen = picture.data["channels"]
    assert chosen == tuple(strongest(maps, 16))
    rest = [c for c in range(32) if c not in chosen]  # type: ignore[operator]
    assert maps[rest].max() <= maps[list(chosen)].reshape(16, -1).max(1).min()  # type: ignore[call-overload]
    assert picture.part.startswith("the 16 of 32 maps")


def test_only_what_the_node_needs_is_run() -> None:
    graph, _ = digits()
    part = graph_up_to(graph.node("relu2"))
    assert [n.name for n in part] == [n.name for n in graph][: len(part)]
    assert part.nodes[-1].name == "relu2"
    assert len(graph) > len(part)


def test_a_compiled_run_answers_the_same() -> None:
    graph, image = digits()
    node = graph.node("relu4")
    interpreted: Any = activation_maps(node, image[7]).data["maps"]
    compiled: Any = activation_maps(node, image[7], backend="numba_cpu").data["maps"]
    assert np.abs(interpreted - compiled).max() <= 1e-5 * np.abs(interpreted).max()


def test_wrong_requests_are_refused() -> None:
    graph, image = digits()
    with pytest.raises(UsageError, match="no such channel"):
        activation_maps(graph.node("relu4"), image[0], channels=[32])
    with pytest.raises(UsageError, match="one or two dimensions"):
        activation_maps(graph.node("fc1"), image[0])
    with pytest.raises(UsageError, match="not a convolution"):
        filters(graph.node("relu4"))


@given(st.integers(1, 300), st.integers(1, 300), st.booleans())
@settings(max_examples=20)
def test_png_reads_back(rows: int, columns: int, colours: bool) -> None:
    shape = (rows, columns, 3) if colours else (rows, columns)
    levels = np.random.default_rng(rows).integers(0, 256, shape).astype(np.uint8)
    assert np.array_equal(unpacked(png(levels)), levels)


def test_numbers_that_are_not_finite_are_drawn_grey() -> None:
    drawn = array_block(np.array([[np.nan, 1.0], [np.inf, -1.0]]), 40, "signed")
    fills = [ET.fromstring(e.xml).get("fill") for e in drawn.elements]
    assert fills[0] == "#8c959f"
    assert fills[1] == diverging(1.0, 1.0)
