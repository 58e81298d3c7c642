"""Random inputs for a graph, the same for the same seed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from irconv.dim import substitute
from irconv.errors import InputError, printable
from irconv.graph import Graph, Value
from irconv.heap import require
from irconv.types import Array

# below the size of any embedding that a small network has, so that it is a valid index
TOKENS = 8


def seeded_inputs(
    graph: Graph, seed: int = 0, sizes: Mapping[str, int] | None = None
) -> dict[str, Array]:
    """An array for each input: normal for floats, 0..7 for integers, coin flips for booleans.

    A symbolic size is 1 unless `sizes` tells it. Raises InputError for a size that is not known
    then.
    """
    given = dict.fromkeys(graph.symbols(), 1) | dict(sizes or {})
    sizes_in_bytes = [substitute(v.tensor_type.nbytes, given) for v in graph.inputs]
    require(sum(n for n in sizes_in_bytes if isinstance(n, int)), "the inputs")
    return {
        value.name: _random(value, given, np.random.default_rng([seed, place]))
        for place, value in enumerate(graph.inputs)
    }


def _random(value: Value, sizes: Mapping[str, int], rng: np.random.Generator) -> Array:
    dtype = value.tensor_type.dtype
    shape = [substitute(d, sizes) for d in value.shape]
    known = tuple(d for d in shape if isinstance(d, int) and d >= 0)
    if len(known) != len(shape):
        raise InputError("a size is not known", where=f"input {printable(value.name)}", got=shape)
    if dtype.kind == "b":
        return rng.integers(0, 2, known).astype(dtype)
    if dtype.kind in "iu":
        return rng.integers(0, TOKENS, known).astype(dtype)
    return np.asarray(rng.standard_normal(known)).astype(dtype)
