"""Checks a lowering for continuous integration: golden stages, an error bound, demands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from irconv.errors import UsageError, printable
from irconv.graph import Graph
from irconv.inputs import bind_symbols
from irconv.inspector.demands import Demand, Verdict
from irconv.inspector.document import document
from irconv.inspector.fault import Reference
from irconv.inspector.golden import compare_golden
from irconv.inspector.samples import seeded_inputs
from irconv.inspector.trace import Trace, TracedPass, trace
from irconv.pipeline import Pipeline
from irconv.types import Array


@dataclass(frozen=True)
class Checked:
    """A lowering and what was checked of it."""

    trace: Trace
    verdicts: tuple[Verdict, ...]

    @property
    def holds(self) -> bool:
        """Whether all that was asked for holds."""
        return all(v.holds for v in self.verdicts)

    def to_json(self) -> dict[str, Any]:
        """Plain data for `json.dumps`."""
        return {"holds": self.holds, "checks": self._plain(), "trace": self.trace.to_json()}

    def document(self, command: str | None = None) -> dict[str, Any]:
        """The document of the lowering, with the verdicts as its `checks`."""
        return document(self.trace, command) | {"checks": self._plain()}

    def _plain(self) -> list[dict[str, Any]]:
        return [{"what": v.what, "holds": v.holds, "told": v.told} for v in self.verdicts]


def check(
    graph: Graph,
    pipeline: Pipeline,
    *,
    golden: Path | None = None,
    max_error: float | None = None,
    require: Sequence[Demand | str] = (),
    inputs: Mapping[str, Array] | None = None,
    seed: int = 0,
) -> Checked:
    """Lowers `graph` and judges it.

    `golden` is a folder of listings that every stage must equal; `max_error` what no output may
    move by after any pass, relative to its largest number, in float64 on `inputs` (random ones from
    `seed`), and then exact passes must be exact; `require` are demands. Raises UsageError for a
    demand that means nothing here, and what `lower` raises.
    """
    demands = [Demand.parse(d) if isinstance(d, str) else d for d in require]
    numerics = max_error is not None
    given = seeded_inputs(graph, seed) if inputs is None else dict(inputs)
    traced = trace(graph, pipeline, given if numerics else None, seed=seed)
    verdicts = [d.judge(traced) for d in demands]
    verdicts += compare_golden(traced, golden) if golden is not None else []
    if max_error is not None:
        verdicts += _errors(traced, given, max_error, seed)
    return Checked(traced, tuple(verdicts))


def check_bound(max_error: float | None) -> None:
    """Raises UsageError for a bound that is none."""
    if max_error is not None and not 0 <= max_error < float("inf"):
        raise UsageError("wrong --max-error", expected="a number from 0", got=max_error)


def _errors(traced: Trace, inputs: Mapping[str, Array], bound: float, seed: int) -> list[Verdict]:
    """The bound, the exact passes, and whether small errors prove anything."""
    reference = Reference(traced.source, inputs)
    sizes = bind_symbols(traced.source.inputs, [inputs[v.name] for v in traced.source.inputs])
    moved = reference.moved(traced.source, seeded_inputs(traced.source, seed + 1, sizes))
    verdicts = [_bound(traced, reference.error(traced.result), bound)]
    if not moved >= 100 * bound:
        told = f"void: a second input moves an output by {moved:.1e} only, less than 100 bounds"
        verdicts.append(Verdict("error", False, told))
    return verdicts + [v for p in traced.passes if (v := _exact(p)) is not None]


def _bound(traced: Trace, error: float, bound: float) -> Verdict:
    measured = [(p.name, p.numerics.from_source) for p in traced.passes if p.numerics is not None]
    # the last one again with what the softmax is fed
    measured += [(measured[-1][0], error)] if measured else []
    for name, found in measured:
        if not found <= bound:
            told = f"after {name} an output is off by {found:.1e}, more than {bound:g}"
            return Verdict("error", False, f"{told} (irconv bisect finds the rewrite)")
    largest = max((found for _, found in measured), default=0.0)
    return Verdict("error", True, f"at most {largest:.1e} after any pass; allowed {bound:g}")


def _exact(traced: TracedPass) -> Verdict | None:
    exact = traced.numerics.exact if traced.numerics is not None else None
    if exact is None or exact.holds or exact.void:
        return None
    name = printable(exact.differing[0])
    return Verdict(f"exact {traced.name}", False, f"not bit-equal on integers: %{name}")
