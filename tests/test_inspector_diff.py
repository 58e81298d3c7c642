"""Diffs: renumbering is no change, moves are told, the text form marks what differs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import irconv as ic
from irconv.graph import Graph
from irconv.inspector.diff import Diff, diff_graphs, longest_rising
from irconv.inspector.diff_text import diff_rows, diff_text
from irconv.inspector.integers import check_exact
from irconv.inspector.trace import trace
from irconv.pipeline import Pass, parse_pipeline
from irconv.rewrite import Rewriter
from irconv.text import parse
from tests.graphs import graphs

LISTING = """graph @g(%x: f32[2, 3]) -> (%y: f32[2, 3]) {
  const %k: f32[3] = [1.0, 2.0, 3.0]
  %a = Relu(%x) : f32[2, 3]
  %b = Tanh(%x) : f32[2, 3]
  %c = Add(%a, %k) : f32[2, 3]
  %y = Mul(%b, %c) : f32[2, 3]
}"""


@dataclass(frozen=True)
class Shuffle(Pass):
    """Moves the Tanh to the front, and renames everything."""

    exact: ClassVar[bool] = True

    def run(self, graph: Graph, rewriter: Rewriter) -> None:
        graph.move_before(graph.node("b"), graph.node("a"))
        for name in ("a", "b", "c"):
            graph.rename(graph.value(name), f"other.{name}")


def names(found: Diff) -> dict[str, list[str]]:
    before, after = found.before.by_id, found.after.by_id
    return {
        "removed": [before[i].name for i in found.removed],
        "added": [after[i].name for i in found.added],
        "changed": [after[c.after].name for c in found.changed],
        "moved": [after[i].name for _, i in found.moved],
    }


def test_other_names_are_no_change_and_a_move_is_told() -> None:
    found = trace(parse(LISTING), [Shuffle()]).diff(0, 1)
    told = names(found)
    assert told["removed"] == told["added"] == told["changed"] == []
    # either of the two that changed places may be called the moved one
    assert told["moved"] in (["other.a"], ["other.b"])
    marks = [row.mark for row in diff_rows(found) if row.mark != " "]
    assert sorted(marks) == ["<", ">"]


def test_graphs_without_a_common_history_are_paired_by_what_they_compute() -> None:
    other = LISTING.replace("%a", "%0").replace("%b", "%1").replace("%c", "%2")
    found = diff_graphs(parse(LISTING), parse(other))
    assert found.is_empty
    assert not diff_text(found)
    assert len(found.unchanged) == 4
    changed = diff_graphs(parse(LISTING), parse(other.replace("Tanh(", "Sigmoid(")))
    assert names(changed)["removed"] == ["b"]
    assert names(changed)["added"] == ["1"]


def test_another_content_of_a_constant_is_told() -> None:
    found = diff_graphs(parse(LISTING), parse(LISTING.replace("3.0]", "4.0]")))
    assert found.is_empty  # no node differs
    assert not found.parameters
    assert diff_text(found, context=0).split("\n") == [
        "@@ 1 the same @@",
        "-   const %k: f32[3] = [1.0, 2.0, 3.0]",
        "+   const %k: f32[3] = [1.0, 2.0, 4.0]",
        "@@ 5 the same @@",
    ]


def test_a_changed_node_says_what_changed() -> None:
    other = LISTING.replace("%y = Mul(%b, %c)", "%y = Mul(%a, %c)")
    (change,) = diff_graphs(parse(LISTING), parse(other)).changed
    assert change.what == ("operands",)


def test_the_text_form() -> None:
    b = ic.Builder("net")
    b.output(b.tanh(b.relu(b.relu(b.input("x", (4,)), name="a"), name="b")), "y")
    found = trace(b.build(), "canonicalize")
    assert diff_text(found.diff(0, 1)).split("\n") == [
        "  graph @net(%x: f32[4]) -> (%y: f32[4]) {",
        "    %a = Relu(%x) : f32[4]",
        "-   %b = Relu(%a) : f32[4]",
        "    %y = Tanh(%a) : f32[4]",
        "  }",
    ]
    back = found.diff(1, 0)
    assert [len(back.removed), len(back.added)] == [0, 1]
    assert found.diff(0, 0).is_empty


@given(network=graphs(), chosen=st.sampled_from(["fuse", "fuse,im2col", "canonicalize,pack"]))
@settings(max_examples=25, deadline=None)
def test_every_line_and_node_is_told_once(network: Graph, chosen: str) -> None:
    found = trace(network, chosen)
    for first, last in ((0, -1), (-1, 0)):
        result = found.diff(first, last)
        olds = [*(a for a, _ in result.unchanged), *(c.before for c in result.changed)]
        news = [*(b for _, b in result.unchanged), *(c.after for c in result.changed)]
        assert sorted([*olds, *result.removed]) == sorted(result.before.by_id)
        assert sorted([*news, *result.added]) == sorted(result.after.by_id)
        rows = diff_rows(result)
        places = [row.before for row in rows if row.before is not None]
        assert sorted(places) == list(range(len(result.before.lines)))
        places = [row.after for row in rows if row.after is not None]
        assert sorted(places) == list(range(len(result.after.lines)))


@given(st.permutations(range(9)))
def test_the_longest_rising_subsequence(numbers: list[int]) -> None:
    found = longest_rising(numbers)
    kept = [n for i, n in enumerate(numbers) if i in found]
    assert kept == sorted(kept)
    best = [1] * len(numbers)
    for i, n in enumerate(numbers):
        best[i] = 1 + max((best[j] for j in range(i) if numbers[j] < n), default=0)
    assert len(kept) == max(best)


def test_a_layer_in_blocks_comes_from_its_own_layer_only() -> None:
    """Each rewrite takes back the Unpack that the one before it made."""
    b = ic.Builder("chain", seed=0)
    y = b.input("x", (1, 16, 4, 4))
    for name in ("c1", "c2", "c3"):
        y = b.conv(y, 16, kernel=3, pads=1, name=name)
    b.output(y)
    found = trace(b.build(), "pack")
    before, after = (s.by_id for s in found.shown)
    became: dict[str, set[str]] = {}
    for old, new in found.links[0]:
        if old in before:
            became.setdefault(before[old].name, set()).add(f"{after[new].op} {after[new].name}")
    assert became == {
        "c1": {"Pack c1.packed", "Conv c1"},
        "c2": {"Conv c2"},
        "c3": {"Conv c3.blocks", "Unpack c3"},
    }
    log, second = found.result.provenance, found.result.node("c2").uid
    assert {r.name for r in log.originals([second]) if r.kind == "node"} == {"c2"}
    first = found.source.node("c1").uid
    assert found.result.node("c3").uid not in {r.uid for r in log.descendants([first])}


def test_a_repeated_activation_is_removed_exactly() -> None:
    b = ic.Builder("twice")
    y = b.relu(b.tanh(b.relu(b.relu(b.relu(b.input("x", (5,)), name="a")), name="c")))
    b.output(b.relu(b.clip(b.clip(y, 0.0, 6.0), 0.0, 6.0)), "y")
    (last,) = parse_pipeline("canonicalize")
    assert check_exact(b.build(), last, {}).holds


@pytest.mark.parametrize("pipeline", ["canonicalize", "im2col,canonicalize"])
def test_reading_past_a_value_that_stays_is_exact(pipeline: str) -> None:
    """A reshape of a reshape is merged while the one between has another user."""
    b = ic.Builder("past", seed=1)
    y = b.conv(b.input("x", (1, 3, 6, 6)), 4, kernel=3, name="c1")
    y, z = b.conv(y, 4, kernel=1, name="c2"), b.relu(y)
    b.output(b.add(y, z), "y")
    found = trace(b.build(), pipeline, numerics=True)
    for traced in found.passes:
        assert traced.numerics is not None
        assert traced.numerics.failed is None
        assert traced.stage.changed is False or traced.numerics.exact is not None
    (last,) = parse_pipeline("canonicalize")
    assert check_exact(found.source, last, {}).holds
