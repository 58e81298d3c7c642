"""The check on integers calls no right pass wrong: random networks, each pass that is exact."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from irconv.graph import Graph
from irconv.inspector.integers import check_exact
from irconv.pipeline import Pass, lower
from irconv.registry import passes
from tests.graphs import BATCH, graphs

EXACT = {name: cls for name, cls in passes().items() if cls.exact}


@pytest.mark.parametrize("chosen", EXACT.values(), ids=EXACT)
@pytest.mark.parametrize("first", ["", "fuse,im2col"])
@given(network=graphs())
@settings(max_examples=12, deadline=None)
def test_an_exact_pass_is_found_exact(chosen: type[Pass], first: str, network: Graph) -> None:
    before = lower(network, first)
    found = check_exact(before, chosen(), dict.fromkeys(before.symbols(), BATCH))
    assert not found.differing, f"{before}\n{lower(before, [chosen()])}"
