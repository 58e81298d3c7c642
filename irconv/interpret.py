"""Runs a graph by `Op.run`, in NumPy: the specification that every backend is compared with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from irconv.errors import GraphError, IrconvError, printable
from irconv.graph import Graph, Node, Value
from irconv.inputs import check_inputs
from irconv.types import Array


def interpret(
    graph: Graph,
    inputs: Mapping[str, Any],
    *,
    float64: bool = False,
    watch: Callable[[Value, Array], None] | None = None,
) -> dict[str, Array]:
    """The outputs of `graph` by name.

    `inputs` maps input names to arrays. With `float64`, all float32 data is computed in float64:
    the reference for errors. `watch` is called with every result (value, array) as it is made.
    Intermediate arrays are freed after their last use.
    """
    arrays = check_inputs(graph.inputs, inputs)
    widen = _widened if float64 else _same
    alive: dict[Value, Any] = {v: widen(a) for v, a in zip(graph.inputs, arrays, strict=True)}
    left = {v: len(v.uses) for v in graph.values}
    wanted = set(graph.outputs)
    for node in graph:
        for value, array in zip(node.results, _run(node, alive, widen), strict=True):
            alive[value] = array
            if watch is not None:
                watch(value, array)
        for operand in node.operands:
            if operand is not None:
                left[operand] -= 1
                if not left[operand] and operand not in wanted:
                    alive.pop(operand, None)
    return {v.name: np.array(alive[v] if v in alive else widen(content(v))) for v in graph.outputs}


def content(value: Value) -> Array:
    """The array of a parameter; raises GraphError where a listing was read without its .npz."""
    if value.array is None:
        raise GraphError(
            "a parameter has no content",
            where=f"%{printable(value.name)}",
            hint="the listing was read without its .npz",
        )
    return value.array


def _same(array: Array) -> Array:
    return array


def _widened(array: Array) -> Array:
    return array.astype(np.float64) if array.dtype == np.float32 else array


def _run(node: Node, alive: dict[Value, Any], widen: Callable[[Array], Array]) -> tuple[Any, ...]:
    arrays = [
        None if v is None else alive[v] if v in alive else widen(content(v)) for v in node.operands
    ]
    try:
        # overflow to infinity and NaN are results here, as they are in compiled code
        with np.errstate(all="ignore"):
            return node.op.run(arrays)
    except (IrconvError, MemoryError):
        raise
    except Exception as error:
        raise GraphError(
            f"{node.op.name} failed: {printable(error)}", where=f"%{printable(node.name)}"
        ) from error
