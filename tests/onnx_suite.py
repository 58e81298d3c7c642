"""Runs ONNX's own test suite against `irconv.onnx_backend` and sorts what came of each test."""

from __future__ import annotations

import os
import tempfile
import traceback
import unittest
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import onnx.backend.test

from irconv import onnx_backend
from irconv.errors import IrconvError

PASSED, REFUSED, WRONG, CRASHED = "passed", "refused", "wrong", "crashed"


@dataclass(frozen=True)
class Outcome:
    """What became of one test: `refused` is an error that irconv raised on purpose."""

    category: str
    name: str
    status: str
    message: str = ""


class _Sorter(unittest.TestResult):
    """Sorts tests by the exception that ended them."""

    def __init__(self) -> None:
        super().__init__()
        self.outcomes: list[Outcome] = []

    def _add(self, test: unittest.TestCase, status: str, message: str = "") -> None:
        category = type(test).__name__.removeprefix("OnnxBackend").removesuffix("Test")
        name = test.id().rpartition(".")[2]
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
    """Runs the tests whose names match a pattern of `include` (all of them if there is none)."""
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
    suite = onnx.backend.test.BackendTest(onnx_backend.IrconvBackend, __name__)
    for pattern in include:
        suite.include(f"{pattern}_{device}$")
    sorter = _Sorter()
    suite.test_suite.run(sorter)
    return sorter.outcomes


def table(outcomes: Sequence[Outcome]) -> str:
    """Counts of each status, by category."""
    statuses = (PASSED, REFUSED, WRONG, CRASHED)
    counts = Counter((o.category, o.status) for o in outcomes)
    lines = [f"{'category':<28}" + "".join(f"{s:>9}" for s in statuses)]
    for category in sorted({o.category for o in outcomes}):
        row = "".join(f"{counts[category, s]:>9}" for s in statuses)
        lines.append(f"{category:<28}{row}")
    total = "".join(f"{sum(o.status == s for o in outcomes):>9}" for s in statuses)
    return "\n".join([*lines, f"{'all':<28}{total}"])
