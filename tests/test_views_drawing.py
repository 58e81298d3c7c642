"""What all pictures stand on: escaping, colours that can be told apart, files, matplotlib."""

from __future__ import annotations

import sys
import unicodedata
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import irconv as ic
from irconv.geometry import ConvGeometry
from irconv.views import svg
from irconv.views.colours import FEW, contrast, diverging, grey, ink, palette, weight_colours
from irconv.views.names import exact, short
from tests.view_layers import conv_node, numbered

LAYER = ConvGeometry(1, 2, (4, 4), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1))
INK = {"dark-ink": "#000000", "light-ink": "#ffffff"}
# what a protanope and a deuteranope see (Machado, Oliveira and Fernandes 2009, severity 1), linear
PROTAN = [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
          [-0.003882, -0.048116, 1.051998]]  # fmt: skip
DEUTAN = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
          [-0.011820, 0.042940, 0.968881]]  # fmt: skip


@given(st.text(max_size=60))
def test_any_text_is_text(text: str) -> None:
    written = svg.element("text", text, data_n=text, class_="a")
    document = ET.fromstring(svg.document([written], 10, 10, text, text))
    names = {e.tag.rpartition("}")[2] for e in document.iter()}
    assert names == {"svg", "title", "style", "rect", "text"} | ({"desc"} if text else set())
    found = document.find(".//{*}text")
    assert found is not None
    shown = found.text or ""
    kept = [c for c in text if unicodedata.category(c)[0] != "C" and c not in "\u2028\u2029"]
    if len(kept) == len(text):
        assert (shown, found.attrib["data-n"]) == (text, text)
    assert not [c for c in shown if unicodedata.category(c)[0] == "C"]


def test_numbers_of_a_drawing_are_short() -> None:
    assert str(svg.rect(1 / 3, 2.0, 10, 4.25)) == (
        '<rect x="0.33" y="2" width="10" height="4.25"/>'
    )
    assert str(svg.element("g", data_w=None, class_="a b")) == '<g class="a b"/>'


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "\u22120"),
        (0.12345, "0.123"),
        (-1.5, "\u22121.5"),
        (1234.5, "1234"),
        (0.00042, "4.2e\u22124"),
        (123456.0, "1.2e5"),
        (float("nan"), "nan"),
        (float("-inf"), "\u2212inf"),
    ],
)
def test_short_numbers(value: float, text: str) -> None:
    assert short(value) == text


@given(st.floats(allow_nan=False, width=32))
def test_exact_numbers_read_back(value: float) -> None:
    assert np.float32(float(exact(np.float32(value)))).tobytes() == np.float32(value).tobytes()


def _linear(colour: str) -> Any:
    c = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def _oklab(linear: Any) -> Any:
    seen = np.clip(linear, 0, 1)
    lms = np.array([[0.4122214708, 0.5363325363, 0.0514459929],
                    [0.2119034982, 0.6806995451, 0.1073969566],
                    [0.0883024619, 0.2817188376, 0.6299787005]]) @ seen  # fmt: skip
    return np.array([[0.2104542553, 0.7936177850, -0.0040720468],
                     [1.9779984951, -2.4285922050, 0.4505937099],
                     [0.0259040371, 0.7827717662, -0.8086757660]]) @ np.cbrt(lms)  # fmt: skip


@pytest.mark.parametrize("seen", [np.eye(3), PROTAN, DEUTAN], ids=["all", "protan", "deutan"])
@pytest.mark.parametrize("count", [2, 4, 7, 9])
def test_colours_of_weights_can_be_told_apart(count: int, seen: Any) -> None:
    colours = [_oklab(np.array(seen) @ _linear(c)) for c in palette(count)]
    nearest = min(np.linalg.norm(a - b) for i, a in enumerate(colours) for b in colours[:i])
    assert nearest > 0.04


@pytest.mark.parametrize("count", [8, 25, 49, 147, 363, 1200])
def test_many_weights_have_an_order_that_is_seen_without_hue(count: int) -> None:
    colours = palette(count)
    assert len(set(colours)) == count
    # lightness rises all the way, but for the rounding to 8 bits
    lightness = [_oklab(_linear(c))[0] for c in colours]
    assert all(b > a - 0.004 for a, b in pairwise(lightness))
    assert lightness[-1] - lightness[0] > 0.4


