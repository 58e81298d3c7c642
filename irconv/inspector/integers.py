"""Whether an exact pass is exact: bit-equal, layer by layer, on integer-valued data."""

from __future__ import annotations

import hashlib
import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from irconv.dim import substitute
from irconv.graph import Graph, Node, Value
from irconv.inspector.numbering import Numbers, renewable, sources
from irconv.interpret import content
from irconv.op import Op
from irconv.pipeline import Pass, lower
from irconv.types import Array, TensorType

# float32 holds every integer below this, so sums are exact in any order
EXACT_BELOW = 1 << 24
# weights and activations are -3..3: sums of up to 1.8 million products stay exact
LARGEST = 3

# Ops whose float operands may be any numbers. Other parameters (epsilons, scales of a resize,
# bounds) keep their values, because a shape or a domain may hang on them.
_WEIGHTED = {
    *("Add", "Concat", "Conv", "ConvMatrix", "ConvTranspose", "Flatten", "FusedConv"),
    *(
        "FusedMatMul",
        "Gemm",
        "MatMul",
        "Mul",
        "Pack",
        "Reshape",
        "SparseMatMul",
        "Squeeze",
        "Sub",
        "Sum",
    ),
    *("Transpose", "Unpack", "Unsqueeze"),
}

# how often what differs is looked at again with one layer more
_RETRIES = 3
# activations that keep integers within bounds, and do nothing to what is within them
_BOUNDING = ("Abs", "Clamp", "Clip", "Relu")


@dataclass(frozen=True)
class Exactness:
    """How many values were compared, which differ, and the largest number that was met."""

    compared: int
    differing: tuple[str, ...]
    largest: float

    @property
    def holds(self) -> bool:
        """Whether something was compared, and all of it was bit-equal."""
        return bool(self.compared) and not self.differing

    @property
    def void(self) -> bool:
        """Whether nothing is proved: numbers grew past those that float32 holds exactly."""
        return not self.compared or self.largest >= EXACT_BELOW


def check_exact(before: Graph, pass_: Pass, sizes: Mapping[str, int], seed: int = 0) -> Exactness:
    """Runs `pass_` on `before` with integer-valued parameters and compares all common values.

    Each value that exists before and after is compared and then replaced, in both graphs, by new
    small integers, so that errors do not hide behind later layers and numbers do not grow. Where a
    rewrite reads past a value that stays (a reshape of a reshape), that value is compared only.
    What both graphs compute by the same ops from the same values is equal and is not run.
    """
    source = with_integers(before, seed)
    result = lower(source, [pass_])
    types = {v.name: v.tensor_type.plain for v in _float_results(source)}
    common = {v.name for v in _float_results(result) if types.get(v.name) == v.tensor_type.plain}
    renewed = renewable(source, result, {n for n in common if _shape(types[n], sizes) is not None})
    given = _Given(renewed, _ranges(source), sizes, seed)
    differing, largest = _compare(source, result, common, given)
    for _ in range(_RETRIES):
        near = _read_by(differing, source, result, given.names)
        if not near:
            break
        given = replace(given, names=given.names - near)
        again, more = _compare(source, result, set(differing), given)
        if more >= EXACT_BELOW:
            break  # numbers of that size prove nothing: what was found stands
        differing, largest = again, max(largest, more)
    return Exactness(len(common), tuple(differing), largest)


def _compare(
    before: Graph, after: Graph, names: set[str], given: _Given
) -> tuple[list[str], float]:
    """Those of the values that differ, in order; and the largest number met."""
    numbers = Numbers(given.names)
    old, new = (numbers.of(graph, names) for graph in (before, after))
    changed = {name for name in names if old[name] != new[name]}
    first, second = (_Layerwise(changed, given) for _ in range(2))
    first.run(before)
    second.run(after)
    differing = [n for n, digest in first.digests.items() if second.digests.get(n) != digest]
    return differing, max(first.largest, second.largest)


def _read_by(names: list[str], before: Graph, after: Graph, given: set[str]) -> set[str]:
    """The given values that these are computed from next: a rewrite may have relied on how two of
    them hang together (twins, of which one is left).
    """
    found = set[str]()
    for graph in (before, after):
        read = sources(graph, set(names), given)
        found |= given & frozenset[str]().union(*read.values())
    return found


def with_integers(graph: Graph, seed: int = 0) -> Graph:
    """A copy of `graph` whose weights are small integers (in the same float type)."""
    copy = graph.copy()
    for value in tuple(copy.parameters.values()):
        users = value.users
        if not _is_float(value) or not users or any(n.op.name not in _WEIGHTED for n in users):
            continue
        array = integer_array(value.name, content(value).shape, content(value).dtype, seed)
        new = copy.add_parameter(copy.fresh_name(value.name), array, trainable=value.trainable)
        name = value.name
        copy.replace_uses(value, new)
        copy.remove_parameter(value)
        copy.rename(new, name)
    return copy


