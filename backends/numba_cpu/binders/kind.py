"""What a binder is, and the questions that binders ask of a node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from irconv.backends.numba_cpu.launch import Launch
from irconv.dim import known
from irconv.graph import Node, Value
from irconv.types import Array, TensorType

# (node, number of threads) -> its launches, or None where no kernel fits
Binder: TypeAlias = "Callable[[Node, int], list[Launch] | None]"

FLOATS: tuple[np.dtype[Any], ...] = (np.dtype(np.float32), np.dtype(np.float64))


def float_type(node: Node) -> np.dtype[Any] | None:
    """The float32 or float64 that all dense operands and results of `node` have, else None."""
    values = [v for v in (*node.operands, *node.results) if v is not None]
    dtypes: set[np.dtype[Any]] = {v.type.dtype for v in values if isinstance(v.type, TensorType)}
    found = dtypes.pop()
    return found if not dtypes and found in FLOATS else None


def result_type(node: Node) -> np.dtype[Any] | None:
    """The float32 or float64 of the result, whatever types the operands have, else None."""
    dtype = node.results[0].tensor_type.dtype
    return dtype if dtype in FLOATS else None


def word_type(value: Value) -> np.dtype[Any] | None:
    """A float type as wide as the elements of `value`, for kernels that only move them."""
    size = value.tensor_type.dtype.itemsize
    return next((f for f in FLOATS if f.itemsize == size), None)


def shape_of(value: Value) -> tuple[int, ...]:
    """The sizes of a value, all known by now."""
    return tuple(known(d) for d in value.shape)


def operand(node: Node, index: int) -> Value:
    """Operand `index`, which the op requires."""
    value = node.operands[index]
    assert value is not None
    return value


def source(value: Value) -> Value | Array:
    """A value as the source of an address: a parameter by its array."""
    return np.ascontiguousarray(value.array) if value.array is not None else value


def strides_of(shape: Sequence[int]) -> list[int]:
    """Row-major strides, in elements."""
    strides = [1] * len(shape)
    for axis in range(len(shape) - 2, -1, -1):
        strides[axis] = strides[axis + 1] * shape[axis + 1]
    return strides


def merged(
    sizes: Sequence[int], *strides: Sequence[int], axes: int
) -> tuple[list[int], ...] | None:
    """Sizes and strides with neighbouring axes merged where all run on, led by ones to `axes`.

    None where more than `axes` are left.
    """
    kept: list[list[int]] = []
    for size, *steps in zip(sizes, *strides, strict=True):
        if size == 1:
            continue
        if kept and all(a == b * size for a, b in zip(kept[-1][1:], steps, strict=True)):
            kept[-1] = [kept[-1][0] * size, *steps]
        else:
            kept.append([size, *steps])
    if len(kept) > axes:
        return None
    filled = [[1] + [0] * len(strides)] * (axes - len(kept)) + kept
    return tuple(list(column) for column in zip(*filled, strict=True))
