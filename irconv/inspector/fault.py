"""What is wrong with a pass on a graph: it raises, breaks the verifier, or moves the numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from irconv.errors import IrconvError, PassError, VerifyError
from irconv.graph import Graph, Value
from irconv.inspector.evaluator import Evaluator
from irconv.inspector.numerics import TOLERANCE, array_error
from irconv.interpret import interpret
from irconv.ops.softmax import LogSoftmax, Softmax
from irconv.pipeline import Attempt, Pass, Stage, run_pass
from irconv.provenance import Record
from irconv.types import Array

# what differs between a big graph and a small one: names, numbers, lists
_PARTICULAR = re.compile(r"%\"[^\"]*\"|%\S+|\[[^\]]*\]|[\d.]+")

Kind: TypeAlias = Literal["raises", "verify", "run", "numerics"]


@dataclass(frozen=True)
class Fault:
    """One fault of a pass. `error` is the largest error of an output where the kind is numerics.

    `rules` are those that fired, and the one that was tried when the pass raised; `cause` is what
    it raised: the class, and what was wrong without names and numbers.
    """

    kind: Kind
    message: str
    rules: frozenset[str] = frozenset()
    rule: str = ""
    node: str = ""
    records: tuple[Record, ...] = ()
    cause: str = ""
    error: float | None = None

    def is_like(self, other: Fault, rule: str) -> bool:
        """Whether both have the same cause: the kind, what was raised, and that `rule` fired."""
        return (self.kind, self.cause) == (other.kind, other.cause) and (
            not rule or rule in self.rules
        )


@dataclass(frozen=True)
class Case:
    """A graph, the one pass that is suspected, and the inputs on which its effect is measured.

    Without inputs only the pass is run, and nothing measured.
    """

    graph: Graph
    pass_: Pass
    inputs: Mapping[str, Array] | None
    tolerance: float = TOLERANCE

    def fault(self) -> Fault | None:
        """What is wrong with the pass on this graph, or None."""
        tried = try_pass(self.graph, self.pass_)
        if isinstance(tried, Fault):
            return tried
        if self.inputs is None:
            return None
        return Reference(self.graph, self.inputs).judge(tried, self.tolerance)[1]


class Reference:
    """The outputs of a graph in float64, and what its last softmax is fed: a one-hot softmax hides
    everything.

    `expected` (outputs by name, of another engine) stands in for the outputs.
    """

    def __init__(
        self,
        source: Graph,
        inputs: Mapping[str, Array],
        expected: Mapping[str, Array] | None = None,
    ) -> None:
        self.inputs = dict(inputs)
        self._evaluator = Evaluator(inputs)
        self._logits = [v.name for v in map(_logits, source.outputs) if v is not None]
        self._expected = self._run(source) | dict(expected or {})
        self.keep()

    def keep(self) -> None:
        """The graph that ran last is much like the next ones: what is equal is not run again."""
        self._evaluator.keep()

    def error(self, graph: Graph) -> float:
        """The largest over the outputs of max|y - yref| / max|yref|."""
        return self._distance(self._run(graph))

    def moved(self, graph: Graph, inputs: Mapping[str, Array]) -> float:
        """How far other inputs move the outputs: where that is little, small errors prove nothing.

        The smallest over the outputs, each as in `error`.
        """
        found = interpret(graph, inputs, float64=True)
        return min((array_error(y, self._expected[n]) for n, y in found.items()), default=0.0)

    def judge(self, stage: Stage, tolerance: float) -> tuple[float, Fault | None]:
        """The error after a pass, and what is wrong with its numbers, or None."""
        rules = frozenset(stage.fired)
        try:
            error = self.error(stage.after)
        except IrconvError as failure:
            return float("inf"), Fault("run", str(failure), rules, records=stage.records)
        if error <= tolerance:
            return error, None
        message = f"an output moved by {error:.1e} of its largest number, more than {tolerance:g}"
        return error, Fault("numerics", message, rules, records=stage.records, error=error)

    def _run(self, graph: Graph) -> dict[str, Array]:
        return self._evaluator.run(graph, self._logits)

    def _distance(self, found: Mapping[str, Array]) -> float:
        # what a rewrite took the name of, it may hold in another form
        common = {n: y for n, y in found.items() if n not in self._logits or self._has(n, y)}
        return max((array_error(y, self._expected[n]) for n, y in common.items()), default=0.0)

    def _has(self, name: str, array: Array) -> bool:
        return name in self._expected and self._expected[name].shape == array.shape


def _logits(output: Value) -> Value | None:
    node = output.producer
    return node.operand(0) if node is not None and type(node.op) in (Softmax, LogSoftmax) else None


def try_pass(graph: Graph, pass_: Pass, at_most: int | None = None) -> Stage | Fault:
    """The stage of one pass, or how the pass fails."""
    try:
        return run_pass(graph, pass_, at_most=at_most)
    except PassError as error:
        return fault_of(error)


def fault_of(error: PassError) -> Fault:
    """The fault that a failed pass told; raises `error` again where it tells no attempt."""
    attempt, cause = error.attempt, error.__cause__
    if not isinstance(attempt, Attempt):
        raise error
    kind: Kind = "verify" if isinstance(cause, VerifyError) else "raises"
    fired = [record.rule for record in attempt.records]
    tried = [attempt.rule] if kind == "raises" and attempt.rule else []
    return Fault(
        kind,
        str(cause if isinstance(cause, IrconvError) else error.what),
        frozenset(fired + tried),
        attempt.rule if kind == "raises" else "",
        attempt.node if kind == "raises" else "",
        attempt.records,
        _cause(cause),
    )


def _cause(error: BaseException | None) -> str:
    what = error.what if isinstance(error, IrconvError) else str(error)
    return f"{type(error).__name__}: {_PARTICULAR.sub('_', what)}"
