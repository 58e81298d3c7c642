"""How much a pass changes the result: float64 before and after, and bits of exact passes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from irconv.dim import substitute
from irconv.errors import IrconvError
from irconv.graph import Graph, Value
from irconv.inputs import bind_symbols
from irconv.inspector.evaluator import Evaluator
from irconv.inspector.integers import Exactness, check_exact
from irconv.inspector.samples import seeded_inputs
from irconv.interpret import interpret
from irconv.pipeline import Stage
from irconv.types import Array, TensorType

# whole networks: the largest error relative to the largest output
TOLERANCE = 1e-3
# room for the source's values, to compare those of later stages with
KEPT_BYTES = 1 << 30
# a second input must move the outputs by this much, or small errors prove nothing
MOVED = 100 * TOLERANCE


@dataclass(frozen=True)
class Numerics:
    """Errors of one pass, each the largest over the outputs, relative to the largest |output|."""

    error: float  # against the graph before the pass, both in float64
    from_source: float  # against the graph before the first pass
    exact: Exactness | None  # of an exact pass: bit-equality on integer-valued data
    # by name, the error of each value that the source has too, against the source, in float64
    values: Mapping[str, float] = field(default_factory=dict)
    # how far a second input moves the source's outputs, relative to the largest
    moved: float = float("inf")

    @property
    def void(self) -> bool:
        """Whether the outputs depend so little on the input that a small error proves nothing."""
        return not self.moved >= MOVED

    @property
    def failed(self) -> str | None:
        """What is wrong, or None."""
        if not self.from_source <= TOLERANCE:
            return f"the outputs moved by {self.from_source:.1e}, more than {TOLERANCE:g}"
        if self.exact is not None and not self.exact.holds and not self.exact.void:
            return f"not bit-equal on integers: %{self.exact.differing[0]}"
        return None


class Watcher:
    """Compares each stage with the one before and with the source.

    The source's values are kept in float64, up to `KEPT_BYTES`: those beyond are not compared.
    The last stage's are kept too, so that what a pass left as it was is not computed again.
    """

    def __init__(self, source: Graph, inputs: Mapping[str, Array], seed: int = 0) -> None:
        self.inputs = dict(inputs)
        self.seed = seed
        self.sizes = bind_symbols(source.inputs, [self.inputs[v.name] for v in source.inputs])
        self._names = _with_room(source, self.sizes)
        self._evaluator = Evaluator(self.inputs)
        ends = _ends(source)
        self._kept = self._evaluator.run(source, [*self._names, *ends])
        self._evaluator.keep()
        self.source = {name: self._kept[name] for name in ends}
        self.previous = self.source
        other = self._second(source, ends) if source.inputs else {}
        self.moved = relative_error(other, self.source) if other else np.inf
        self._errors = dict.fromkeys(self._names, 0.0)

    def look(self, stage: Stage) -> Numerics:
        """The numerics of one stage; call it for each, in order."""
        if not stage.changed:
            from_source = relative_error(self.previous, self.source)
            return Numerics(0.0, from_source, None, self._errors, self.moved)
        found = self._evaluator.run(stage.after, [*self._names, *self.source])
        self._evaluator.keep()
        result = {name: found[name] for name in self.source if name in found}
        self._errors = {
            name: array_error(found[name], self._kept[name])
            for name in self._names
            if name in found and found[name].shape == self._kept[name].shape
        }
        exact = None
        if stage.pass_.exact:
            exact = check_exact(stage.before, stage.pass_, self.sizes, self.seed)
        step, whole = (relative_error(result, y) for y in (self.previous, self.source))
        self.previous = result
        return Numerics(step, whole, exact, self._errors, self.moved)

    def _second(self, source: Graph, ends: list[str]) -> dict[str, Array]:
        """What the source gives for other inputs of the same sizes; nothing if it takes none."""
        found: dict[str, Array] = {}

        def note(value: Value, array: Array) -> None:
            if value.name in ends:
                found[value.name] = array

        other = seeded_inputs(source, self.seed + 1, self.sizes)
        # integers are indices or counts: those that were given are valid in another order, too
        kept = {n: np.flip(a) for n, a in self.inputs.items() if a.dtype.kind != "f"}
        try:
            return found | interpret(source, other | kept, float64=True, watch=note)
        except IrconvError:
            return {}


def _ends(graph: Graph) -> list[str]:
    """The names of the outputs, and of what goes into a Softmax at the end: a one-hot result of it
    hides everything.
    """
    names = [v.name for v in graph.outputs]
    for value in graph.outputs:
        node = value.producer
        if node is not None and node.op.name in ("Softmax", "LogSoftmax"):
            names += [v.name for v in node.operands if v is not None and v.producer is not None]
    return list(dict.fromkeys(names))


def _with_room(graph: Graph, sizes: Mapping[str, int]) -> list[str]:
    """The names of float results in order, as long as they take no more than `KEPT_BYTES`."""
    names: list[str] = []
    room = KEPT_BYTES
    for node in graph:
        for value in node.results:
            if isinstance(value.type, TensorType) and value.type.dtype.kind == "f":
                size = substitute(value.type.size, sizes)
                room -= 8 * size if isinstance(size, int) else room + 1
                names += [value.name] if room >= 0 else []
    return names


def reference(graph: Graph, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The outputs, computed in float64."""
    return interpret(graph, inputs, float64=True)


def relative_error(result: Mapping[str, Array], expected: Mapping[str, Array]) -> float:
    """The largest of max|y - yref| / max|yref| over what both have; infinite where shapes or NaN
    differ.
    """
    errors = (array_error(result[n], y) for n, y in expected.items() if n in result)
    return max(errors, default=0.0)


def array_error(result: Array, expected: Array) -> float:
    """max|y - yref| / max|yref| of one output."""
    if result.shape != expected.shape:
        return float("inf")
    if not expected.size:
        return 0.0
    y, ref = (np.asarray(a, np.float64) for a in (result, expected))
    if np.array_equal(y, ref):
        return 0.0
    same = (y == ref) | (np.isnan(y) & np.isnan(ref))
    if bool(same.all()):
        return 0.0
    with np.errstate(all="ignore"):
        gap = np.where(same, 0.0, np.abs(y - ref)).max()
    scale = np.abs(ref[np.isfinite(ref)]).max(initial=0.0)
    return float(gap / scale) if scale and np.isfinite(gap) else float("inf")
