"""The report as a file: what is in it, and what is not; the layout of its graphs."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shlex
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import irconv as ic
from irconv.demo_data import model_path
from irconv.errors import UsageError
from irconv.inspector.document import document
from irconv.inspector.graph_layout import NODE_GAP, layout
from irconv.inspector.html import SCRIPTS, page_file, report
from irconv.inspector.layer_pages import layer_pages
from irconv.inspector.neighbourhood import DRAWN, GUARD, shown_ids
from irconv.inspector.trace import trace
from irconv.ir_files import save_ir
from tests.test_cli import irconv, told

DIGITS = str(model_path())


class Elements(HTMLParser):
    """The elements of a page: tags with their attributes, and the text of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {"script": [], "style": [], "title": []}
        self._open = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open = tag

    def handle_data(self, data: str) -> None:
        if self._open in self.texts:
            self.texts[self._open].append(data)

    def handle_endtag(self, tag: str) -> None:
        self._open = ""


def network(name: str = "net", node: str = "conv") -> ic.Graph:
    b = ic.Builder(name)
    x = b.input("x", (1, 2, 6, 6))
    b.output(b.relu(b.conv(x, 3, kernel=3, pads="same", name=node)))
    return b.build()


def page(graph: ic.Graph, pipeline: str = "canonicalize,fuse") -> str:
    return report(document(trace(graph, pipeline)) | {"layers": layer_pages(graph)})


def data(text: str) -> dict[str, Any]:
    found = re.search(
        r'<script type="application/json" id="document">(.*?)</script>', text, re.DOTALL
    )
    assert found is not None
    return json.loads(found[1])  # type: ignore[no-any-return]


# -- the file ----------------------------------------------------------------------------------


def test_only_the_one_script_and_style_may_run() -> None:
    text = page(network())
    elements = Elements(text)
    policy = next(a["content"] for t, a in elements.tags if t == "meta" and "http-equiv" in a)
    assert policy is not None
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    for tag in ("script", "style"):
        code = elements.texts[tag][-1]
        digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    kinds = [a.get("type") for t, a in elements.tags if t == "script"]
    assert kinds.count(None) == 1
    assert set(kinds) == {None, "application/json"}


def test_nothing_in_it_comes_from_elsewhere() -> None:
    text = page(network())
    for tag, attributes in Elements(text).tags:
        assert tag in {
            *("html", "head", "meta", "title", "style", "body", "div", "p", "noscript", "script")
        }
        assert not {"src", "href", "style", "onload", "onclick"} & attributes.keys()
    own = "".join(page_file(f"{name}.js") for name in SCRIPTS) + page_file("page.css")
    addresses = set(re.findall(r"https?://[^\s\"')]+", own))
    assert addresses == {"http://www.w3.org/2000/svg"}  # the name of a namespace
    for forbidden in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert forbidden not in own
    assert "@import" not in own
    assert "url(" not in own


@pytest.mark.parametrize(
    "name",
    ["</script><script>alert(1)</script>", '"><img src=x>', "<!--", "]]>", "{{ 7*7 }}", "&lt;"],
)
def test_a_name_cannot_end_its_element(name: str) -> None:
    graph = network(name)
    conv = next(n for n in graph if n.op.name == "Conv")
    graph.rename(conv.result, name)
    text = page(graph)
    plain = Elements(page(network("plain")))
    assert [t for t, _ in Elements(text).tags] == [t for t, _ in plain.tags]
    assert data(text)["graph"] == name
    assert name in [n["name"] for n in data(text)["pool"]["nodes"]]


def test_the_same_trace_gives_the_same_bytes() -> None:
    told_ = document(trace(network(), "canonicalize,fuse"))
    assert report(told_) == report(told_)


def test_stages_share_what_did_not_change() -> None:
    graph = network()
    once, twice = (data(page(graph, p)) for p in ("fuse", "fuse,canonicalize,canonicalize"))
    for kind in ("lines", "nodes", "layouts"):
        assert len(once["pool"][kind]) == len(twice["pool"][kind])
    assert len(twice["stages"]) == len(once["stages"]) + 2


def test_no_weights_are_in_it() -> None:
    b = ic.Builder("net")
    x = b.input("x", (1, 64, 8, 8))
    rng = np.random.default_rng(0)
    b.output(b.conv(x, 64, kernel=3, pads="same", w=rng.standard_normal((64, 64, 3, 3), "f4")))
    text = report(document(trace(b.build(), "canonicalize")))
    assert len(text) < 200_000


# -- the layers ----------------------------------------------------------------------------------


