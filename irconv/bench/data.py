"""Looks at the numbers inside a network: a time on zeros, infinities or denormals says little."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from irconv.graph import Graph, Value
from irconv.interpret import interpret
from irconv.types import Array


@dataclass(frozen=True)
class Magnitudes:
    """Of all results of float nodes: the smallest and largest RMS, and what should not be there.

    `smallest` and `largest` are the nodes of these. Probabilities are small by nature: the outputs
    of the network count only in `denormals` and `not_finite`. `zeros` is the part of all elements.
    """

    low: float
    smallest: str
    high: float
    largest: str
    zeros: float
    denormals: int
    not_finite: int

    def to_json(self) -> dict[str, Any]:
        """Plain data for `json.dumps`."""
        return asdict(self)


def magnitudes(graph: Graph, inputs: Mapping[str, Array]) -> Magnitudes:
    """What the float32 interpreter meets on these inputs; weights count in `denormals` too."""
    sizes: dict[str, float] = {}
    count = zeros = denormals = not_finite = 0

    def watch(value: Value, array: Array) -> None:
        nonlocal count, zeros, denormals, not_finite
        if array.dtype.kind != "f" or not array.size:
            return
        count += array.size
        zeros += array.size - int(np.count_nonzero(array))
        denormals += _denormals(array)
        not_finite += array.size - int(np.count_nonzero(np.isfinite(array)))
        if not value.is_output:
            sizes[value.name] = float(np.sqrt(np.mean(np.square(array, dtype=np.float64))))

    interpret(graph, inputs, watch=watch)
    weights = [v.array for v in graph.parameters.values() if v.array is not None]
    denormals += sum(_denormals(a) for a in weights if a.dtype.kind == "f")
    smallest = min(sizes, key=sizes.__getitem__, default="")
    largest = max(sizes, key=sizes.__getitem__, default="")
    low, high = sizes.get(smallest, 0.0), sizes.get(largest, 0.0)
    part = zeros / count if count else 0.0
    return Magnitudes(low, smallest, high, largest, part, denormals, not_finite)


def _denormals(array: Array) -> int:
    tiny = np.finfo(array.dtype).tiny
    return int(np.count_nonzero((np.abs(array) < tiny) & (array != 0)))
