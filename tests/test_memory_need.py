"""Too large for this machine: refused with the number before anything is allocated."""

from __future__ import annotations

from pathlib import Path

import pytest

import irconv as ic
from irconv import heap
from irconv.errors import BudgetError
from irconv.graph import Graph
from irconv.inspector.samples import seeded_inputs


def net(batch: int) -> Graph:
    b = ic.Builder("net", seed=0)
    x = b.input("x", (batch, 1, 1000, 1000))
    b.output(b.relu(b.conv(b.relu(x), 4, kernel=3, pads="same")))
    return b.build()


def test_inputs_that_no_machine_holds() -> None:
    with pytest.raises(BudgetError, match=r"inputs: .* GB.*, got 4000000.0 GB"):
        seeded_inputs(net(10**9))


def test_a_program_that_needs_more_than_is_free(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    facts = tmp_path / "meminfo"
    facts.write_text("MemTotal: 100 kB\nMemAvailable:   4000 kB\n", "ascii")
    monkeypatch.setattr(heap, "_FACTS", facts)
    assert heap.available_bytes() == 4_096_000
    with pytest.raises(BudgetError, match=r"one call of the program.*a smaller batch"):
        ic.compile(net(1), pipeline="", threads=1)


def test_where_nobody_tells_what_is_free_nothing_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(heap, "_FACTS", tmp_path / "absent")
    assert heap.available_bytes() is None
    heap.require(1 << 60, "anything")
