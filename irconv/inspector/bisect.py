"""Finds the first pass, then the first rewrite, after which a graph is no longer what it was."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf, nan
from typing import TypeAlias

from irconv.errors import NumericsError, PassError
from irconv.graph import Graph
from irconv.inputs import bind_symbols
from irconv.inspector.fault import Case, Fault, Reference, fault_of, try_pass
from irconv.inspector.numerics import TOLERANCE
from irconv.inspector.samples import seeded_inputs
from irconv.pipeline import Attempt, Pass, Pipeline, Stage, parse_pipeline
from irconv.provenance import Record
from irconv.types import Array
from irconv.verify import verify


@dataclass(frozen=True)
class Finding:
    """The first fault of a pipeline.

    `index` is the pass's place, from 1; `rewrite` that of its first wrong rewrite, None where the
    fault is there before any rewrite. `whole` is the graph that the pass was given, `case` the one
    right before that rewrite.
    """

    index: int
    pass_: Pass
    fault: Fault
    rewrite: int | None
    rewrites: int
    record: Record | None
    error_before: float | None
    whole: Case
    case: Case

    @property
    def rule(self) -> str:
        """The rule at fault; empty where no rule is."""
        if self.rewrite is None:
            return ""
        return self.record.rule if self.record is not None else self.fault.rule

    @property
    def source(self) -> str:
        """The file and line of the rule, where it fired."""
        return self.record.source if self.record is not None else ""

    @property
    def node(self) -> str:
        """The node that the rule was tried on."""
        if self.record is None:
            return self.fault.node
        return next((r.name for r in self.record.old if r.kind == "node"), "")

    @property
    def seeds(self) -> frozenset[int]:
        """The uids of the nodes of `case` that the wrong rewrite is about."""
        if self.record is not None:
            return frozenset(r.uid for r in self.record.old if r.kind == "node")
        named = self.node
        return frozenset(n.uid for n in self.case.graph if named and n.name == named)


@dataclass(frozen=True)
class Bisection:
    """What was looked at: the error of the outputs after each pass, and what was found.

    `moved` is how far a second input moves the outputs: where it is less than 100 tolerances, small
    errors prove nothing.
    """

    tolerance: float
    moved: float
    errors: tuple[tuple[str, float], ...]
    finding: Finding | None = None

    @property
    def void(self) -> bool:
        return not self.moved >= 100 * self.tolerance


Judge: TypeAlias = "Callable[[Stage], Fault | None]"
Watch: TypeAlias = "Callable[[str], None]"


def _quiet(text: str) -> None:
    """Nobody watches."""


def bisect(
    graph: Graph,
    pipeline: Pipeline,
    inputs: Mapping[str, Array] | None = None,
    *,
    tolerance: float = TOLERANCE,
    seed: int = 0,
    expected: Mapping[str, Array] | None = None,
    watch: Watch = _quiet,
) -> Bisection:
    """Lowers `graph` pass by pass and compares its outputs, in float64, with those it had.

    A pass is at fault that raises, whose result does not verify, or after which an output has moved
    by more than `tolerance` of its largest number; then its rewrites are halved until one is left.
    Without `inputs` they are random, from `seed`. `expected`, outputs by name that another engine
    computed, replaces the graph's own. Raises NumericsError where the graph already differs from
    them.
    """
    verify(graph)
    passes = parse_pipeline(pipeline)
    given = dict(seeded_inputs(graph, seed) if inputs is None else inputs)
    reference = Reference(graph, given, expected)
    if expected is not None:
        _check_source(reference.error(graph), tolerance)
    sizes = bind_symbols(graph.inputs, [given[v.name] for v in graph.inputs])
    moved = reference.moved(graph, seeded_inputs(graph, seed + 1, sizes))
    search = _Search(reference, tolerance, watch)
    finding = search.first_fault(graph, passes)
    return Bisection(tolerance, moved, tuple(search.errors), finding)


def bisect_failure(error: PassError, seconds: float = inf) -> Finding:
    """The rewrite after which a pass failed; raises `error` again where it tells no attempt.

    Only the pass is run: the case has no inputs. After some `seconds` the halving stops: the
    rewrite is then one that fails, and perhaps not the first.
    """
    fault, attempt = fault_of(error), error.attempt
    assert isinstance(attempt, Attempt)
    case = Case(attempt.before, attempt.pass_, None)
    return _first_rewrite(case, fault, lambda stage: None, ends=time.monotonic() + seconds)


def _check_source(error: float, tolerance: float) -> None:
    if not error <= tolerance:
        raise NumericsError(
            "the model differs from its reference before the first pass",
            expected=f"an error of at most {tolerance:g}",
            got=f"{error:.1e}",
            hint="the import, or an op's meaning, is at fault; no pass is",
        )


@dataclass
class _Search:
    """The passes, one by one, against one reference; `errors` is what was measured."""

    reference: Reference
    tolerance: float
    watch: Watch
    errors: list[tuple[str, float]] = field(default_factory=list)

    def first_fault(self, graph: Graph, passes: Sequence[Pass]) -> Finding | None:
        for index, pass_ in enumerate(passes, 1):
            self.watch(f"pass {index} of {len(passes)}: {pass_}")
            tried = try_pass(graph, pass_)
            error, fault = (nan, tried) if isinstance(tried, Fault) else self._judged(tried)
            self.errors.append((str(pass_), error))
            if fault is not None:
                case = Case(graph, pass_, self.reference.inputs, self.tolerance)
                found = _first_rewrite(case, fault, lambda s: self._judged(s)[1], self.watch)
                return replace(found, index=index, error_before=self._error_of(found))
            assert isinstance(tried, Stage)
            graph = tried.after
            self.reference.keep()
        return None

    def _judged(self, stage: Stage) -> tuple[float, Fault | None]:
        return self.reference.judge(stage, self.tolerance)

    def _error_of(self, finding: Finding) -> float | None:
        """The error right before the wrong rewrite."""
        if finding.fault.error is None:
            return None
        return self.reference.error(finding.case.graph)


def _first_rewrite(
    case: Case, fault: Fault, judge: Judge, watch: Watch = _quiet, ends: float = inf
) -> Finding:
    """Halves the rewrites: the first `good` of them do no harm, the first `bad` do."""

    def after(at_most: int) -> Stage | Fault:
        tried = try_pass(case.graph, case.pass_, at_most)
        return tried if isinstance(tried, Fault) else judge(tried) or tried

    rewrites = bad = len(fault.records) + bool(fault.rule)
    first = after(0) if bad else fault
    if isinstance(first, Fault):
        return Finding(0, case.pass_, first, None, rewrites, None, None, case, case)
    good, before = 0, first
    # a rule that raises does so right after the last rewrite
    middle = bad - 1 if fault.rule else (good + bad) // 2
    while bad - good > 1 and time.monotonic() < ends:
        watch(f"rewrites {good + 1} to {bad} of {rewrites} of {case.pass_}")
        tried = after(middle)
        if isinstance(tried, Fault):
            bad, fault = middle, tried
        else:
            good, before = middle, tried
        middle = (good + bad) // 2
    record = fault.records[bad - 1] if len(fault.records) >= bad else None
    right_before = replace(case, graph=before.after)
    return Finding(0, case.pass_, fault, bad, rewrites, record, None, case, right_before)
