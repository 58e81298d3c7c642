"""Cutting and padding along axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from irconv.dim import Dim
from irconv.errors import GraphError
from irconv.kinds import INDICES, expect_dtype
from irconv.op import Op, optional, present, tensor
from irconv.shapes import (
    Sizes,
    axes_of,
    ints_of,
    known_length,
    lower_bound,
    one_of,
    positive,
    same_size,
    unknown,
    within_budget,
)
from irconv.types import Array, Type

# what files write for "to the end": no axis is as long
_END = (1 << 31) - 1


@dataclass(frozen=True)
class Slice(Op):
    """x[start:end:step] along some axes, as in NumPy; steps may be negative.

    Without `axes` the first axes are meant, without `steps` each step is 1.
    """

    operands: ClassVar[str] = "x, starts, ends, axes?, steps?"

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        x = tensor(types, 0)
        count = known_length(self, tensor(types, 1), "starts")
        for index, name in ((2, "ends"), (3, "axes"), (4, "steps")):
            if optional(types, index) is not None:
                expect_dtype(self, tensor(types, index), INDICES, name)
                length = known_length(self, tensor(types, index), name)
                same_size(count, length, f"Slice: {name} is not as long as starts")
        if _all_known(types, constants, (3,)) and not _all_known(types, constants, (1, 2, 4)):
            cut = self._axes(count, optional(constants, 3), x.rank)
            return (x.with_shape(unknown() if i in cut else d for i, d in enumerate(x.shape)),)
        if not _all_known(types, constants, (3,)):
            return (x.with_shape(unknown() for _ in x.shape),)
        shape = list(x.shape)
        for axis, start, end, step in self._cuts(constants, x.rank):
            shape[axis] = _length(shape[axis], start, end, step)
        return (x.with_shape(shape),)

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        x = present(arrays, 0)
        where: list[Any] = [slice(None)] * x.ndim
        for axis, start, end, step in self._cuts(arrays, x.ndim):
            first, last = _bounds(x.shape[axis], start, end, step)
            where[axis] = slice(first, None if last < 0 else last, step) if first >= 0 else slice(0)
        return (x[tuple(where)],)

    def _axes(self, count: int, axes: Array | None, rank: int) -> tuple[int, ...]:
        return axes_of(self, range(count) if axes is None else ints_of(axes), rank)

    def _cuts(self, arrays: Sequence[Array | None], rank: int) -> list[tuple[int, int, int, int]]:
        """(axis, start, end, step) of each axis that is cut."""
        starts, ends = ints_of(present(arrays, 1)), ints_of(present(arrays, 2))
        steps = optional(arrays, 4)
        by = (1,) * len(starts) if steps is None else ints_of(steps)
        if 0 in by:
            raise GraphError("Slice: a step is 0", got=[*by])
        axes = self._axes(len(starts), optional(arrays, 3), rank)
        return list(zip(axes, starts, ends, by, strict=True))


def _all_known(
    types: Sequence[Type | None], constants: Sequence[Array | None], indices: Sequence[int]
) -> bool:
    return all(optional(types, i) is None or optional(constants, i) is not None for i in indices)


def _bounds(size: int, start: int, end: int, step: int) -> tuple[int, int]:
    """Start and end from the front, cut to the axis; backwards an end of -1 is before 0."""
    start, end = start + size * (start < 0), end + size * (end < 0)
    if step > 0:
        return min(max(start, 0), size), min(max(end, 0), size)
    return min(max(start, 0), size - 1), min(max(end, -1), size - 1)


def _length(size: Dim, start: int, end: int, step: int) -> Dim:
    """How many elements a cut takes; unknown where that depends on how large a symbol is."""
    if isinstance(size, int):
        first, last = _bounds(size, start, end, step)
        return max(0, -((first - last) // step))
    if step < 0:
        whole = (start == -1 or start >= _END) and end <= -_END
        return (size + (-step - 1)) // -step if whole else unknown()
    first_dim, last_dim = _place(size, start), _place(size, end)
    if first_dim is None or last_dim is None:
        return unknown()
    room = last_dim - first_dim
    least = lower_bound(room)
    return unknown() if least is None or least < 0 else (room + (step - 1)) // step


def _place(size: Dim, place: int) -> Dim | None:
    """A place counted from the front, where the axis is surely long enough."""
    least = lower_bound(size) or 0
    if place >= _END:
        return size
    if place < 0:
        return size + place if least >= -place else 0 if place <= -_END else None
    return place if least >= place else None


@dataclass(frozen=True)
class Pad(Op):
    """x with its axes made longer, or shorter where a pad is negative.

    `pads` lists the begins of all axes (or of `axes`), then the ends. New elements are `value`
    (0 if absent), or by mode "reflect", "edge" or "wrap" copies of x's.
    """

    operands: ClassVar[str] = "x, pads, value?, axes?"
    mode: str = "constant"

    def __post_init__(self) -> None:
        one_of("Pad: mode", self.mode, ("constant", "reflect", "edge", "wrap"))

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        x = tensor(types, 0)
        expect_dtype(self, tensor(types, 1), INDICES, "pads")
        count = known_length(self, tensor(types, 1), "pads")
        axes = optional(types, 3)
        named = x.rank if axes is None else known_length(self, tensor(types, 3), "axes")
        same_size(2 * named, count, "Pad: pads has two numbers for each axis")
        value = optional(types, 2)
        if value is not None and (value.dtype != x.dtype or tensor(types, 2).size != 1):
            raise GraphError("Pad: value is one number of x's element type", got=value)
        if not _all_known(types, constants, (1, 3)):
            return (x.with_shape(unknown() for _ in x.shape),)
        pairs = self._pairs(constants, x.rank)
        self._check(x.shape, pairs)
        padded = (d + (b + e) for d, (b, e) in zip(x.shape, pairs, strict=True))
        return (within_budget(self, x.with_shape(map(positive, padded))),)

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        x, value = present(arrays, 0), optional(arrays, 2)
        pairs = self._pairs(arrays, x.ndim)
        self._check(x.shape, pairs)
        cut = tuple(
            slice(max(0, -b), size - max(0, -e))
            for size, (b, e) in zip(x.shape, pairs, strict=True)
        )
        wide = [(max(0, b), max(0, e)) for b, e in pairs]
        if self.mode != "constant":
            return (np.pad(x[cut], wide, self.mode),)  # type: ignore[call-overload]
        fill = 0 if value is None else value.reshape(())
        return (np.pad(x[cut], wide, constant_values=fill),)

    def _pairs(self, arrays: Sequence[Array | None], rank: int) -> list[tuple[int, int]]:
        """(begin, end) of each axis."""
        pads, named = ints_of(present(arrays, 1)), optional(arrays, 3)
        axes = axes_of(self, range(rank) if named is None else ints_of(named), rank)
        half = len(pads) // 2
        found = dict(zip(axes, zip(pads[:half], pads[half:], strict=True), strict=True))
        return [found.get(axis, (0, 0)) for axis in range(rank)]

    def _check(self, shape: Sizes, pairs: Sequence[tuple[int, int]]) -> None:
        for size, (begin, end) in zip(shape, pairs, strict=True):
            if not isinstance(size, int):
                continue
            if size + min(0, begin) + min(0, end) < 0:
                raise GraphError("Pad: an axis is cut below 0", got=f"{size} with {begin}, {end}")
            left = size + min(0, begin) + min(0, end)
            if (
                self.mode != "constant"
                and max(begin, end) > 0
                and left < 1 + (self.mode == "reflect")
            ):
                raise GraphError(
                    f"Pad: an axis of {left} is too short for mode {self.mode}",
                    got=f"{begin}, {end}",
                )
