"""Reductions: axes made one number, or its place, or its running sum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from irconv.dim import Dim
from irconv.errors import GraphError
from irconv.kinds import BOOLEAN, FLOATS, INDICES, NUMBERS, expect_dtype, narrowed, widened
from irconv.op import Op, optional, present, tensor
from irconv.shapes import axes_of, axis_of, ints_of, known_length, unknown
from irconv.types import DTYPES, AnyDType, Array, TensorType, Type

_SUMMABLE = FLOATS | {DTYPES[name] for name in ("i32", "i64", "u32", "u64")}
_ORDERED = _SUMMABLE | BOOLEAN | {DTYPES["i8"], DTYPES["u8"]}

Axes = tuple[int, ...]


@dataclass(frozen=True)
class _Reduction(Op):
    """The axes that the operand `axes` names become one number each; without axes, all of them.

    With noop_with_empty_axes = 1, no axes means that each element is reduced by itself.
    """

    operands: ClassVar[str] = "x, axes?"
    takes: ClassVar[frozenset[AnyDType]] = _SUMMABLE
    keepdims: int = 1
    noop_with_empty_axes: int = 0

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        x, axes = tensor(types, 0), optional(constants, 1)
        expect_dtype(self, x, self.takes)
        if optional(types, 1) is not None and axes is None:
            expect_dtype(self, tensor(types, 1), INDICES, "axes")
            return (x.with_shape(self._unknown(x, known_length(self, tensor(types, 1), "axes"))),)
        return (x.with_shape(self._shape(x.shape, self._axes(axes, x.rank))),)

    def _unknown(self, x: TensorType, count: int) -> list[Dim]:
        if count == 0:
            return self._shape(x.shape, self._axes(None, x.rank))
        if self.keepdims:
            return [unknown() for _ in x.shape]
        return [unknown() for _ in range(x.rank - count)]

    def _shape(self, shape: Sequence[Dim], axes: Axes) -> list[Dim]:
        if self.keepdims:
            return [1 if i in axes else d for i, d in enumerate(shape)]
        return [d for i, d in enumerate(shape) if i not in axes]

    def _axes(self, axes: Array | None, rank: int) -> Axes:
        if axes is None or not axes.size:
            return () if self.noop_with_empty_axes else tuple(range(rank))
        return axes_of(self, ints_of(axes), rank)

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        x = present(arrays, 0)
        axes = self._axes(optional(arrays, 1), x.ndim)
        result = narrowed(self.apply(widened(x), axes), x.dtype)
        return (result.reshape([int(str(d)) for d in self._shape(x.shape, axes)]),)

    def apply(self, x: Array, axes: Axes) -> Any:
        """x reduced over `axes`, whose sizes are 1 then."""
        raise NotImplementedError(f"{self.name}.apply")


@dataclass(frozen=True)
class ReduceSum(_Reduction):
    """The sum over axes."""

    def apply(self, x: Array, axes: Axes) -> Any:
        return x.sum(axes, dtype=x.dtype, keepdims=True)


@dataclass(frozen=True)
class ReduceMean(_Reduction):
    """The mean over axes."""

    def apply(self, x: Array, axes: Axes) -> Any:
        total = x.sum(axes, dtype=x.dtype, keepdims=True)
        return total / int(np.prod([x.shape[axis] for axis in axes]))


@dataclass(frozen=True)
class ReduceMax(_Reduction):
    """The largest element over axes; NaN where one is NaN, the lowest number of none."""

    takes: ClassVar[frozenset[AnyDType]] = _ORDERED

    def apply(self, x: Array, axes: Axes) -> Any:
        return x.max(axes, keepdims=True, initial=_extreme(x.dtype, -1))


@dataclass(frozen=True)
class ReduceMin(_Reduction):
    """The smallest element over axes; NaN where one is NaN, the highest number of none."""

    takes: ClassVar[frozenset[AnyDType]] = _ORDERED

    def apply(self, x: Array, axes: Axes) -> Any:
        return x.min(axes, keepdims=True, initial=_extreme(x.dtype, 1))


def _extreme(dtype: AnyDType, sign: int) -> Any:
    if dtype in BOOLEAN:
        return sign > 0
    if dtype in FLOATS:
        return sign * np.inf
    bounds = np.iinfo(dtype)
    return bounds.max if sign > 0 else bounds.min


@dataclass(frozen=True)
class ReduceProd(_Reduction):
    """The product over axes."""

    def apply(self, x: Array, axes: Axes) -> Any:
        return x.prod(axes, dtype=x.dtype, keepdims=True)


@dataclass(frozen=True)
class ReduceL1(_Reduction):
    """The sum of absolute values over axes."""

    def apply(self, x: Array, axes: Axes) -> Any:
        return np.abs(x).sum(axes, dtype=x.dtype, keepdims=True)


@dataclass(frozen=True)
class ReduceL2(_Reduction):
    """The root of the sum of squares over axes."""

    def apply(self, x: Array, axes: Axes) -> Any:
        return np.sqrt((x * x).sum(axes, dtype=x.dtype, keepdims=True))


@dataclass(frozen=True)
class ReduceSumSquare(_Reduction):
    """The sum of squares over axes."""

    def apply(self, x: Array, axes: Axes) -> Any:
        return (x * x).sum(axes, dtype=x.dtype, keepdims=True)


@dataclass(frozen=True)
class ReduceLogSum(_Reduction):
    """The logarithm of the sum over axes."""

    def apply(self, x: Array, axes: Axes) -> Any:
        return np.log(x.sum(axes, dtype=x.dtype, keepdims=True))


@dataclass(frozen=True)
class ReduceLogSumExp(_Reduction):
    """The logarithm of the sum of exponentials over axes, computed without overflow."""

    def apply(self, x: Array, axes: Axes) -> Any:
        wide = x if x.dtype in FLOATS else x.astype(np.float64)
        largest = wide.max(axes, keepdims=True, initial=-np.inf)
        shift = np.where(np.isfinite(largest), largest, wide.dtype.type(0))
        return np.log(np.exp(wide - shift).sum(axes, keepdims=True)) + shift


@dataclass(frozen=True)
class ArgMax(Op):
    """The place of the largest element along `axis`, as i64: the first, or the last, of equals."""

    axis: int = 0
    keepdims: int = 1
    select_last_index: int = 0

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        x = tensor(types, 0)
        expect_dtype(self, x, NUMBERS)
        axis = axis_of(self, self.axis, x.rank)
        if x.shape[axis] == 0:
            raise GraphError(f"{self.name}: there is no element along axis {axis}", got=x)
        kept = (1,) if self.keepdims else ()
        return (TensorType("i64", (*x.shape[:axis], *kept, *x.shape[axis + 1 :])),)

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        x = present(arrays, 0)
        if not self.select_last_index:
            return (self._place(x),)
        return (np.asarray(x.shape[self.axis] - 1 - self._place(np.flip(x, self.axis))),)

    def _place(self, x: Array) -> Array:
        return np.asarray(np.argmax(x, self.axis, keepdims=bool(self.keepdims)))


@dataclass(frozen=True)
class ArgMin(ArgMax):
    """The place of the smallest element along `axis`, as i64: the first, or the last, of equals."""

    def _place(self, x: Array) -> Array:
        return np.asarray(np.argmin(x, self.axis, keepdims=bool(self.keepdims)))


@dataclass(frozen=True)
class CumSum(Op):
    """The running sum along an axis, from the front or in reverse, with or without the element."""

    operands: ClassVar[str] = "x, axis"
    exclusive: int = 0
    reverse: int = 0

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        x = tensor(types, 0)
        expect_dtype(self, x, _SUMMABLE)
        expect_dtype(self, tensor(types, 1), INDICES, "the axis")
        if tensor(types, 1).size != 1:
            raise GraphError("CumSum: the axis is one number", got=types[1])
        axis = optional(constants, 1)
        if axis is not None:
            axis_of(self, int(axis.reshape(())), x.rank)
        return (x,)

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        x = present(arrays, 0)
        axis = axis_of(self, int(present(arrays, 1).reshape(())), x.ndim)
        ordered = np.flip(widened(x), axis) if self.reverse else widened(x)
        total = np.cumsum(ordered, axis, dtype=ordered.dtype)
        if self.exclusive:
            total = np.roll(total, 1, axis)
            total[(slice(None),) * axis + (slice(1),)] = 0
        return (narrowed(np.flip(total, axis) if self.reverse else total, x.dtype),)
