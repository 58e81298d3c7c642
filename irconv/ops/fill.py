"""Tensors made of little: constants, ranges, repetitions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from irconv.errors import GraphError
from irconv.kinds import INDICES, expect_dtype, narrowed, widened
from irconv.op import Op, optional, present, same_dtype, tensor
from irconv.shapes import (
    broadcast,
    ints_of,
    known_length,
    same_size,
    unknown,
    vector_length,
    within_budget,
)
from irconv.types import DTYPES, Array, TensorType, Type, as_dtype, dtype_name

_COUNTABLE = frozenset(DTYPES[name] for name in ("f16", "bf16", "f32", "f64", "i16", "i32", "i64"))


@dataclass(frozen=True)
class ConstantOfShape(Op):
    """One value everywhere, in the shape that the operand tells."""

    operands: ClassVar[str] = "shape"
    value: float | int | bool = 0.0
    dtype: str = "f32"

    def __post_init__(self) -> None:
        object.__setattr__(self, "dtype", dtype_name(as_dtype(self.dtype)))

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        shape = tensor(types, 0)
        expect_dtype(self, shape, INDICES, "the shape")
        rank, sizes = known_length(self, shape, "the shape"), optional(constants, 0)
        if sizes is None:
            return (TensorType(self.dtype, (unknown() for _ in range(rank))),)
        return (within_budget(self, TensorType(self.dtype, _not_negative(self, sizes))),)

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        sizes = _not_negative(self, present(arrays, 0))
        within_budget(self, TensorType(self.dtype, sizes))
        return (np.full(sizes, self.value, DTYPES[self.dtype]),)


@dataclass(frozen=True)
class Range(Op):
    """The numbers start, start + delta, ... that are before limit."""

    operands: ClassVar[str] = "start, limit, delta"
    # half precision is always computed in float32
    stash_type: int = 1

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        dtype = same_dtype(self, types)
        expect_dtype(self, tensor(types, 0), _COUNTABLE)
        for index, name in enumerate(("start", "limit", "delta")):
            if tensor(types, index).size != 1:
                raise GraphError(f"Range: {name} is one number", got=types[index])
        start, limit, delta = constants
        if start is None or limit is None or delta is None:
            return (TensorType(dtype, (unknown(),)),)
        return (within_budget(self, TensorType(dtype, (_count(start, limit, delta),))),)

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        start, limit, delta = (present(arrays, i).reshape(()) for i in range(3))
        count = _count(start, limit, delta)
        within_budget(self, TensorType(start.dtype, (count,)))
        steps = np.arange(count).astype(widened(start).dtype) * widened(delta)
        return (narrowed(widened(start) + steps, start.dtype),)


def _count(start: Array, limit: Array, delta: Array) -> int:
    first, last, step = start.item(), limit.item(), delta.item()
    if step == 0 or not all(map(math.isfinite, (first, last, step))):
        raise GraphError(
            "Range: wrong numbers", expected="finite, delta not 0", got=f"{first}, {last}, {step}"
        )
    if isinstance(first, int):
        return max(0, -(int(first - last) // int(step)))
    return max(0, math.ceil((float(last) - float(first)) / float(step)))


@dataclass(frozen=True)
class Expand(Op):
    """x broadcast with a shape, as in NumPy; axes of 1 in the shape keep x's sizes."""

    operands: ClassVar[str] = "x, shape"

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        x, shape = tensor(types, 0), tensor(types, 1)
        expect_dtype(self, shape, INDICES, "the shape")
        rank, sizes = known_length(self, shape, "the shape"), optional(constants, 1)
        if sizes is None:
            return (x.with_shape(unknown() for _ in range(max(rank, x.rank))),)
        target = broadcast([x.shape, _not_negative(self, sizes)])
        return (within_budget(self, x.with_shape(target)),)

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        x, sizes = present(arrays, 0), _not_negative(self, present(arrays, 1))
        target = np.broadcast_shapes(x.shape, sizes)
        within_budget(self, TensorType(x.dtype, target))
        return (np.broadcast_to(x, target).copy(),)


@dataclass(frozen=True)
class Tile(Op):
    """x repeated along each axis as often as `repeats` says."""

    operands: ClassVar[str] = "x, repeats"

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        x, repeats = tensor(types, 0), tensor(types, 1)
        expect_dtype(self, repeats, INDICES, "repeats")
        length = vector_length(self, repeats, "repeats")
        same_size(x.rank, length, "Tile: repeats has one number for each axis")
        counts = optional(constants, 1)
        if counts is None:
            return (x.with_shape(unknown() for _ in x.shape),)
        pairs = zip(x.shape, _not_negative(self, counts), strict=True)
        return (within_budget(self, x.with_shape(d * count for d, count in pairs)),)

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        x, counts = present(arrays, 0), _not_negative(self, present(arrays, 1))
        target = [d * count for d, count in zip(x.shape, counts, strict=True)]
        within_budget(self, TensorType(x.dtype, target))
        return (np.tile(x, counts),)


def _not_negative(op: Op, sizes: Array) -> tuple[int, ...]:
    found = ints_of(sizes)
    if any(d < 0 for d in found):
        raise GraphError(f"{op.name}: a size is negative", got=[*found])
    return found
