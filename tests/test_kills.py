"""A small, fixed part of the campaign that kills irconv (`make kills`)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import kills
from tests.kills import Work, campaign, digest, kill_once


def test_nothing_is_left_broken_by_a_kill() -> None:
    assert 0 <= campaign(2, seed=3) <= 2


def test_a_half_written_file_would_be_seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    work = Work(tmp_path)
    monkeypatch.setattr(Work, "run", lambda self, limit=None: (True, 0.0))
    work.exported.write_bytes(b"whole")
    whole = digest(work.exported)
    assert kill_once(work, 1.0, whole)
    assert not work.exported.exists()
    work.exported.write_bytes(b"who")
    with pytest.raises(AssertionError, match="half-written"):
        kills.kill_once(work, 1.0, whole)
