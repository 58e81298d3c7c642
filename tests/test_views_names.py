"""Names from a model in the views of graphs and images: always text, never markup, never long."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irconv as ic
from irconv import views
from irconv.graph import Graph
from irconv.views import Picture

HOSTILE = "\"><script>alert(1)</script><img src=x onerror=alert(2)>\u202e\x1b[31m'&amp;" + "n" * 500


def network() -> Graph:
    b = ic.Builder(HOSTILE, seed=0)
    x = b.input(HOSTILE, ("N", 2, 9, 9))
    y = b.conv(x, 2, kernel=3, name=HOSTILE + "1")
    y = b.conv(y, 2, kernel=3, name=HOSTILE + "2")
    b.output(b.relu(y, name=HOSTILE + "3"))
    return b.build()


IMAGE = np.arange(162, dtype=np.float32).reshape(2, 9, 9)
DRAW: dict[str, Callable[[Graph], Picture]] = {
    "filters": lambda g: views.filters(g.nodes[1]),
    "receptive_field": lambda g: views.receptive_field(g.nodes[2]),
    "activation_maps": lambda g: views.activation_maps(g.nodes[2], IMAGE),
    "projection": lambda g: views.projection(g.nodes[2], IMAGE),
    "composition": lambda g: views.composition(g.nodes[1]),
    "translation": lambda g: views.translation(g.nodes[2], IMAGE, (1, 0)),
    "architecture": views.architecture,
}


@pytest.mark.parametrize("name", DRAW)
def test_hostile_names_are_text(name: str) -> None:
    picture = DRAW[name](network())
    root = ET.fromstring(picture.svg)
    tags = {e.tag.rpartition("}")[2] for e in root.iter()}
    assert not tags & {"script", "img", "foreignObject", "a"}
    assert not [k for e in root.iter() for k in e.attrib if k.startswith("on")]
    for text in (picture.svg, picture.title, picture.caption, picture.part):
        assert "\u202e" not in text
        assert "\x1b" not in text
        assert "n" * 200 not in text
    assert "<script" not in picture.svg


def test_every_view_is_documented() -> None:
    functions: list[Any] = [getattr(views, n) for n in views.__all__ if n != "VIEWS"]
    assert all(f.__doc__ for f in functions)


def test_dir_names_the_views_and_no_modules() -> None:
    assert dir(views) == sorted(views.__all__)