def test_every_convolution_has_facts_and_some_have_pictures() -> None:
    graph = ic.zoo.lenet5()
    pages = layer_pages(graph, ["conv2"])
    convs = [n for n in graph if n.op.name == "Conv"]
    assert list(pages) == [str(n.uid) for n in convs]
    assert [bool(p["views"]) for p in pages.values()] == [n.name == "conv2" for n in convs]
    first = pages[str(convs[0].uid)]["facts"]
    assert (first["free_weights"], first["rows"], first["columns"]) == (150, 4704, 784)
    assert first["entries"] + first["fixed_zeros"] == 4704 * 784
    drawn = [v["name"] for v in pages[str(graph.node("conv2").uid)]["views"]]
    assert {"matrix", "network", "receptive_field", "filters", "activation_maps"} <= set(drawn)


def test_a_layer_tells_how_far_it_sees() -> None:
    graph = ic.zoo.lenet5()
    found = layer_pages(graph, ["conv2"])[str(graph.node("conv2").uid)]["sight"]
    assert found == {"size": [14, 14], "step": ["2", "2"], "exact": True, "whole": False}


def test_a_batch_of_several_images_has_pictures_of_the_first() -> None:
    page_ = next(iter(layer_pages(ic.zoo.lenet5(batch=3), ["conv1"]).values()))
    assert "activation_maps" in {v["name"] for v in page_["views"]}


def test_a_made_up_picture_is_called_so() -> None:
    graph = ic.zoo.lenet5()
    given = {graph.inputs[0].name: np.ones((1, 1, 28, 28), np.float32)}
    of_images = {"activation_maps", "projection", "translation"}
    for inputs, told_ in ((None, of_images), (given, set())):
        (page_,) = (p for p in layer_pages(graph, ["conv2"], inputs).values() if p["views"])
        assert of_images <= {v["name"] for v in page_["views"]}
        assert {v["name"] for v in page_["views"] if "made-up" in v["caption"]} == told_


def test_a_layer_that_is_not_there_is_refused() -> None:
    with pytest.raises(UsageError, match="no convolution has this name"):
        layer_pages(network(), ["cnov"])


# -- the command ---------------------------------------------------------------------------------


def test_inspect_writes_a_report(tmp_path: Path) -> None:
    file = tmp_path / "digits.html"
    options = ("--no-program", "--no-export", "-p", "fold_batchnorm,fuse")
    irconv("inspect", DIGITS, "-o", file, "--numerics", "--seed", 3, *options)
    found = data(file.read_text(encoding="utf-8"))
    again = f"irconv inspect {shlex.quote(DIGITS)} -p fold_batchnorm,fuse --numerics "
    assert found["command"] == f"{again}--no-program --no-export --seed 3 -o report.html"
    assert found["stages"][-1]["numerics"]["exact"] == "exact"
    assert [s["title"] for s in found["stages"]] == ["source", "fold_batchnorm", "fuse"]
    assert any(layer["names"] for layer in found["layers"].values())


def test_inspect_runs_the_default_pipeline_and_tells_json() -> None:
    done = irconv("inspect", DIGITS, "--json", "--no-program", "--no-export")
    titles = [s["title"] for s in json.loads(done.stdout)["stages"]]
    assert "fuse" in titles
    assert "pack" in " ".join(titles)


def test_an_open_batch_is_taken_as_one_unless_it_is_named() -> None:
    quick = ("--json", "--no-program", "--no-export")
    done = irconv("inspect", "zoo:lenet5", *quick)
    assert "N taken as 1 (--batch N leaves it open)" in done.stderr
    (given,) = json.loads(done.stdout)["stages"][0]["inputs"]
    assert given["type"] == "f32[1, 1, 28, 28]"
    done = irconv("inspect", "zoo:lenet5", "--batch", "N", *quick)
    (given,) = json.loads(done.stdout)["stages"][0]["inputs"]
    assert given["type"] == "f32[N, 1, 28, 28]"


def test_open_sizes_of_the_image_stay_open(tmp_path: Path) -> None:
    b = ic.Builder("any", seed=0)
    x = b.input("x", ("N", 1, "H", "W"))
    b.output(b.relu(b.conv(x, 2, kernel=3)))
    file = tmp_path / "any.ir"
    save_ir(b.build(), file)
    done = irconv("inspect", file, "--json", "-p", "fuse", "--no-program", "--no-export")
    assert "N taken as 1" in done.stderr
    data = json.loads(done.stdout)
    assert data["stages"][0]["inputs"][0]["type"] == "f32[1, 1, H, W]"
    assert data["command"].endswith("-p fuse --no-program --no-export -o report.html")


