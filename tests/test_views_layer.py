"""Each view shows its stated part exactly: what is read back from its SVG rebuilds the matrix."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import irconv as ic
from irconv.geometry import ConvGeometry
from irconv.graph import Graph, Node
from irconv.types import Array
from irconv.views import ConvLayer, Picture
from tests.view_layers import (
    assert_biases,
    assert_shows_its_part,
    conv_node,
    conv_nodes,
    elements,
    number,
    numbered,
    part_of,
    places_of,
    root_of,
)

EXACT: dict[str, Callable[..., Picture]] = {
    "image_and_filter": ic.views.image_and_filter,
    "equation": ic.views.equation,
    "network": ic.views.network,
    "matrix": ic.views.matrix,
    "dense_network": ic.views.dense_network,
    "locally_connected": ic.views.locally_connected,
    "volume": ic.views.volume,
}
SMALLEST = ConvGeometry(1, 1, (3, 3), (2, 2), (1, 1), (0, 0, 0, 0), (1, 1))
KEPT = ConvGeometry(1, 1, (3, 3), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1))
ALEXNET = ConvGeometry(3, 64, (224, 224), (11, 11), (4, 4), (2, 2, 2, 2), (1, 1))
RESNET = ConvGeometry(3, 64, (224, 224), (7, 7), (2, 2), (3, 3, 3, 3), (1, 1))
GREEK = "\u03b1\u03b2\u03b3\u03b4"


@pytest.mark.parametrize("name", EXACT)
@settings(max_examples=60)
@given(node=conv_nodes())
def test_a_view_shows_its_stated_part_exactly(name: str, node: Node) -> None:
    picture, layer = EXACT[name](node), ConvLayer.of(node)
    assert_shows_its_part(picture, layer)
    if name in {"equation", "matrix", "network"}:
        assert_biases(picture, layer)


@pytest.mark.parametrize("name", sorted(EXACT.keys() - {"volume"}))
@settings(max_examples=12)
@given(node=conv_nodes(ranks=(3,)))
def test_three_axes(name: str, node: Node) -> None:
    assert_shows_its_part(EXACT[name](node), ConvLayer.of(node))


@settings(max_examples=30)
@given(node=conv_nodes(), data=st.data())
def test_a_part_that_is_asked_for_is_shown(node: Node, data: st.DataObject) -> None:
    layer = ConvLayer.of(node)

    def span(size: int) -> tuple[int, int]:
        first = data.draw(st.integers(0, size - 1))
        return first, data.draw(st.integers(first + 1, size))

    part = layer.restrict(
        out_channels=span(layer.out_shape[0]),
        outputs=[span(s) for s in layer.out_shape[1:]],
        in_channels=span(layer.in_shape[0]),
        inputs=[span(s) for s in layer.in_shape[1:]],
    )
    for name, view in EXACT.items():
        picture = view(part)
        assert_shows_its_part(picture, layer)
        outputs, inputs = part_of(picture, layer)
        assert set(outputs) <= set(part.output_indices)
        assert set(inputs) <= set(part.input_indices), name
    reads = numbered(layer)[part.output_indices] != 0
    outside = np.ones(reads.shape[1], bool)
    outside[part.input_indices] = False
    assert part.is_partial == bool(reads[:, outside].any())


@pytest.mark.parametrize("geometry", [ALEXNET, RESNET], ids=["alexnet", "resnet"])
def test_large_layers_are_shown_in_an_exact_part(geometry: ConvGeometry) -> None:
    node = conv_node(geometry, bias=False)
    layer = ConvLayer.of(node)
    matrix = layer.matrix
    for name, view in EXACT.items():
        picture = view(node)
        assert picture.part, name
        assert len(picture.svg) < 300_000
        outputs, inputs = part_of(picture, layer)
        expected = {}
        for output in outputs.tolist():
            columns, weights = matrix.row_entries(output)
            kept = np.isin(columns, inputs)
            pairs = zip(columns[kept].tolist(), weights[kept].tolist(), strict=True)
            expected |= {(output, i): w for i, w in pairs}
        read = places_of(picture)
        assert {place: w for place, (w, _) in read.items()} == expected
        values = {w: float(v) for w, v in read.values()}
        assert all(np.float32(v) == layer.flat_weights[w] for w, v in values.items())


def test_a_kernel_as_large_as_a_picture_is_cut_too() -> None:
    node = conv_node(ConvGeometry(1, 2, (60, 60), (60, 60), (1, 1), (0,) * 4, (1, 1)))
    for name, view in EXACT.items():
        picture = view(node)
        assert picture.part, name
        assert_shows_its_part(picture, ConvLayer.of(node))
    assert ConvLayer.of(node).restrict(inputs=[3, 4]).is_partial


EXTREME = {
    "a kernel of 1000": ConvGeometry(1, 4, (16000,), (1000,), (5,), (0, 0), (1,)),
    "a dilation of 512": ConvGeometry(2, 2, (3000,), (3,), (1,), (512, 512), (512,)),
    "patches": ConvGeometry(3, 768, (224, 224), (16, 16), (16, 16), (0,) * 4, (1, 1)),
    "128 x 128 taps": ConvGeometry(1, 1, (300, 300), (128, 128), (1, 1), (64,) * 4, (1, 1)),
    "many channels": ConvGeometry(2048, 2048, (7, 7), (1, 1), (1, 1), (0,) * 4, (1, 1)),
    "depthwise": ConvGeometry(960, 960, (7, 7), (5, 5), (1, 1), (2,) * 4, (1, 1), 960),
    "a film": ConvGeometry(3, 64, (16, 99, 99), (3, 7, 7), (1, 2, 2), (1, 3, 3, 1, 3, 3), (1,) * 3),
    "mostly padding": ConvGeometry(1, 1, (2, 2), (2, 2), (1, 1), (9,) * 4, (1, 1)),
    "long strides": ConvGeometry(1, 3, (200, 200), (2, 2), (50, 50), (0,) * 4, (1, 1)),
}


@pytest.mark.parametrize("transposed", [False, True], ids=["conv", "transposed"])
@pytest.mark.parametrize("case", EXTREME)
def test_no_layer_is_too_odd_to_be_drawn_small(case: str, transposed: bool) -> None:
    geometry = EXTREME[case]
    node = conv_node(geometry, transposed)
    layer = ConvLayer.of(node)
    for name, picture in ic.views.of(node).items():
        assert len(picture.svg) < 300_000, name
        root_of(picture)
        if name in EXACT:
            values = {w: float(v) for w, v in places_of(picture).values()}
            assert values, name
            assert all(np.float32(v) == layer.flat_weights[w] for w, v in values.items())


# -- the two properties ----------------------------------------------------------------------------


def test_the_smallest_example() -> None:
    """A 3x3 image under a 2x2 filter with four named weights is a 4x9 matrix."""
    picture = ic.views.matrix(conv_node(SMALLEST, bias=False), labels=GREEK)
    rows = [["0"] * 9 for _ in range(4)]
    for (output, index), (weight, _) in places_of(picture).items():
        rows[output][index] = GREEK[weight]
    assert ["".join(r) for r in rows] == [
        "\u03b1\u03b20\u03b3\u03b40000",
        "0\u03b1\u03b20\u03b3\u03b4000",
        "000\u03b1\u03b20\u03b3\u03b40",
        "0000\u03b1\u03b20\u03b3\u03b4",
    ]
    texts = "".join(root_of(picture).itertext())
    # once in the filter, four times in the matrix
    assert [texts.count(letter) for letter in GREEK] == [5, 5, 5, 5]
    assert picture.part == ""
    assert picture.data["density"] == 16 / 36
    assert "Fixed zeros: 20. The other 16 places share 4 free weights" in picture.caption


def test_padding_keeps_the_size() -> None:
    node = conv_node(KEPT)
    picture = ic.views.matrix(node)
    assert picture.data["rows"] == picture.data["columns"] == 9
    assert picture.data["places"] == 49
    view = ic.views.image_and_filter(node)
    assert "dashed cells are added zeros (1 on every side)" in view.caption
    added = [e for e in root_of(view).iter() if "added" in e.get("class", "").split()]
    assert len(added) == 9 * (5 * 5 - 3 * 3)


@settings(max_examples=60)
@given(node=conv_nodes(ranks=(1, 2, 3)))
def test_the_numbers_of_the_captions(node: Node) -> None:
    layer = ConvLayer.of(node)
    index = numbered(layer)
    picture = ic.views.matrix(node)
    facts = picture.data
    zeros = int((index == 0).sum())
    unused = layer.weights.size - len(np.unique(index[index > 0]))
    assert (facts["rows"], facts["columns"]) == index.shape
    assert (facts["fixed_zeros"], facts["places"]) == (zeros, index.size - zeros)
    assert (facts["free_weights"], facts["unused_weights"]) == (layer.weights.size, unused)
    assert facts["density"] == (index.size - zeros) / index.size
    outputs, inputs = part_of(picture, layer)
    block = index[np.ix_(outputs, inputs)]
    assert (facts["part_rows"], facts["part_columns"]) == block.shape
    assert facts["part_places"] == int((block > 0).sum())
    assert facts["part_weights"] == len(np.unique(block[block > 0]))
    assert f"Fixed zeros: {zeros:,}." in picture.caption
    assert bool(unused) == ("meet only padding" in picture.caption)

    degrees = (index > 0).sum(axis=1)
    low, high = int(degrees.min()), int(degrees.max())
    found = re.search(r"An output has (?:(\d+) to )?(\d+) edges?", ic.views.network(node).caption)
    assert found is not None
    assert (int(found[1] or found[2]), int(found[2])) == (low, high)

    counts = ic.views.locally_connected(node).data
    assert counts["places"] == index.size - zeros
    assert counts["dense_weights"] == index.size
    equations = ic.views.equation(node).data
    assert (equations["outputs"], equations["products"]) == (len(index), index.size - zeros)


@settings(max_examples=20)
@given(node=conv_nodes())
def test_fixed_zeros_are_drawn_where_there_is_no_weight(node: Node) -> None:
    layer = ConvLayer.of(node)
    index = numbered(layer)
    dense = ic.views.dense_network(node)
    pictures = [(dense, "zero-edge")]
    matrix = ic.views.matrix(node)
    outputs, inputs = part_of(matrix, layer)
    if len(outputs) * len(inputs) <= 600:
        pictures.append((matrix, "zero"))
    for picture, class_ in pictures:
        found = [e for e in elements(picture, "o", "i") if class_ in e.get("class", "").split()]
        assert all("data-w" not in e.attrib for e in found)
        places = {(number(e, "o"), number(e, "i")) for e in found}
        outputs, inputs = part_of(picture, layer)
        block = index[np.ix_(outputs, inputs)]
        expected = {
            (int(outputs[r]), int(inputs[c])) for r, c in zip(*np.nonzero(block == 0), strict=True)
        }
        assert places == expected


@settings(max_examples=20)
@given(node=conv_nodes())
def test_equal_weights_have_equal_colours_and_others_do_not(node: Node) -> None:
    fills: dict[int, set[str]] = {}
    for e in elements(ic.views.matrix(node), "o", "i", "w"):
        fills.setdefault(number(e, "w"), set()).add(e.attrib["fill"])
    assert all(len(found) == 1 for found in fills.values())
    assert len(set().union(*fills.values())) == len(fills)


def test_locally_connected_edges_have_colours_of_their_own() -> None:
    picture = ic.views.locally_connected(
        conv_node(ConvGeometry(1, 1, (8,), (3,), (1,), (0, 0), (1,)))
    )
    edges = [e for e in elements(picture, "w") if e.get("class") == "edge"]
    colours = [e.attrib["stroke"] for e in edges]
    assert len(edges) == 36
    assert [len(set(colours[:18])), len(set(colours[18:]))] == [3, 18]
    assert {k: picture.data[k] for k in ("free_weights", "places", "dense_weights")} == {
        "free_weights": 3,
        "places": 18,
        "dense_weights": 48,
    }


# -- products and sums -----------------------------------------------------------------------------


@settings(max_examples=40)
@given(node=conv_nodes(), seed=st.integers(0, 9))
def test_the_sums_of_an_image_are_the_convolution(node: Node, seed: int) -> None:
    layer = ConvLayer.of(node)
    image = np.random.default_rng(seed).integers(-4, 5, layer.in_shape).astype(np.float64)
    weights = np.random.default_rng(seed).integers(-4, 5, layer.weights.shape)
    bias = None if layer.bias is None else np.arange(len(layer.bias), dtype=np.float64)
    whole = _with(layer, weights.astype(np.float64), bias)
    picture = ic.views.image_and_filter(whole, image[None])
    (result,) = node.op.run([image[None], whole.weights, bias])
    outputs, inputs = part_of(picture, layer)
    masked = image.reshape(-1).copy()
    masked[np.setdiff1d(np.arange(masked.size), inputs)] = 0
    (result,) = node.op.run([masked.reshape(1, *layer.in_shape), whole.weights, bias])
    sums = picture.data["outputs"]
    assert isinstance(sums, list)
    assert np.array_equal(sums, result.reshape(-1)[outputs])
    pixels = {number(e, "i"): float(e.attrib["data-x"]) for e in elements(picture, "i", "x")}
    assert all(image.reshape(-1)[i] == x for i, x in pixels.items())


def _with(layer: ConvLayer, weights: Array, bias: Array | None) -> ConvLayer:
    return replace(layer, weights=weights, bias=bias)


@settings(max_examples=40)
@given(node=conv_nodes(ranks=(1, 2, 3)))
def test_the_compact_equation_reads_what_the_layer_reads(node: Node) -> None:
    layer = ConvLayer.of(node)
    g, picture = layer.geometry, ic.views.compact_equation(node)
    reads = picture.data["reads"]
    assert isinstance(reads, tuple)
    text = "".join(root_of(picture).itertext())
    letters = {1: ("i", "k"), 2: ("ij", "kl"), 3: ("hij", "gkl")}[g.rank]
    for axis, (term, place, tap) in enumerate(zip(reads, *letters, strict=True)):
        assert term in text
        python = re.sub(r"(\d)([a-z])", r"\1*\2", term.replace("\u2212", "-"))
        for at, row in enumerate(g.axis_reads(axis)):
            for k, position in enumerate(row):
                found = eval(python, {place: at, tap: k})
                assert found == position or not (0 <= found < g.image[axis] or position >= 0)


# -- shape arithmetic ------------------------------------------------------------------------------


@settings(max_examples=60)
@given(node=conv_nodes(ranks=(1, 2, 3)))
def test_shape_arithmetic_shows_every_tap(node: Node) -> None:
    layer = ConvLayer.of(node)
    g, picture = layer.geometry, ic.views.shape_arithmetic(node)
    names = {1: ("position",), 2: ("row", "column"), 3: ("plane", "row", "column")}[g.rank]
    assert layer.out_shape == node.result.shape[1:]
    for axis, name in enumerate(names):
        reads = g.axis_reads(axis)
        drawn = {
            (number(e, "q"), number(e, "k")): int(e.get("data-p", -1))
            for e in elements(picture, "a", "q", "k")
            if e.get("data-a") == name
        }
        stated = re.search(
            rf"of the {name}s, windows ([\d to and]+) of {g.out[axis]}", picture.part
        )
        windows = set(range(g.out[axis]))
        if stated is not None:
            ends = [part.split(" to ") for part in stated[1].split(" and ")]
            windows = {w for a, b in ends for w in range(int(a), int(b) + 1)}
        expected = {(q, k): int(reads[q, k]) for q in windows for k in range(g.kernel[axis])}
        assert drawn == expected
        unread = g.image[axis] - len(np.unique(reads[reads >= 0]))
        assert picture.data["unread"][axis] == unread  # type: ignore[index]
        taps = g.dilations[axis] * (g.kernel[axis] - 1)
        end = (g.out[axis] - 1) * g.strides[axis] - g.pads[axis] + taps + 1
        lost = len(range(max(0, end), g.image[axis]))
        assert picture.data["lost"][axis] == lost  # type: ignore[index]
        assert f"= {layer.out_shape[1 + axis]}" in "".join(root_of(picture).itertext())


def test_a_stride_that_does_not_fit_loses_the_border() -> None:
    node = conv_node(ConvGeometry(1, 1, (7, 9), (3, 3), (3, 2), (0, 0, 0, 0), (1, 1)))
    picture = ic.views.shape_arithmetic(node)
    assert picture.data["lost"] == (1, 0)
    assert picture.data["remainder"] == (1, 0)
    assert "The stride does not fit: 1 row at the end never read." in picture.caption
    marked = [e for e in root_of(picture).iter() if e.get("class") == "warning-line"]
    assert len(marked) == 1
    padded = conv_node(ConvGeometry(1, 1, (7, 9), (3, 3), (3, 2), (0, 0, 1, 0), (1, 1)))
    assert ic.views.shape_arithmetic(padded).data["lost"] == (1, 0)
    held = conv_node(ConvGeometry(1, 1, (7, 9), (3, 3), (3, 2), (1, 0, 1, 0), (1, 1)))
    assert ic.views.shape_arithmetic(held).data["lost"] == (0, 0)


# -- the volume ------------------------------------------------------------------------------------


def test_a_depth_column_and_a_map() -> None:
    node = conv_node(ConvGeometry(2, 3, (5, 5), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1)))
    layer, picture = ConvLayer.of(node), ic.views.volume(node)
    column = {o for o, _ in places_of(picture)}
    assert len(column) == 3
    assert {o % 25 for o in column} == {6}  # row 1, column 1: the first whole window
    windows = {o: {i for p, i in places_of(picture) if p == o} for o in column}
    assert len({frozenset(w) for w in windows.values()}) == 1
    assert picture.data["neurons_of_a_map"] == prod(layer.out_shape[1:])
    fills: dict[int, set[str]] = {}
    for e in elements(picture, "o", "m"):
        assert number(e, "o") // 25 == number(e, "m")
        fills.setdefault(number(e, "m"), set()).add(e.attrib["fill"])
    assert all(len(f) == 1 for f in fills.values())
    assert len(set.union(*fills.values())) == 3


# -- all of them -----------------------------------------------------------------------------------


def test_all_views_of_a_node() -> None:
    pictures = ic.views.of(conv_node(SMALLEST))
    assert list(pictures) == list(ic.views.VIEWS)
    for name, picture in pictures.items():
        assert picture.caption.endswith("."), name
        assert "c1" in picture.title, name
        assert root_of(picture).find("{http://www.w3.org/2000/svg}desc") is not None
    deep = ConvGeometry(1, 1, (3, 3, 3), (2, 2, 2), (1, 1, 1), (0,) * 6, (1, 1, 1))
    assert ic.views.VIEWS.keys() - ic.views.of(conv_node(deep)).keys() == {"volume"}


def test_a_fused_convolution_is_shown_without_its_epilogue() -> None:
    b = ic.Builder("net", seed=0)
    x = b.input("x", (1, 2, 5, 5))
    b.output(b.relu(b.conv(x, 2, kernel=3, name="c1"), name="r"))
    graph = b.build()
    fused = next(n for n in ic.lower(graph, "fuse") if n.op.name == "FusedConv")
    conv = graph.node("c1")
    assert places_of(ic.views.matrix(fused)) == places_of(ic.views.matrix(conv))


def test_names_that_would_be_markup_are_text() -> None:
    name = '"><script>alert(1)</script>&amp;\x07\u202e]]>' + "n" * 500
    node = conv_node(SMALLEST, name=name)
    labels = ["<b>", "&", '"', "\u202e"]
    for view, picture in ic.views.of(ConvLayer.of(node, labels)).items():
        root = root_of(picture)
        tags = {e.tag.removeprefix("{http://www.w3.org/2000/svg}") for e in root.iter()}
        assert tags <= {
            "svg",
            "title",
            "desc",
            "style",
            "g",
            "rect",
            "line",
            "circle",
            "text",
            "tspan",
        }
        assert "<script" not in picture.svg, view
        assert "\u202e" not in picture.svg
        assert "characters)" in picture.title


def test_a_name_of_a_graph_is_no_part_of_the_file_name() -> None:
    with pytest.raises(ic.errors.UsageError, match=r"ending in \.svg"):
        ic.views.matrix(conv_node(SMALLEST)).save("picture.png")


def test_the_same_layer_gives_the_same_bytes() -> None:
    for view in ic.views.VIEWS.values():
        first, second = (view(ConvLayer.of(conv_node(RESNET))).svg for _ in range(2))
        assert first == second


def _wrong() -> dict[str, tuple[Callable[[], object], str]]:
    node = conv_node(SMALLEST)
    layer = ConvLayer.of(node)
    deep = ConvGeometry(1, 1, (2, 2, 2), (1, 1, 1), (1, 1, 1), (0,) * 6, (1, 1, 1))
    four = ConvGeometry(1, 1, (2,) * 4, (1,) * 4, (1,) * 4, (0,) * 8, (1,) * 4)
    return {
        "another op": (lambda: ic.views.matrix(_relu()), "not a convolution: expected Conv"),
        "symbolic sizes": (
            lambda: ic.views.matrix(_symbolic()),
            "sizes of the image are not known",
        ),
        "weights computed": (lambda: ic.views.network(_computed()), "not a known array"),
        "too many labels": (lambda: ic.views.matrix(node, labels="abcde"), "expected 4, got 5"),
        "show": (lambda: ic.views.matrix(node, show="all"), "expected names or values"),  # type: ignore[arg-type]
        "image": (lambda: ic.views.image_and_filter(node, np.ones((2, 2))), "does not fit"),
        "words": (lambda: ic.views.image_and_filter(node, np.full((3, 3), "a")), "does not fit"),
        "3-D volume": (lambda: ic.views.volume(conv_node(deep)), "expected a 1-D or 2-D layer"),
        "4-D": (lambda: ic.views.of(conv_node(four)), "too many axes"),
        "empty part": (lambda: layer.restrict(out_channels=(0, 0)), "not a part of the layer"),
        "outside": (lambda: layer.restrict(outputs=[2, 0]), "within 0 to 2"),
        "truth": (lambda: layer.restrict(in_channels=True), "not a part of the layer"),
        "words for a part": (lambda: layer.restrict(in_channels="a"), "not a part"),  # type: ignore[arg-type]
        "steps": (lambda: layer.restrict(inputs=[range(0, 3, 2), 0]), "not a part of the layer"),
        "a larger part": (
            lambda: layer.restrict(outputs=[0, 0]).restrict(outputs=[1, 0]),
            "within 0 to 1",
        ),
        "axes": (lambda: layer.restrict(outputs=[0]), "one choice for each axis"),
    }


def _relu() -> Node:
    b = ic.Builder("net")
    b.output(b.relu(b.input("x", (1, 2, 3, 3)), name="r"))
    return b.build().node("r")


def _symbolic() -> Node:
    b = ic.Builder("net")
    b.output(b.conv(b.input("x", (1, 2, "H", 3)), 2, kernel=3, name="c1"))
    return b.build().node("c1")


def _computed() -> Node:
    b = ic.Builder("net")
    x, w = b.input("x", (1, 2, 3, 3)), b.input("w", (2, 2, 3, 3))
    b.output(b.conv(x, w=w, bias=False, name="c1"))
    return b.build().node("c1")


@pytest.mark.parametrize("case", _wrong())
def test_wrong_requests(case: str) -> None:
    call, message = _wrong()[case]
    with pytest.raises(ic.errors.UsageError, match=re.escape(message)):
        call()


def test_a_batch_may_be_a_symbol() -> None:
    graph = Graph("net")
    b = ic.Builder("net", seed=0)
    b.output(b.conv(b.input("x", ("N", 1, 3, 3)), 1, kernel=2, name="c1"))
    assert ic.views.matrix(b.build().node("c1")).data["rows"] == 4
    assert not graph.nodes
