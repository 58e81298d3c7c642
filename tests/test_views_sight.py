"""How far a layer sees, in numbers: size, jump and start, for known networks and random stacks."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import irconv as ic
from irconv.errors import UsageError
from irconv.views.receptive_field import Field
from irconv.views.seen import seen_values
from irconv.views.sight import SELF, Sight, hull, union
from irconv.views.sight_table import receptive_fields


@pytest.mark.parametrize(("kernel", "step"), [(3, 2), (5, 4)])
def test_n_layers_see_2n_plus_1_and_4n_plus_1(kernel: int, step: int) -> None:
    b = ic.Builder("stack", seed=0)
    y = b.input("x", ("N", 1, 40, 40))
    for n in range(6):
        y = b.relu(b.conv(y, 2, kernel=kernel, pads="same", name=f"c{n + 1}"))
    b.output(y)
    table = receptive_fields(b.build())
    for n in range(1, 7):
        row = table[f"c{n}"]
        assert row.size == (step * n + 1,) * 2
        assert row.jump == (1, 1)
        assert row.start == (-step * n // 2,) * 2
        assert row.exact


def test_lenet_by_hand() -> None:
    table = receptive_fields(ic.zoo.lenet5())
    sizes = [
        table[n].size[0] for n in ("conv1", "average_pool1", "conv2", "average_pool2", "conv3")
    ]
    assert sizes == [5, 6, 14, 16, 32]
    jumps = [table[n].jump[0] for n in ("conv1", "average_pool1", "conv2", "average_pool2")]
    assert jumps == [1, 2, 2, 4]
    assert table["conv3"].whole
    assert table["logits"].whole
    assert table["logits"].exact
    assert table["logits"].size == (28, 28)


@pytest.mark.parametrize(
    ("name", "node", "size"),
    # Araujo, Norris and Sim 2019 (Distill) give 212 for VGG-16, 195 for AlexNet, 483 for the
    # ResNet-50 that has its strides in the 1x1 layers; with them in the 3x3 layers it is 427
    [
        ("vgg16", "stage5.max_pool1", 212),
        ("alexnet", "max_pool3", 195),
        ("resnet18", "stage4.block2.relu2", 435),
        ("resnet50", "stage4.block3.relu3", 427),
    ],
)
def test_known_networks(name: str, node: str, size: int) -> None:
    narrow = {"classes": 2, "image": 64} if name == "vgg16" else {"classes": 2}
    row = receptive_fields(getattr(ic.zoo, name)(**narrow))[node]
    assert row.size == (size, size)
    assert row.jump == (32, 32)
    assert row.exact


def test_a_transposed_layer_sees_in_steps() -> None:
    """Stride 2, kernel 3: even places see one pixel and odd ones two, each pair one pixel on."""
    sight = SELF.transposed(3, 2, 1, 0)
    assert [sight.at(o) for o in range(4)] == [
        (0, 0) if o < 0 else i for o, i in enumerate([(-1, 0), (0, 0), (0, 1), (1, 1)])
    ]
    assert sight.jump == Fraction(1, 2)
    assert sight.size == 2
    assert SELF.transposed(1, 3, 1, 0).at(1) is None


def test_what_moves_alike_is_joined() -> None:
    a, b = SELF.windowed(3, 1, 1, 1), SELF.windowed(1, 1, 1, 0)
    assert union([a, b]) == (a,)
    fixed = Sight(((0, 9),), 0)
    assert union([a, fixed, b]) == (fixed, a)


WINDOW = st.tuples(
    st.sampled_from(["conv", "conv", "pool", "transposed"]),
    st.integers(1, 4),
    st.sampled_from([1, 1, 2, 3]),
    st.integers(1, 2),
    st.integers(0, 2),
)


@settings(max_examples=60)
@given(st.lists(WINDOW, min_size=1, max_size=4))
def test_sights_are_what_places_see_away_from_the_border(windows: list[Any]) -> None:
    b = ic.Builder("stack", seed=0)
    y = b.input("x", (1, 1, 1200))
    for kind, kernel, stride, dilation, pad in windows:
        window = {"strides": stride, "pads": min(pad, (kernel - 1) * dilation)}
        if kind == "pool":
            y = b.max_pool(y, kernel, strides=stride, pads=min(pad, kernel - 1))
        elif kind == "conv":
            y = b.conv(y, 1, kernel=kernel, dilations=dilation, **window)
        else:
            y = b.conv_transpose(y, 1, kernel=kernel, dilations=dilation, **window)
    b.output(y)
    graph = b.build()
    (axis,) = seen_values(graph, graph.inputs[0])[graph.outputs[0]].axes
    middle = len(axis.places) // 2
    for place in range(middle - 2, min(middle + 3, len(axis.places))):
        assert hull(s.at(place) for s in axis.sights) == axis.places[place]
    assert max(s.size for s in axis.sights) >= max(i[1] - i[0] + 1 for i in axis.places if i)


def test_the_table_prints_one_line_for_each_node() -> None:
    text = str(receptive_fields(ic.zoo.lenet5()))
    assert text.splitlines()[0].split() == ["node", "op", "result", "sees", "jump", "start"]
    assert "conv2          Conv         16 x 10 x 10  14 x 14        2 x 2  -2, -2" in text


def test_hostile_names_are_printed_escaped() -> None:
    b = ic.Builder("net")
    x = b.input("x", (1, 1, 8))
    b.output(b.conv(x, 1, kernel=3, name="\x1b[31m\u202ered"))
    text = str(receptive_fields(b.build()))
    assert "\x1b" not in text
    assert "\\x1b[31m\\u202ered" in text


def test_a_graph_without_an_image_is_refused() -> None:
    b = ic.Builder("net")
    b.output(b.relu(b.input("x", (1, 4))))
    with pytest.raises(UsageError, match="no such image"):
        receptive_fields(b.build())
    with pytest.raises(UsageError, match="got nothere"):
        receptive_fields(ic.zoo.lenet5(), "nothere")


def test_padding_that_no_pixel_fills_is_seen_by_nobody() -> None:
    b = ic.Builder("net")
    x = b.input("x", (1, 1, 3))
    b.output(b.conv(x, 1, kernel=2, pads=2, name="y"))
    graph = b.build()
    (axis,) = seen_values(graph, graph.inputs[0])[graph.value("y")].axes
    assert axis.places == (None, (0, 0), (0, 1), (1, 2), (2, 2), None)
    assert np.prod(graph.value("y").shape) == 6


def test_a_graph_of_unknown_image_size_is_refused() -> None:
    b = ic.Builder("net")
    b.output(b.conv(b.input("x", ("N", 1, "H", 8)), 1, kernel=3))
    with pytest.raises(UsageError, match="needs known sizes"):
        receptive_fields(b.build())


@pytest.mark.parametrize("name", ["googlenet", "mobilenet_v2", "squeezenet", "m5", "c3d"])
def test_the_zoo_has_a_line_for_each_node(name: str) -> None:
    graph = getattr(ic.zoo, name)(classes=2)
    table = receptive_fields(graph)
    assert [row.node for row in table.rows] == [n.name for n in graph]
    last = [row for row in table.rows if len(row.shape) == 1][-1]
    assert last.exact
    assert not any(last.jump)
    box = Field.of(graph.node(last.node), (0,)).box
    assert box is not None
    # SqueezeNet's strides leave the last row and column unread
    assert tuple(end - first for first, end in box) == last.size
    assert last.whole == (name != "squeezenet")