def test_wrong_requests_of_inspect() -> None:
    assert "nowhere to write to" in told("inspect", DIGITS)
    assert "ends in .html" in told("inspect", DIGITS, "-o", "report.txt")
    assert "no such folder" in told("inspect", DIGITS, "-o", "nowhere/report.html")
    assert "unknown pass" in told("inspect", DIGITS, "-o", "r.html", "-p", "nonsense")


def test_a_trace_saves_itself(tmp_path: Path) -> None:
    path = trace(network(), "fuse").save_html(tmp_path / "r.html")
    assert data(path.read_text(encoding="utf-8"))["graph"] == "net"


def test_a_graph_in_a_notebook_is_short_and_escaped() -> None:
    graph = network("<img src=x>")
    shown = graph._repr_html_()
    assert "&lt;img" in shown
    assert "<img" not in shown
    assert "2 nodes: 1 Conv, 1 Relu" in shown
    b = ic.Builder("long")
    y = b.input("x", (4,))
    for _ in range(3000):
        y = b.relu(y)
    b.output(y)
    long = b.build()._repr_html_()
    assert len(long) < 40_000
    assert "2802 lines more" in long


# -- the layout ----------------------------------------------------------------------------------


@st.composite
def networks(draw: st.DrawFn) -> list[dict[str, Any]]:
    count = draw(st.integers(1, 40))
    nodes = []
    for i in range(count):
        operands = draw(st.lists(st.integers(max(-1, i - 12), i - 1), max_size=3))
        nodes.append({"id": i, "inputs": operands})
    return nodes


@given(networks())
def test_rows_go_down_and_boxes_do_not_meet(nodes: list[dict[str, Any]]) -> None:
    found = layout(nodes)
    assert set(found.places) >= {n["id"] for n in nodes}
    by_row: dict[int, list[int]] = {}
    for x, row in found.places.values():
        assert 0 <= x <= found.width
        assert 0 <= row < found.rows
        by_row.setdefault(row, []).append(x)
    for row in by_row.values():
        row.sort()
        assert all(b - a >= NODE_GAP - 1 for a, b in pairwise(row))
    wanted = {(i, n["id"]) for n in nodes for i in n["inputs"]}
    assert {(a, b) for a, b, _ in found.edges} == wanted
    for a, b, between in found.edges:
        assert found.places[a][1] < found.places[b][1]
        assert len(between) == found.places[b][1] - found.places[a][1] - 1


def test_a_chain_is_straight_and_a_residual_block_has_no_crossing() -> None:
    chain = [{"id": i, "inputs": [i - 1]} for i in range(30)]
    assert len({x for x, _ in layout(chain).places.values()}) == 1
    block = [{"id": 0, "inputs": [-1]}, {"id": 1, "inputs": [0]}, {"id": 2, "inputs": [1, 0]}]
    found = layout(block)
    skip = next(xs for a, b, xs in found.edges if (a, b) == (0, 2))
    assert skip[0] > found.places[1][0] + NODE_GAP / 4


def test_long_edges_run_in_a_lane_and_nothing_is_recursive() -> None:
    count = 3000
    nodes = [{"id": i, "inputs": [i - 1] + ([0] if i % 500 == 499 else [])} for i in range(count)]
    found = layout(nodes)
    assert found.rows == count + 1
    lanes = [xs for a, b, xs in found.edges if a == 0 and b > 1]
    assert len(lanes) == 6
    assert all(len(xs) == 1 and xs[0] > NODE_GAP for xs in lanes)


def test_a_graph_too_big_to_draw_shows_what_changed() -> None:
    def stage(ids: range | list[int]) -> dict[str, Any]:
        return {"nodes": [{"id": i, "inputs": [i - 1] if i else [-1]} for i in ids]}

    whole = range(GUARD + 500)
    changed = [*range(1200), 9000, *range(1201, GUARD + 500)]
    stages = [stage(whole), stage(changed)]
    stages[1]["nodes"][1200] = {"id": 9000, "inputs": [1199]}
    keep = shown_ids(stages, 1)
    assert keep is not None
    assert {9000, 1199} <= keep
    assert len(keep) < 20
    assert set(layout(stages[1]["nodes"], keep).places) == keep
    same = shown_ids([stage(whole), stage(whole)], 1)
    assert same is not None
    assert len(same) == DRAWN
    assert shown_ids([stage(range(GUARD))], 0) is None
