"""Golden listings: what each pass makes of a small network, and what it declined.

A case is `tests/cases/<pass>/<case>.ir`: a listing, `// pass: <pipeline>`, `// ----`, then the
listing that comes out, with the remarks as comments. Big constants lie beside it in an .npz, as
`irconv.ir_files` writes it. `pytest --update-golden` writes the second half anew.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from irconv.graph import Graph
from irconv.interpret import interpret
from irconv.pipeline import Stage, lower
from irconv.registry import passes
from irconv.text import parse
from irconv.types import Array
from irconv.verify import verify
from tests.graphs import integer_inputs

FOLDER = Path(__file__).parent / "cases"
CASES = sorted(FOLDER.rglob("*.ir"))
PASS, RULE = "// pass: ", "// ----\n"


def halves(case: Path) -> tuple[str, str, str]:
    """(input listing, pipeline, expected text)."""
    head, _, expected = case.read_text("utf-8").partition(RULE)
    listing, mark, pipeline = head.partition(PASS)
    assert mark, f"{case} has no line {PASS!r}"
    return listing, pipeline.strip(), expected


def constants(case: Path) -> dict[str, Array]:
    """The big constants of a case by their digests."""
    place = case.with_suffix(".npz")
    if not place.exists():
        return {}
    with np.load(place, allow_pickle=False) as stored:
        return {name.partition(".")[0]: stored[name] for name in stored}


def outcome(before: Graph, pipeline: str) -> str:
    """The listing after the pipeline, and a comment for each remark."""
    stages: list[Stage] = []
    after = lower(before, pipeline, stages.append)
    remarks = [f"// {remark}\n" for stage in stages for remark in stage.remarks]
    return f"{after}\n{''.join(remarks)}"


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c.parent.name}/{c.stem}")
def test_case(case: Path, update_golden: bool) -> None:
    listing, pipeline, expected = halves(case)
    found = outcome(parse(listing, constants(case)), pipeline)
    if update_golden:
        case.write_text(f"{listing}{PASS}{pipeline}\n{RULE}{found}", "utf-8")
    else:
        assert found == expected


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c.parent.name}/{c.stem}")
def test_the_golden_listing_computes_the_same(case: Path) -> None:
    listing, _, expected = halves(case)
    arrays = constants(case)
    before, after = parse(listing, arrays), parse(expected, arrays)
    verify(after)
    inputs = integer_inputs(before)
    result = interpret(after, inputs)
    for name, array in interpret(before, inputs).items():
        np.testing.assert_array_equal(result[name], array)


@pytest.mark.parametrize("name", sorted(passes()))
def test_every_pass_has_cases(name: str) -> None:
    found = [case for case in CASES if case.parent.name == name]
    assert found, f"no tests/cases/{name}/*.ir"
    assert all(name in halves(case)[1] for case in found)
