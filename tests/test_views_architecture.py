"""The diagram of a network: its boxes are the network's own shapes and weights."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import pytest

import irconv as ic
from irconv.errors import UsageError
from irconv.views.architecture import architecture, steps_of


def shapes(svg: str) -> list[tuple[int, ...]]:
    """The shapes of the boxes, in order."""
    found = {}
    for element in ET.fromstring(svg).iter():
        if element.get("data-shape") is not None:
            shape = tuple(map(int, element.attrib["data-shape"].split()))
            found[int(element.attrib["data-step"])] = shape
    return [found[i] for i in range(len(found))]


def test_lenet() -> None:
    graph = ic.zoo.lenet5()
    picture = architecture(graph)
    steps: Any = picture.data["steps"]
    assert shapes(picture.svg) == [s.shape for s in steps]
    assert [(s.kind, s.shape, s.weights) for s in steps] == [
        ("input", (1, 28, 28), 0),
        ("conv", (6, 28, 28), 156),
        ("mean pool", (6, 14, 14), 0),
        ("conv", (16, 10, 10), 2416),
        ("mean pool", (16, 5, 5), 0),
        ("conv", (120, 1, 1), 48120),
        ("dense", (84,), 10164),
        ("dense", (10,), 850),
    ]
    assert steps[1].detail == "5\u00d75, pad 2"
    assert steps[2].detail == "2\u00d72, stride 2"
    assert steps[-1].followed == ("Softmax",)
    assert picture.data["weights"] == 61706
    assert picture.part == ""
    assert "How to read it" in " ".join(ET.fromstring(picture.svg).itertext())


def test_alexnet_has_eight_layers_with_weights() -> None:
    steps = steps_of(ic.zoo.alexnet())
    weighted = [s for s in steps if s.weights]
    assert [s.kind for s in weighted] == ["conv"] * 5 + ["dense"] * 3
    assert sum(s.weights for s in steps) == 61_100_840
    assert steps[1].detail == "11\u00d711, stride 4, pad 2"
    assert [s.shape for s in steps if s.kind == "max pool"] == [
        (64, 27, 27),
        (192, 13, 13),
        (256, 6, 6),
    ]


def test_what_runs_beside_is_counted() -> None:
    """ResNet-18: 11.7 million weights, most of them in nodes that some path goes round."""
    picture = architecture(ic.zoo.resnet18())
    steps: Any = picture.data["steps"]
    assert [s.kind for s in steps] == [
        "input", "conv", "max pool", *["sum"] * 8, "global pool", "dense"
    ]  # fmt: skip
    assert [s.branches for s in steps if s.kind == "sum"] == [5, 5, 7, 5, 7, 5, 7, 5]
    assert picture.data["weights"] == 11_689_512
    assert picture.part.startswith("the nodes that every path passes; 46 nodes")


def test_one_dimension_and_hostile_names() -> None:
    name = '"><script>x</script>'
    b = ic.Builder("<b>", seed=0)
    x = b.input(name, ("N", 2, 16))
    b.output(b.global_average_pool(b.relu(b.conv(x, 4, kernel=3, strides=2))))
    picture = architecture(b.build())
    assert shapes(picture.svg) == [(2, 16), (4, 7), (4, 1)]
    assert not [e for e in ET.fromstring(picture.svg).iter() if e.tag.endswith("script")]


def test_too_many_layers_are_refused() -> None:
    b = ic.Builder("deep", seed=0)
    y = b.input("x", ("N", 1, 8, 8))
    for _ in range(41):
        y = b.conv(y, 1, kernel=1)
    b.output(y)
    with pytest.raises(UsageError, match="too many layers"):
        architecture(b.build())
