"""How much a pass changes the result: float64 before and after, and bits of exact passes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from irconv.graph import Graph
from irconv.inputs import bind_symbols
from irconv.inspector.integers import Exactness, check_exact
from irconv.interpret import interpret
from irconv.pipeline import Stage
from irconv.types import Array

# whole networks: the largest error relative to the largest output
TOLERANCE = 1e-3
# a second input must move the outputs by this much, or small errors prove nothing
MOVED = 100 * TOLERANCE


@dataclass(frozen=True)
class Numerics:
    """Errors of one pass, each the largest over the outputs, relative to the largest |output|."""

    error: float  # against the graph before the pass, both in float64
    from_source: float  # against the graph before the first pass
    exact: Exactness | None  # of an exact pass: bit-equality on integer-valued data

    @property
    def failed(self) -> str | None:
        """What is wrong, or None."""
        if not self.from_source <= TOLERANCE:
            return f"the outputs moved by {self.from_source:.1e}, more than {TOLERANCE:g}"
        if self.exact is not None and not self.exact.holds and not self.exact.void:
            return f"not bit-equal on integers: %{self.exact.differing[0]}"
        return None


class Watcher:
    """Compares each stage with the one before and with the source."""

    def __init__(self, source: Graph, inputs: Mapping[str, Array], seed: int = 0) -> None:
        self.inputs = dict(inputs)
        self.seed = seed
        self.sizes = bind_symbols(source.inputs, [self.inputs[v.name] for v in source.inputs])
        self.source = reference(source, self.inputs)
        self.previous = self.source

    def look(self, stage: Stage) -> Numerics:
        """The numerics of one stage; call it for each, in order."""
        if not stage.changed:
            return Numerics(0.0, relative_error(self.previous, self.source), None)
        result = reference(stage.after, self.inputs)
        exact = None
        if stage.pass_.exact:
            exact = check_exact(stage.before, stage.pass_, self.sizes, self.seed)
        found = Numerics(
            relative_error(result, self.previous), relative_error(result, self.source), exact
        )
        self.previous = result
        return found


def reference(graph: Graph, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The outputs, computed in float64."""
    return interpret(graph, inputs, float64=True)


def relative_error(result: Mapping[str, Array], expected: Mapping[str, Array]) -> float:
    """The largest over the outputs of max|y - yref| / max|yref|; infinite where shapes or NaN
    differ.
    """
    return max((array_error(result[n], y) for n, y in expected.items()), default=0.0)


def array_error(result: Array, expected: Array) -> float:
    """max|y - yref| / max|yref| of one output."""
    if result.shape != expected.shape:
        return float("inf")
    if not expected.size:
        return 0.0
    y, ref = (np.asarray(a, np.float64) for a in (result, expected))
    same = (y == ref) | (np.isnan(y) & np.isnan(ref))
    if bool(same.all()):
        return 0.0
    with np.errstate(all="ignore"):
        gap = np.where(same, 0.0, np.abs(y - ref)).max()
    scale = np.abs(ref[np.isfinite(ref)]).max(initial=0.0)
    return float(gap / scale) if scale and np.isfinite(gap) else float("inf")
