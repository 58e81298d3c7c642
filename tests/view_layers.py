"""Random layers for the views, and what a test reads back from a picture."""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import prod
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
from hypothesis import strategies as st

from irconv.geometry import ConvGeometry
from irconv.graph import Graph, Node
from irconv.matrix import SharedMatrix
from irconv.ops.conv import Conv, ConvTranspose
from irconv.types import Array, TensorType
from irconv.views import ConvLayer, Picture

SPECIAL = (0.0, -0.0, 1.0, 1e-30, -3.4e38, 0.1)


def conv_node(
    geometry: ConvGeometry,
    transposed: bool = False,
    bias: bool = True,
    seed: int = 0,
    name: str = "c1",
    weights: Array | None = None,
    dtype: str = "f32",
) -> Node:
    """A graph of one convolution (or of the transposed one) with weights of its own."""
    g, rng = geometry, np.random.default_rng(seed)
    graph = Graph("layer")
    kind = np.float64 if dtype == "f64" else np.float32
    w = rng.standard_normal(g.weights_shape).astype(kind) if weights is None else weights
    channels, image = (g.out_channels, g.out) if transposed else (g.in_channels, g.image)
    x = graph.add_input("x", TensorType(dtype, (1, channels, *image)))
    operands = [x, graph.add_parameter("w", w)]
    if bias:
        results = g.in_channels if transposed else g.out_channels
        operands.append(graph.add_parameter("b", rng.standard_normal(results).astype(kind)))
    node = graph.add_node(_op(g, transposed), operands, [name])
    graph.set_outputs(node.results)
    return node


def _op(g: ConvGeometry, transposed: bool) -> Conv | ConvTranspose:
    if not transposed:
        return Conv(g.kernel, g.strides, g.pads, g.dilations, group=g.group)
    padding = tuple(
        size - ((out - 1) * s + (k - 1) * d + 1 - a - b)
        for size, out, s, k, d, (a, b) in zip(
            g.image, g.out, g.strides, g.kernel, g.dilations, g.pad_pairs, strict=True
        )
    )
    return ConvTranspose(
        g.kernel, g.strides, g.pads, g.dilations, group=g.group, output_padding=padding
    )


@st.composite
def geometries(draw: st.DrawFn, ranks: tuple[int, ...] = (1, 2, 2)) -> ConvGeometry:
    rank = draw(st.sampled_from(ranks))
    group = draw(st.sampled_from((1, 1, 1, 2, 3)))
    largest = {1: 12, 2: 6, 3: 4}[rank]

    def each(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(low, high)) for _ in range(rank))

    kernel, dilations, strides = each(1, 3), each(1, 2), each(1, 3)
    pads = (*each(0, 2), *each(0, 2))
    spans = [d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True)]
    least = [max(1, s - pads[a] - pads[a + rank]) for a, s in enumerate(spans)]
    image = tuple(draw(st.integers(n, max(n, largest))) for n in least)
    return ConvGeometry(
        group * draw(st.integers(1, 2)),
        group * draw(st.integers(1, 2)),
        image,
        kernel,
        strides,
        pads,
        dilations,
        group,
    )


@st.composite
def conv_nodes(draw: st.DrawFn, ranks: tuple[int, ...] = (1, 2, 2)) -> Node:
    g = draw(geometries(ranks))
    transposed = draw(st.booleans()) and _has_transpose(g)
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    dtype = draw(st.sampled_from(("f32", "f64")))
    kind = np.float32 if dtype == "f32" else np.float64
    weights = rng.standard_normal(g.weights_shape).astype(kind)
    chosen = rng.random(g.weights_shape) < 0.2
    weights[chosen] = rng.choice(SPECIAL, int(chosen.sum()))
    return conv_node(g, transposed, draw(st.booleans()), weights=weights, dtype=dtype)


def _has_transpose(g: ConvGeometry) -> bool:
    extra = _op_padding(g)
    return all(0 <= e < max(s, d) for e, s, d in zip(extra, g.strides, g.dilations, strict=True))


def _op_padding(g: ConvGeometry) -> list[int]:
    return [
        size - ((out - 1) * s + (k - 1) * d + 1 - a - b)
        for size, out, s, k, d, (a, b) in zip(
            g.image, g.out, g.strides, g.kernel, g.dilations, g.pad_pairs, strict=True
        )
    ]