def integer_array(name: str, shape: tuple[int, ...], dtype: Any, seed: int) -> Array:
    """Integers -3..3 that depend on the name and the seed only."""
    rng = np.random.default_rng([seed, zlib.crc32(name.encode("utf-8", "surrogatepass"))])
    return rng.integers(-LARGEST, LARGEST + 1, shape).astype(dtype)


def _is_float(value: Value) -> bool:
    found = value.type
    return isinstance(found, TensorType) and found.dtype in (np.float32, np.float64)


def _float_results(graph: Graph) -> list[Value]:
    return [v for node in graph for v in node.results if _is_float(v)]


def _shape(found: TensorType, sizes: Mapping[str, int]) -> tuple[int, ...] | None:
    """The shape, if these sizes tell it."""
    dims = [substitute(d, sizes) for d in found.shape]
    known = tuple(d for d in dims if isinstance(d, int))
    return known if len(known) == len(dims) else None


def _ranges(graph: Graph) -> dict[str, tuple[Op, tuple[Array | None, ...]]]:
    """The activations that bound a value, with their constants, by the value's name: Relu(Relu(x))
    is Relu(x) only because the inner one is not negative.
    """
    found: dict[str, tuple[Op, tuple[Array | None, ...]]] = {}
    for node in graph:
        op = getattr(node.op, "activation", None) or node.op
        bounds = node.operands[1:] if op is node.op else ()
        if op.name in _BOUNDING and all(v is None or v.is_parameter for v in bounds):
            found[node.name] = op, tuple(v if v is None else content(v) for v in bounds)
    return found


@dataclass(frozen=True)
class _Given:
    """The integers that stand in for values, the same in every graph; `ranges` bound them."""

    names: set[str]
    ranges: Mapping[str, tuple[Op, tuple[Array | None, ...]]]
    sizes: Mapping[str, int]
    seed: int

    def __contains__(self, value: Value) -> bool:
        return value.producer is None or value.name in self.names

    def array(self, value: Value) -> Array:
        """Those of an input or of a renewed value."""
        shape = _shape(value.tensor_type, self.sizes) or ()
        dtype = value.tensor_type.dtype
        if not _is_float(value):
            return np.abs(integer_array(value.name, shape, np.int64, self.seed)).astype(dtype)
        found = integer_array(value.name, shape, dtype, self.seed)
        if value.name not in self.ranges:
            return found
        op, bounds = self.ranges[value.name]
        return op.run([found, *bounds])[0].astype(dtype)


class _Layerwise:
    """A run of what leads to some values, from integers in the place of all given ones."""

    def __init__(self, wanted: set[str], given: _Given) -> None:
        self.wanted = wanted
        self.given = given
        self.digests: dict[str, bytes] = {}
        self.largest = 0.0
        self.alive: dict[Value, Any] = {}

    def run(self, graph: Graph) -> None:
        """Notes a digest of each wanted value."""
        needed = self._needed(graph)
        left = Counter(v for node in needed for v in node.operands if v is not None)
        for node in needed:
            self._run_node(node)
            for operand in filter(None, node.operands):
                left[operand] -= 1
                if not left[operand]:
                    self.alive.pop(operand, None)

    def _needed(self, graph: Graph) -> list[Node]:
        """The nodes between renewed values and wanted ones, in order."""
        wanted = {v for node in graph for v in node.results if v.name in self.wanted}
        needed = []
        for node in reversed(graph.nodes):
            if wanted.isdisjoint(node.results):
                continue
            needed.append(node)
            wanted.update(v for v in node.operands if v is not None and v not in self.given)
        return needed[::-1]

    def _run_node(self, node: Node) -> None:
        arrays = [None if v is None else self._operand(v) for v in node.operands]
        with np.errstate(all="ignore"):
            results = node.op.run(arrays)
        for value, array in zip(node.results, results, strict=True):
            self._note(value, array)
            if value not in self.given:
                self.alive[value] = array

    def _operand(self, value: Value) -> Any:
        if value.is_parameter:
            return content(value)
        if value not in self.alive:
            self.alive[value] = self.given.array(value)
        return self.alive[value]

    def _note(self, value: Value, array: Any) -> None:
        if not _is_float(value):
            return
        finite = array[np.isfinite(array)]
        if finite.size:
            self.largest = max(self.largest, float(np.abs(finite).max()))
        if value.name in self.wanted:
            self.digests[value.name] = _digest(array)


def _digest(array: Array) -> bytes:
    # adding zero makes -0.0 positive: the sign of zero is free, and a NaN is a NaN
    plain = np.where(np.isnan(array), np.float64("nan"), array).astype(array.dtype) + 0
    return hashlib.blake2b(np.ascontiguousarray(plain).tobytes(), digest_size=16).digest()
