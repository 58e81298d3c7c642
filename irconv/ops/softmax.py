"""Softmax and its kin: each vector along one axis becomes weights that say where it is large."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from irconv.op import tensor
from irconv.pointwise import Unary
from irconv.shapes import axis_of
from irconv.types import Array, Type


@dataclass(frozen=True)
class Softmax(Unary):
    """exp(x) divided by its sum along `axis`."""

    axis: int = -1

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        axis_of(self, self.axis, tensor(types, 0).rank)
        return super().infer(types, constants)

    def apply(self, x: Array) -> Any:
        powers = np.exp(_shifted(x, self.axis))
        return powers / powers.sum(self.axis, keepdims=True)


@dataclass(frozen=True)
class LogSoftmax(Softmax):
    """The logarithm of Softmax, computed without leaving the range of numbers."""

    def apply(self, x: Array) -> Any:
        shifted = _shifted(x, self.axis)
        return shifted - np.log(np.exp(shifted).sum(self.axis, keepdims=True))


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


def _shifted(x: Array, axis: int) -> Array:
    """x less its maximum, so that no power overflows."""
    largest: Array = np.max(x, axis, keepdims=True, initial=-np.inf)
    return x - largest
