"""Softmax and its kin: each vector along one axis becomes weights that say where it is large."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from irconv.kinds import narrowed, widened
from irconv.op import present, tensor
from irconv.pointwise import Unary
from irconv.shapes import axis_of
from irconv.types import Array, Type


@dataclass(frozen=True)
class Softmax(Unary):
    """exp(x) divided by its sum along `axis`.

    ONNX defines it by other ops, so half precision is rounded after each of their steps.
    """

    axis: int = -1

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        axis_of(self, self.axis, tensor(types, 0).rank)
        return super().infer(types, constants)

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        x = present(arrays, 0)
        return (narrowed(self.apply(x), x.dtype),)

    def apply(self, x: Array) -> Any:
        powers = _rounded(np.exp, _rounded(_shifted, x, self.axis))
        total = _rounded(np.sum, powers, self.axis, keepdims=True)
        return _rounded(np.divide, powers, total)


@dataclass(frozen=True)
class LogSoftmax(Softmax):
    """The logarithm of Softmax, computed without leaving the range of numbers."""

    def apply(self, x: Array) -> Any:
        shifted = _rounded(_shifted, x, self.axis)
        total = _rounded(np.sum, _rounded(np.exp, shifted), self.axis, keepdims=True)
        return _rounded(np.subtract, shifted, _rounded(np.log, total))


@dataclass(frozen=True)
class Hardmax(Softmax):
    """1 at the first largest element along `axis`, else 0."""

    def apply(self, x: Array) -> Any:
        if not x.size:
            return x
        places = np.expand_dims(np.argmax(x, self.axis), self.axis)
        result = np.zeros_like(x)
        np.put_along_axis(result, places, x.dtype.type(1), self.axis)
        return result


def _rounded(step: Callable[..., Array], x: Array, *others: Any, **options: Any) -> Array:
    """`step`, computed in float32 for half precision, and its result in the type of `x`."""
    wide = (widened(a) if isinstance(a, np.ndarray) else a for a in others)
    return narrowed(step(widened(x), *wide, **options), x.dtype)


def _shifted(x: Array, axis: int) -> Array:
    """x less its maximum, so that no power overflows."""
    largest: Array = np.max(x, axis, keepdims=True, initial=-np.inf)
    return x - largest