def test_the_weights_of_filters_have_their_hues() -> None:
    colours = weight_colours(range(18), 9)
    assert len(set(colours.values())) == 18
    red, _, blue = np.array([_linear(colours[w]) for w in range(9)]).T
    assert np.all(blue > red)
    red, _, blue = np.array([_linear(colours[w]) for w in range(9, 18)]).T
    assert np.all(red > blue)
    assert weight_colours([3, 3, 1], 9) == {1: FEW[0], 3: FEW[1]}


def test_text_on_a_colour_can_be_read() -> None:
    fills = [*FEW, *palette(363), *weight_colours(range(54), 9).values()]
    fills += [diverging(v / 50, 1.0) for v in range(-50, 51)]
    assert min(contrast(fill, INK[ink(fill)]) for fill in fills) >= 4.5


def test_the_scale_of_signed_values() -> None:
    assert diverging(0.0, 1.0) == diverging(-0.0, 1.0) == diverging(5.0, 0.0)
    red, _, blue = _linear(diverging(1.0, 1.0))
    assert red > 2 * blue
    red, _, blue = _linear(diverging(-1.0, 1.0))
    assert blue > 2 * red
    assert diverging(9.0, 1.0) == diverging(1.0, 1.0) == diverging(float("inf"), 1.0)
    assert diverging(float("nan"), 1.0) == "#8c959f"
    shades = [contrast(diverging(v, 4.0), "#ffffff") for v in (0, 1, 2, 3, 4)]
    assert shades == sorted(shades)
    assert [grey(v, 0, 2) for v in (0, 1, 2)] == ["#000000", "#808080", "#ffffff"]


def test_a_picture_is_a_file_of_its_own(tmp_path: Path) -> None:
    picture = ic.views.matrix(conv_node(LAYER))
    picture.save(tmp_path / "matrix.svg")
    text = (tmp_path / "matrix.svg").read_text(encoding="utf-8")
    assert text == picture.svg == picture._repr_svg_()
    assert "prefers-color-scheme: dark" in text
    assert "<style" not in picture.inline()
    assert ET.fromstring(picture.inline()).get("class") == "irconv-view"
    with pytest.raises(ic.errors.UsageError, match="was not written"):
        picture.save(tmp_path / "no" / "matrix.svg")


def test_every_rule_of_the_style_is_for_pictures_only() -> None:
    rules = [r for r in svg.STYLE.splitlines() if "{" in r and "@media" not in r]
    assert len(rules) > 30
    assert all(r.strip().startswith(".irconv-view ") for r in rules)


def test_no_picture_needs_a_style_attribute_or_anything_from_outside() -> None:
    for name, picture in ic.views.of(conv_node(LAYER)).items():
        assert " style=" not in picture.svg, name
        assert "href" not in picture.svg
        assert "url(" not in picture.svg
        classes = {c for e in ET.fromstring(picture.svg).iter() for c in e.get("class", "").split()}
        known = set(svg.STYLE.replace("{", " ").split())
        plain = {"irconv-view", "chip", "added"}
        assert {c for c in classes if f".{c}" not in known} <= plain, name


def test_a_figure_of_matplotlib() -> None:
    pytest.importorskip("matplotlib").use("Agg")
    figures = pytest.importorskip("matplotlib.figure")
    node = conv_node(LAYER)
    index = numbered(ic.views.ConvLayer.of(node))
    for colour in ("weight", "value"):
        figure = figures.Figure()
        image = ic.views.matrix_figure(node, figure.subplots(), colour=colour)
        pixels = np.asarray(image.get_array())
        assert pixels.shape == (32, 16, 3)
        found = {tuple(p) for p in pixels[index == 0]}
        assert len(found) == 1
        by_weight = [{tuple(p) for p in pixels[index == w]} for w in range(1, 19)]
        assert all(len(p) == 1 for p in by_weight)
        assert not found & set.union(*by_weight)
        assert image.axes is not None
        assert image.axes.get_xlabel() == "16 inputs"
    with pytest.raises(ic.errors.UsageError, match="expected weight or value"):
        ic.views.matrix_figure(node, figure.subplots(), colour="name")


def test_a_figure_of_a_large_layer_states_its_part() -> None:
    pytest.importorskip("matplotlib").use("Agg")
    figures = pytest.importorskip("matplotlib.figure")
    node = conv_node(ConvGeometry(3, 64, (224, 224), (7, 7), (2, 2), (3, 3, 3, 3), (1, 1)))
    image = ic.views.matrix_figure(node, figures.Figure().subplots())
    assert image.axes is not None
    assert "outputs: channels 0 to " in image.axes.get_title()


def test_matplotlib_is_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ic.errors.UsageError, match=r"pip install 'irconv\[viz\]'"):
        ic.views.matrix_figure(conv_node(LAYER))
