"""A small, fixed part of the campaign of changed model files (`make mutants`)."""

from __future__ import annotations

import pytest

from irconv.errors import ModelError
from tests import mutants
from tests.mutants import Tally, campaign, look, mutant_of


def test_some_mutants_load_or_are_refused() -> None:
    tally = campaign(400, seed=0)
    assert tally.findings == []
    assert tally.ends.total() == 400
    assert min(tally.ends[f"file {end}"] for end in ("loaded", "refused: model")) > 20
    assert tally.ends["listing refused: parse"] > 20


def test_the_mutants_of_a_seed_are_always_the_same() -> None:
    assert mutant_of(5) == mutant_of(5)
    assert len({mutant_of(n) for n in range(20)}) == 20


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("odd"), "ValueError: odd"),
        (MemoryError(), "MemoryError"),
        (ModelError("two\x1blines"), "not one printable line"),
        (ModelError("MemoryError: "), "out of memory"),
    ],
)
def test_what_is_not_as_it_must_be_is_a_finding(
    monkeypatch: pytest.MonkeyPatch, error: Exception, told: str
) -> None:
    def raises(data: bytes) -> None:
        raise error

    monkeypatch.setattr(mutants, "load", raises)
    tally = Tally()
    look(b"x", tally)
    assert told in tally.findings[0]
