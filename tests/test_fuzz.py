"""A small, fixed part of the campaign of random networks (`make fuzz`)."""

from __future__ import annotations

import pytest

from irconv.graph import Graph
from irconv.interpret import interpret
from tests import fuzz
from tests.fuzz import Tally, campaign, report


def test_some_networks_agree_in_every_form() -> None:
    tally = campaign(40, seed=0)
    assert tally.failures == []
    assert tally.graphs == 40
    assert len(tally.fired) > 20
    assert {"convolve", "view", "copy"} <= set(tally.kernels)
    assert "40 networks" in report(tally, 1.0)


def test_a_difference_is_told_with_its_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(graph: Graph, inputs: object) -> object:
        found = interpret(graph, inputs)  # type: ignore[arg-type]
        return {name: array + (graph.name != "random") for name, array in found.items()}

    def renamed(graph: Graph, pipeline: object, hook: object = None) -> Graph:
        copy = graph.copy()
        copy.name = "lowered"
        return copy

    monkeypatch.setattr(fuzz, "interpret", wrong)
    monkeypatch.setattr(fuzz, "lower", renamed)
    tally = Tally()
    tally.merge(campaign(3, seed=7))
    assert len(tally.failures) == 3
    assert tally.failures[0].startswith("--seed 7 --graphs 1: AssertionError")
