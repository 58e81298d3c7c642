"""Runs ONNX's own test suite against `irconv.onnx_backend` and sorts what came of each test."""

from __future__ import annotations

import os
import re
import tempfile
import traceback
import unittest
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import onnx.backend.test

from irconv import onnx_backend
from irconv.errors import IrconvError

PASSED, REFUSED, WRONG, CRASHED = "passed", "refused", "wrong", "crashed"
RANDOM, DISPUTED = "random", "disputed"
STATUSES = (PASSED, REFUSED, WRONG, CRASHED, RANDOM, DISPUTED)

# names of the tests whose model irconv refuses, sorted; a test compares it with what is refused
REFUSED_LIST = Path(__file__).parent / "conformance_refused.txt"

# tests whose numbers say nothing of an implementation; they run, and must not fail otherwise
NOT_COMPARABLE = {
    # the expected numbers are one draw of NumPy's; ONNX does not say how to draw
    "test_bernoulli": RANDOM,
    "test_bernoulli_double": RANDOM,
    "test_bernoulli_double_expanded": RANDOM,
    "test_bernoulli_expanded": RANDOM,
    "test_bernoulli_seed": RANDOM,
    "test_bernoulli_seed_expanded": RANDOM,
    # they take scale * length for the new length, also where that is a fraction; the standard's
    # text says "the length of the resized tensor", and onnxruntime computes that too
    "test_resize_downsample_scales_cubic_align_corners": DISPUTED,
    "test_resize_downsample_scales_linear_align_corners": DISPUTED,
}


@dataclass(frozen=True)
class Outcome:
    """What became of one test: `refused` is an error that irconv raised on purpose."""

    category: str
    name: str
    status: str
    message: str = ""


class _Backend(onnx_backend.IrconvBackend):
    """Takes every model, so that a refusal is counted: the suite skips what is not compatible."""

    @classmethod
    def is_compatible(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> bool:
        return True


class _Sorter(unittest.TestResult):
    """Sorts tests by the exception that ended them."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self.device = device
        self.outcomes: list[Outcome] = []

    def _add(self, test: unittest.TestCase, status: str, message: str = "") -> None:
        category = type(test).__name__.removeprefix("OnnxBackend").removesuffix("Test")
        name = test.id().rpartition(".")[2].removesuffix(f"_{self.device}")
        if status == WRONG:
            status = NOT_COMPARABLE.get(name, WRONG)
        self.outcomes.append(Outcome(category, name, status, message))

    def addSuccess(self, test: unittest.TestCase) -> None:  # noqa: N802 - unittest's name
        self._add(test, PASSED)

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802
        self._add(test, WRONG, _last_line(err))

    def addError(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802
        status = REFUSED if isinstance(err[1], IrconvError) else CRASHED
        self._add(test, status, _last_line(err))


def _last_line(
    err: tuple[type[BaseException], BaseException, TracebackType | None],
) -> str:
    return " ".join("".join(traceback.format_exception_only(err[0], err[1])).split())[:300]


def run_suite(include: Sequence[str] = (), device: str = "cpu") -> list[Outcome]:
    """Runs the tests whose whole names match a pattern of `include` (all if there is none)."""
    with tempfile.TemporaryDirectory() as home, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of onnx's reference, on its own test data
        before = os.environ.get("ONNX_HOME")
        os.environ["ONNX_HOME"] = home  # the light models' data is written there
        try:
            return _run(include or (".*",), device)
        finally:
            os.environ.pop("ONNX_HOME")
            if before is not None:
                os.environ["ONNX_HOME"] = before


def _run(include: Sequence[str], device: str) -> list[Outcome]:
    suite = onnx.backend.test.BackendTest(_Backend, __name__)
    for pattern in include:
        suite.include(f"^(?:{pattern})_{device}$")
    sorter = _Sorter(device)
    suite.test_suite.run(sorter)
    return sorter.outcomes


def named(outcomes: Sequence[Outcome], status: str) -> list[str]:
    """The names of the tests that ended so, sorted."""
    return sorted(o.name for o in outcomes if o.status == status)


def matching(outcomes: Sequence[Outcome], pattern: str) -> list[Outcome]:
    """The outcomes of the tests whose whole names match."""
    return [o for o in outcomes if re.fullmatch(pattern, o.name)]


def refused_list() -> list[str]:
    """The checked-in names of refused tests."""
    return REFUSED_LIST.read_text("utf-8").split()


def table(outcomes: Sequence[Outcome]) -> str:
    """Counts of each status, by category, as a Markdown table."""
    counts = Counter((o.category, o.status) for o in outcomes)
    lines = [_row("category", STATUSES), _row("---", ["--:"] * len(STATUSES))]
    categories = sorted({o.category for o in outcomes})
    lines += [_row(c, [counts[c, s] for s in STATUSES]) for c in categories]
    return "\n".join([*lines, _row("all", [len(named(outcomes, s)) for s in STATUSES])])


def _row(name: str, cells: Sequence[object]) -> str:
    return f"| {name:<22} |" + "".join(f" {cell!s:>8} |" for cell in cells)
