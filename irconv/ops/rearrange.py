"""Parts put together, taken out, and moved between axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import ClassVar

import numpy as np

from irconv.dim import Dim
from irconv.errors import GraphError
from irconv.kinds import INDICES, expect_dtype
from irconv.op import Op, optional, present, same_dtype, tensor
from irconv.shapes import (
    axis_of,
    ints_of,
    one_of,
    rank_at_least,
    same_size,
    unknown,
    vector_length,
    within_budget,
)
from irconv.types import Array, TensorType, Type


@dataclass(frozen=True)
class Concat(Op):
    """The operands one after the other along `axis`; the other sizes are equal."""

    operands: ClassVar[str] = "xs+"
    axis: int

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        first = tensor(types, 0)
        axis = axis_of(self, self.axis, first.rank)
        same_dtype(self, types)
        shape = list(first.shape)
        for index in range(1, len(types)):
            part = tensor(types, index)
            same_size(first.rank, part.rank, "Concat: the ranks differ")
            for i, size in enumerate(part.shape):
                shape[i] = shape[i] + size if i == axis else _equal(shape[i], size, i)
        return (within_budget(self, first.with_shape(shape)),)

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        return (np.concatenate([present(arrays, i) for i in range(len(arrays))], self.axis),)


def _equal(a: Dim, b: Dim, axis: int) -> Dim:
    return same_size(a, b, f"Concat: the sizes of axis {axis} differ")


@dataclass(frozen=True)
class Split(Op):
    """x cut along `axis` into num_outputs parts: of the sizes in `split`, or all equal.

    Where equal parts do not fill the axis, the last part is smaller. num_outputs is always given.
    """

    operands: ClassVar[str] = "x, split?"
    num_outputs: int
    axis: int = 0

    def __post_init__(self) -> None:
        if self.num_outputs < 1:
            raise GraphError("Split: wrong num_outputs", expected="1 or more", got=self.num_outputs)

    @property
    def n_results(self) -> int:
        return self.num_outputs

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        x = tensor(types, 0)
        axis = axis_of(self, self.axis, x.rank)
        if optional(types, 1) is not None:
            length = vector_length(self, tensor(types, 1), "split")
            same_size(self.num_outputs, length, "Split: split has one size for each part")
        if optional(types, 1) is not None and optional(constants, 1) is None:
            sizes: Sequence[Dim] = [unknown()] * self.num_outputs
        else:
            sizes = self._sizes(x.shape[axis], optional(constants, 1))
        return tuple(x.with_shape((*x.shape[:axis], d, *x.shape[axis + 1 :])) for d in sizes)

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        x = present(arrays, 0)
        sizes = self._sizes(x.shape[self.axis], optional(arrays, 1))
        places = [int(str(p)) for p in accumulate(sizes)][:-1]
        return tuple(np.split(x, places, self.axis))

    def _sizes(self, size: Dim, split: Array | None) -> Sequence[Dim]:
        if split is None:
            part = (size + (self.num_outputs - 1)) // self.num_outputs
            sizes: Sequence[Dim] = [part] * (self.num_outputs - 1)
            sizes = [*sizes, size - sum(sizes)]
        else:
            sizes = ints_of(split)
            same_size(size, sum(sizes), "Split: the parts do not add up to the axis")
        if any(isinstance(d, int) and d < 0 for d in sizes):
            raise GraphError(f"Split: an axis of {size} has no such parts", got=[*map(str, sizes)])
        return sizes


@dataclass(frozen=True)
class Gather(Op):
    """The slices of x along `axis` that the indices name; negative ones count from the end."""

    operands: ClassVar[str] = "x, indices"
    axis: int = 0

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        x, indices = tensor(types, 0), tensor(types, 1)
        expect_dtype(self, indices, INDICES, "the indices")
        axis = axis_of(self, self.axis, x.rank)
        places, size = optional(constants, 1), x.shape[axis]
        if places is not None and isinstance(size, int):
            _within(places, size)
        shape = (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])
        return (within_budget(self, x.with_shape(shape)),)

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        x, indices = present(arrays, 0), present(arrays, 1)
        _within(indices, x.shape[self.axis])
        return (np.asarray(np.take(x, indices, self.axis)),)


def _within(indices: Array, size: int) -> None:
    if indices.size and not (-size <= indices.min() and indices.max() < size):
        raise GraphError(
            "Gather: an index is out of range",
            expected=f"-{size} to {size - 1}",
            got=f"{indices.min()} to {indices.max()}",
        )


@dataclass(frozen=True)
class DepthToSpace(Op):
    """Channels moved into space: [N, C * b * b, H, W] -> [N, C, H * b, W * b].

    The blocks are the first part of the channel axis (mode = "DCR") or the last ("CRD").
    """

    blocksize: int
    mode: str = "DCR"

    def __post_init__(self) -> None:
        _check_block(self, self.blocksize)
        one_of("DepthToSpace: mode", self.mode, ("DCR", "CRD"))

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        x, b = tensor(types, 0), self.blocksize
        n, c, h, w = _image(self, x)
        return (x.with_shape((n, _divided(self, c, b * b), h * b, w * b)),)

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        x, b = present(arrays, 0), self.blocksize
        n, c, h, w = x.shape
        if self.mode == "DCR":
            split = x.reshape(n, b, b, c // (b * b), h, w).transpose(0, 3, 4, 1, 5, 2)
        else:
            split = x.reshape(n, c // (b * b), b, b, h, w).transpose(0, 1, 4, 2, 5, 3)
        return (split.reshape(n, c // (b * b), h * b, w * b),)


@dataclass(frozen=True)
class SpaceToDepth(Op):
    """Blocks of pixels moved into channels: [N, C, H * b, W * b] -> [N, b * b * C, H, W].

    The blocks become the first part of the channel axis (mode = "DCR") or the last ("CRD").
    """

    blocksize: int
    mode: str = "DCR"

    def __post_init__(self) -> None:
        _check_block(self, self.blocksize)
        one_of("SpaceToDepth: mode", self.mode, ("DCR", "CRD"))

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        x, b = tensor(types, 0), self.blocksize
        n, c, h, w = _image(self, x)
        return (x.with_shape((n, c * (b * b), _divided(self, h, b), _divided(self, w, b))),)

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        x, b = present(arrays, 0), self.blocksize
        n, c, h, w = x.shape
        order = (0, 3, 5, 1, 2, 4) if self.mode == "DCR" else (0, 1, 3, 5, 2, 4)
        split = x.reshape(n, c, h // b, b, w // b, b).transpose(order)
        return (split.reshape(n, c * b * b, h // b, w // b),)


@dataclass(frozen=True)
class ChannelShuffle(Op):
    """The channels of [N, C, ...] dealt out among groups: of [group, C / group] the transpose.

    Channel i * group + g of the result is channel g * (C / group) + i of the operand.
    """

    group: int

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        x = tensor(types, 0)
        rank_at_least(self, x, 2)
        channels = x.shape[1]
        if not isinstance(channels, int):
            raise GraphError("ChannelShuffle: the number of channels is not known", got=x)
        if self.group < 1 or channels % self.group:
            raise GraphError(
                "ChannelShuffle: group does not divide the channels",
                expected=f"a divisor of {channels}",
                got=self.group,
            )
        return (x,)

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        x = present(arrays, 0)
        images, channels, *spatial = x.shape
        split = x.reshape(images, self.group, channels // self.group, *spatial)
        return (split.swapaxes(1, 2).reshape(x.shape),)

    def order(self, channels: int) -> tuple[int, ...]:
        """For each channel of the result the channel of the operand that it is."""
        return tuple(int(c) for c in np.arange(channels).reshape(self.group, -1).T.ravel())


def _check_block(op: Op, blocksize: int) -> None:
    if blocksize < 1:
        raise GraphError(f"{op.name}: wrong blocksize", expected="1 or more", got=blocksize)


def _image(op: Op, x: TensorType) -> tuple[Dim, ...]:
    if x.rank != 4:
        raise GraphError(f"{op.name} takes an image", expected="[N, C, H, W]", got=x)
    return x.shape


def _divided(op: Op, size: Dim, by: int) -> Dim:
    if isinstance(size, int) and size % by:
        raise GraphError(
            f"{op.name}: a size is no multiple of the block", expected=f"of {by}", got=size
        )
    return size // by
