"""Numbers as scaled small integers, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import ml_dtypes
import numpy as np

from irconv.dim import Dim
from irconv.errors import GraphError
from irconv.kinds import FLOATS, expect_dtype, narrowed, widened
from irconv.op import Op, optional, present, tensor
from irconv.ops.cast import converted
from irconv.shapes import axis_of, differ, same_size
from irconv.types import DTYPES, AnyDType, Array, TensorType, Type, as_dtype, dtype_name

_INTEGERS = frozenset(DTYPES[n] for n in ("i8", "u8", "i16", "u16", "i4", "u4", "i2", "u2"))
_SMALL_FLOATS = frozenset(
    DTYPES[n] for n in ("f8e4m3fn", "f8e4m3fnuz", "f8e5m2", "f8e5m2fnuz", "f4e2m1")
)
_QUANTIZED = _INTEGERS | _SMALL_FLOATS
_SCALES = FLOATS | {DTYPES["f8e8m0"]}


@dataclass(frozen=True)
class _Quantizing(Op):
    """One scale for all of x, for each index of `axis`, or for each block along it."""

    operands: ClassVar[str] = "x, scale, zero_point?"
    axis: int = 1
    block_size: int = 0
    output_dtype: str | None = None

    def __post_init__(self) -> None:
        if self.block_size < 0:
            raise GraphError(f"{self.name}: block_size is negative", got=self.block_size)
        if self.output_dtype is not None:
            object.__setattr__(self, "output_dtype", dtype_name(as_dtype(self.output_dtype)))

    def check_scale(self, types: Sequence[Type | None]) -> None:
        """Raises GraphError unless the scale, and the zero point like it, fit x."""
        x, scale, zero = tensor(types, 0), tensor(types, 1), optional(types, 2)
        expect_dtype(self, scale, _SCALES, "the scale")
        if zero is not None and not _alike(tensor(types, 2), scale):
            raise GraphError(f"{self.name}: scale and zero point differ", got=f"{scale} and {zero}")
        if self.block_size:
            self._check_blocks(x, scale)
        elif scale.rank == 1 and scale.shape != (1,):
            size = x.shape[axis_of(self, self.axis, x.rank)]
            same_size(size, scale.shape[0], f"{self.name}: one scale for each index of the axis")
        elif scale.rank > 1:
            raise GraphError(
                f"{self.name}: wrong scale", expected="a number or a vector", got=scale
            )

    def _check_blocks(self, x: TensorType, scale: TensorType) -> None:
        axis = axis_of(self, self.axis, x.rank)
        expected: list[Dim] = list(x.shape)
        expected[axis] = (expected[axis] + (self.block_size - 1)) // self.block_size
        wrong = scale.rank != x.rank or any(map(differ, scale.shape, expected))
        if wrong:
            raise GraphError(f"{self.name}: one scale a block", expected=expected, got=scale)

    def spread(self, array: Array, shape: Sequence[int]) -> Array:
        """A scale or zero point, such that it broadcasts to x's shape."""
        if self.block_size:
            axis = self.axis % len(shape)
            return np.repeat(array, self.block_size, axis).take(np.arange(shape[axis]), axis)
        if array.size == 1:
            return array.reshape(())
        axis = self.axis % len(shape)
        return array.reshape([-1 if i == axis else 1 for i in range(len(shape))])


@dataclass(frozen=True)
class QuantizeLinear(_Quantizing):
    """x / scale rounded (a half to even), plus zero_point, cut to the type's range."""

    saturate: int = 1
    precision: str | None = None

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        x, zero = tensor(types, 0), optional(types, 2)
        expect_dtype(self, x, FLOATS | {DTYPES["i32"]})
        self.check_scale(types)
        if zero is not None:
            expect_dtype(self, tensor(types, 2), _QUANTIZED, "the zero point")
            if self.output_dtype and DTYPES[self.output_dtype] != zero.dtype:
                raise GraphError(
                    "QuantizeLinear: output_dtype differs", expected=zero, got=self.output_dtype
                )
        return (TensorType(self._dtype(None if zero is None else zero.dtype), x.shape),)

    def _dtype(self, zero: AnyDType | None) -> AnyDType:
        return zero or DTYPES[self.output_dtype or "u8"]

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        x, scale, zero = present(arrays, 0), present(arrays, 1), optional(arrays, 2)
        dtype = self._dtype(None if zero is None else zero.dtype)
        steps = self._steps(x, self.spread(scale, x.shape))
        if dtype in _SMALL_FLOATS:
            return (converted(np.asarray(steps), dtype, bool(self.saturate)),)
        offset = 0 if zero is None else self.spread(zero.astype(np.int64), x.shape)
        low, high = integer_range(dtype)
        return (
            np.asarray(np.clip(np.rint(steps) + offset, low, high)).astype(np.int32).astype(dtype),
        )

    def _steps(self, x: Array, scale: Array) -> Array:
        if self.precision is not None:
            chosen = DTYPES[self.precision]
            return np.asarray(widened(x.astype(chosen) / scale.astype(chosen)))
        wide = scale.astype(np.float32) if scale.dtype not in FLOATS else widened(scale)
        return np.asarray(widened(x) / wide)


@dataclass(frozen=True)
class DequantizeLinear(_Quantizing):
    """(x - zero_point) * scale, in the scale's element type."""

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        x, scale = tensor(types, 0), tensor(types, 1)
        expect_dtype(self, x, _QUANTIZED | {DTYPES["i32"]})
        if optional(types, 2) is not None and tensor(types, 2).dtype != x.dtype:
            raise GraphError("DequantizeLinear: x and zero point differ", got=f"{x}, {types[2]}")
        self.check_scale(types)
        found = TensorType(self.output_dtype or scale.dtype, x.shape)
        expect_dtype(self, found, FLOATS, "output_dtype")
        return (found,)

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        x, scale, zero = present(arrays, 0), present(arrays, 1), optional(arrays, 2)
        exact = np.float32 if x.dtype in _SMALL_FLOATS else np.int64
        steps = x.astype(exact)
        if zero is not None:
            steps = steps - self.spread(zero.astype(exact), x.shape)
        wide = scale.astype(np.float32) if scale.dtype not in FLOATS else widened(scale)
        result = steps.astype(wide.dtype) * self.spread(wide, x.shape)
        return (narrowed(result, DTYPES[self.output_dtype] if self.output_dtype else scale.dtype),)


def _alike(a: TensorType, b: TensorType) -> bool:
    """Whether two shapes are equal; one number may have no axis or one."""
    return a.shape == b.shape or (a.size == 1 and b.size == 1)


def integer_range(dtype: AnyDType) -> tuple[int, int]:
    """The least and the largest number of an integer type."""
    bounds = ml_dtypes.iinfo(dtype)  # type: ignore[no-untyped-call]
    return int(bounds.min), int(bounds.max)