# -- reading a picture -----------------------------------------------------------------------------


def root_of(picture: Picture) -> ET.Element:
    return ET.fromstring(picture.svg)


def elements(picture: Picture, *marks: str) -> Iterator[ET.Element]:
    """The elements that bear all these data attributes."""
    for found in root_of(picture).iter():
        if all(f"data-{m}" in found.attrib for m in marks):
            yield found


def number(element: ET.Element, mark: str) -> int:
    return int(element.attrib[f"data-{mark}"])


def places_of(picture: Picture) -> dict[tuple[int, int], tuple[int, str]]:
    """(output, input) -> (weight, its written value), which must agree wherever it stands twice."""
    found: dict[tuple[int, int], tuple[int, str]] = {}
    for e in elements(picture, "o", "i", "w"):
        place = number(e, "o"), number(e, "i")
        entry = number(e, "w"), e.attrib["data-v"]
        assert found.setdefault(place, entry) == entry
    return found


def part_of(picture: Picture, layer: ConvLayer) -> tuple[Array, Array]:
    """(outputs, inputs): the flat indices that the picture says it shows."""
    if not picture.part:
        return np.arange(prod(layer.out_shape)), np.arange(prod(layer.in_shape))
    outputs, inputs = picture.part.removeprefix("outputs: ").split("; inputs: ")
    return _indices(outputs, layer.out_shape), _indices(inputs, layer.in_shape)


_NAMES = {1: ("position",), 2: ("row", "column"), 3: ("plane", "row", "column")}


def _indices(text: str, shape: tuple[int, ...]) -> Array:
    ranges = {"channel": np.arange(shape[0])}
    names = ("channel", *_NAMES[len(shape) - 1])
    ranges |= {n: np.arange(s) for n, s in zip(names, shape, strict=True)}
    for item in text.split(", ") if text != "all" else ():
        match = re.fullmatch(r"(\w+?)s? (\d+)(?: to (\d+))? of (\d+)", item)
        assert match is not None, item
        name, first, last, size = match.groups()
        assert int(size) == len(ranges[name])
        ranges[name] = np.arange(int(first), int(last or first) + 1)
    grid = np.meshgrid(*(ranges[n] for n in names), indexing="ij")
    return np.ravel_multi_index([g.reshape(-1) for g in grid], shape)


def whole_matrix(layer: ConvLayer) -> SharedMatrix:
    return SharedMatrix.of(layer.geometry, layer.weights, layer.transposed)


def numbered(layer: ConvLayer) -> Array:
    """The dense matrix whose entries are 1 + the index of the free weight, 0 for a fixed zero."""
    index = np.arange(1, layer.weights.size + 1).reshape(layer.weights.shape)
    return SharedMatrix.of(layer.geometry, index, layer.transposed).dense()


def assert_shows_its_part(picture: Picture, layer: ConvLayer) -> None:
    """What is read back from the picture is the stated part of the dense matrix, bit for bit."""
    outputs, inputs = part_of(picture, layer)
    dense, index = whole_matrix(layer).dense(), numbered(layer)
    rows = {int(o): n for n, o in enumerate(outputs)}
    columns = {int(i): n for n, i in enumerate(inputs)}
    read = np.zeros((len(outputs), len(inputs)), layer.weights.dtype)
    read_index = np.zeros(read.shape, np.int64)
    for (o, i), (weight, value) in places_of(picture).items():
        assert_exact(layer.flat_weights[weight], value)
        read[rows[o], columns[i]] = float(value)
        read_index[rows[o], columns[i]] = weight + 1
    block = np.ix_(outputs, inputs)
    assert np.array_equal(read_index, index[block])
    assert np.array_equal(read, dense[block])


def assert_exact(stored: Any, written: str) -> None:
    assert stored.dtype.type(float(written)).tobytes() == stored.tobytes()


def assert_biases(picture: Picture, layer: ConvLayer) -> None:
    """Each output of the part bears the bias of its channel, if there is one."""
    outputs, _ = part_of(picture, layer)
    found = {number(e, "o"): (number(e, "b"), e.attrib["data-v"]) for e in elements(picture, "b")}
    if layer.bias is None:
        assert not found
        return
    assert set(found) == set(outputs.tolist())
    for output, (channel, value) in found.items():
        assert channel == output // prod(layer.out_shape[1:])
        assert_exact(layer.bias[channel], value)
