"""The same elements in another shape, and shapes as data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from irconv.dim import Dim, product
from irconv.errors import GraphError
from irconv.kinds import INDICES, expect_dtype
from irconv.op import Op, optional, present, tensor
from irconv.shapes import (
    Sizes,
    axes_of,
    differ,
    ints_of,
    known_length,
    shape_text,
    unknown,
)
from irconv.types import Array, TensorType, Type


@dataclass(frozen=True)
class Reshape(Op):
    """The same elements in row-major order in another shape.

    In `shape` a 0 copies x's size (unless allowzero = 1) and one -1 is what is left.
    """

    operands: ClassVar[str] = "x, shape"
    allowzero: int = 0

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        x, shape = tensor(types, 0), tensor(types, 1)
        expect_dtype(self, shape, INDICES, "the shape")
        rank = known_length(self, shape, "the shape")
        target = optional(constants, 1)
        if target is not None:
            return (x.with_shape(reshaped(x.shape, ints_of(target), bool(self.allowzero))),)
        return (x.with_shape((x.size,) if rank == 1 else (unknown() for _ in range(rank))),)

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        x = present(arrays, 0)
        target = reshaped(x.shape, ints_of(present(arrays, 1)), bool(self.allowzero))
        return (x.reshape(target),)


def reshaped(shape: Sizes, target: Sequence[int], allowzero: bool) -> Sizes:
    """The sizes that `target` means for an operand of `shape`; raises GraphError where they differ.

    A -1 whose size is no exact quotient is an unknown size.
    """
    if target.count(-1) > 1 or any(d < -1 for d in target):
        raise GraphError("Reshape: wrong shape", expected="sizes and at most one -1", got=[*target])
    copied = [i for i, d in enumerate(target) if d == 0 and not allowzero]
    if copied and copied[-1] >= len(shape):
        raise GraphError("Reshape: a 0 copies an axis that is not there", got=[*target])
    # sizes that are copied cancel: [0, -1] is right even where a size is 0
    left = product(d for i, d in enumerate(shape) if i not in copied)
    given = product(d for i, d in enumerate(target) if i not in copied and d != -1)
    if -1 not in target:
        _must_agree(left, given, shape, target)
        rest: Dim = 0
    else:
        rest = _quotient(left, given, shape, target)
    return tuple(shape[i] if i in copied else rest if d == -1 else d for i, d in enumerate(target))


def _must_agree(left: Dim, given: Dim, shape: Sizes, target: Sequence[int]) -> None:
    if differ(left, given):
        raise GraphError(
            "Reshape: the number of elements differs", expected=shape_text(shape), got=[*target]
        )


def _quotient(left: Dim, given: Dim, shape: Sizes, target: Sequence[int]) -> Dim:
    if given == 0:
        raise GraphError("Reshape: -1 beside a size of 0", got=[*target])
    rest = left // given
    if rest * given == left:
        return rest
    if isinstance(left, int):
        _must_agree(left, rest * given, shape, target)
    return unknown()


@dataclass(frozen=True)
class Flatten(Op):
    """A matrix: the axes before `axis` are its rows, the others its columns."""

    axis: int = 1

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        x = tensor(types, 0)
        return (x.with_shape(self._shape(x.shape)),)

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        x = present(arrays, 0)
        return (x.reshape(self._shape(x.shape)),)

    def _shape(self, shape: Sizes) -> Sizes:
        if not -len(shape) <= self.axis <= len(shape):
            raise GraphError(
                "Flatten: the axis is out of range",
                expected=f"-{len(shape)} to {len(shape)}",
                got=self.axis,
            )
        axis = self.axis + len(shape) * (self.axis < 0)
        return (product(shape[:axis]), product(shape[axis:]))


@dataclass(frozen=True)
class Transpose(Op):
    """The axes in another order: axis i of the result is axis perm[i]; without perm, reversed."""

    perm: tuple[int, ...] = ()

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        x = tensor(types, 0)
        perm = self.perm or tuple(range(x.rank))[::-1]
        if sorted(perm) != list(range(x.rank)):
            raise GraphError(
                "Transpose: perm is no permutation",
                expected=f"one of 0 to {x.rank - 1} each",
                got=[*perm],
            )
        return (x.with_shape(x.shape[axis] for axis in perm),)

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        return (np.transpose(present(arrays, 0), self.perm or None),)


@dataclass(frozen=True)
class Squeeze(Op):
    """Without the axes of size 1 that `axes` names, or without all of them."""

    operands: ClassVar[str] = "x, axes?"

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        x, named, axes = tensor(types, 0), optional(types, 1), optional(constants, 1)
        if named is not None and axes is None:
            count = known_length(self, tensor(types, 1), "axes")
            return (x.with_shape(unknown() for _ in range(x.rank - count)),)
        if named is None and not x.is_static:
            raise GraphError("Squeeze without axes needs known sizes", got=x, hint="give the axes")
        return (x.with_shape(d for _, d in self._kept(x.shape, axes)),)

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        x = present(arrays, 0)
        return (x.reshape([d for _, d in self._kept(x.shape, optional(arrays, 1))]),)

    def _kept(self, shape: Sizes, axes: Array | None) -> list[tuple[int, Dim]]:
        if axes is None:
            return [(i, d) for i, d in enumerate(shape) if d != 1]
        gone = axes_of(self, ints_of(axes), len(shape))
        if any(differ(shape[axis], 1) for axis in gone):
            raise GraphError(
                "Squeeze: an axis is not of size 1", got=f"axes {[*gone]} of {shape_text(shape)}"
            )
        return [(i, d) for i, d in enumerate(shape) if i not in gone]


@dataclass(frozen=True)
class Unsqueeze(Op):
    """With axes of size 1 more: `axes` are their places in the result."""

    operands: ClassVar[str] = "x, axes"

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        x, axes = tensor(types, 0), optional(constants, 1)
        if axes is None:
            count = known_length(self, tensor(types, 1), "axes")
            return (x.with_shape(unknown() for _ in range(x.rank + count)),)
        return (x.with_shape(self._shape(x.shape, axes)),)

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        x = present(arrays, 0)
        return (x.reshape(self._shape(x.shape, present(arrays, 1))),)

    def _shape(self, shape: Sizes, axes: Array) -> Sizes:
        rank = len(shape) + axes.size
        new = axes_of(self, ints_of(axes), rank)
        old = iter(shape)
        return tuple(1 if axis in new else next(old) for axis in range(rank))


@dataclass(frozen=True)
class Shape(Op):
    """The sizes of the axes from `start` up to `end`, as i64 numbers."""

    start: int = 0
    end: int | None = None

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        return (TensorType("i64", (len(tensor(types, 0).shape[self.start : self.end]),)),)

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        return (np.array(present(arrays, 0).shape[self.start : self.end], np.int64),)


@dataclass(frozen=True)
class Size(Op):
    """The number of elements, as one i64."""

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        tensor(types, 0)
        return (TensorType("i64", ()),)

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        return (np.array(present(arrays, 0).size, np.int64),)
