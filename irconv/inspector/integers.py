"""Whether an exact pass is exact: bit-equal, layer by layer, on integer-valued data."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from irconv.dim import Dim, substitute
from irconv.graph import Graph, Node, Value
from irconv.interpret import content
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
    small integers, so that errors do not hide behind later layers and numbers do not grow.
    """
    source = with_integers(before, seed)
    result = lower(source, [pass_])
    types = {v.name: v.type for v in _float_results(source)}
    common = {v.name for v in _float_results(result) if types.get(v.name) == v.type}
    first, second = (_Layerwise(common, sizes, seed) for _ in range(2))
    first.run(source)
    second.run(result)
    differing = [n for n, digest in first.digests.items() if second.digests.get(n) != digest]
    largest = max(first.largest, second.largest)
    return Exactness(len(first.digests), tuple(differing), largest)


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


class _Layerwise:
    """A run in which each common value is noted, then replaced by integers."""

    def __init__(self, common: set[str], sizes: Mapping[str, int], seed: int) -> None:
        self.common = common
        self.sizes = sizes
        self.seed = seed
        self.digests: dict[str, bytes] = {}
        self.largest = 0.0
        self.alive: dict[Value, Any] = {}

    def run(self, graph: Graph) -> None:
        left = {v: len(v.uses) for v in graph.values}
        for value in graph.inputs:
            self.alive[value] = self._input(value)
        for node in graph:
            self._run_node(node)
            for operand in filter(None, node.operands):
                left[operand] -= 1
                if not left[operand]:
                    self.alive.pop(operand, None)

    def _run_node(self, node: Node) -> None:
        arrays = [
            None if v is None else self.alive[v] if v in self.alive else content(v)
            for v in node.operands
        ]
        with np.errstate(all="ignore"):
            results = node.op.run(arrays)
        for value, array in zip(node.results, results, strict=True):
            self.alive[value] = self._noted(value, array)

    def _noted(self, value: Value, array: Any) -> Any:
        if not _is_float(value):
            return array
        finite = array[np.isfinite(array)]
        if finite.size:
            self.largest = max(self.largest, float(np.abs(finite).max()))
        if value.name not in self.common:
            return array
        self.digests[value.name] = _digest(array)
        return integer_array(value.name, array.shape, array.dtype, self.seed)

    def _input(self, value: Value) -> Array:
        sizes: list[Dim] = [substitute(d, self.sizes) for d in value.shape]
        shape = tuple(int(d) for d in sizes if isinstance(d, int))
        array = integer_array(value.name, shape, np.int64, self.seed)
        return (array if _is_float(value) else np.abs(array)).astype(value.tensor_type.dtype)


def _digest(array: Array) -> bytes:
    # adding zero makes -0.0 positive: the sign of zero is free, and a NaN is a NaN
    plain = np.where(np.isnan(array), np.float64("nan"), array).astype(array.dtype) + 0
    return hashlib.blake2b(np.ascontiguousarray(plain).tobytes(), digest_size=16).digest()
