"""Pools: each window of an image becomes one number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from math import prod
from typing import Any, ClassVar

import numpy as np

from irconv.errors import GraphError
from irconv.geometry import Ints
from irconv.kinds import FLOATS, expect_dtype, narrowed, widened
from irconv.op import present, tensor
from irconv.pointwise import Unary
from irconv.shapes import rank_at_least, unknown
from irconv.types import DTYPES, AnyDType, Array, TensorType, Type
from irconv.window import Windowed

_MAX_TAKES = FLOATS | {DTYPES["i8"], DTYPES["u8"]}


@dataclass(frozen=True)
class _Pool(Windowed):
    """A pool over the spatial axes of [N, C, *spatial]."""

    ceil_mode: int = 0
    takes: ClassVar[frozenset[AnyDType]] = FLOATS

    def __post_init__(self) -> None:
        super().__post_init__()
        spans = [d * (k - 1) + 1 for k, d in zip(self.kernel_shape, self.dilations, strict=True)]
        if any(pad >= span for pad, span in zip(self.pads, spans * 2, strict=True)):
            raise GraphError(
                f"{self.name}: the pads are not smaller than the kernel, a window would be empty",
                expected=f"below {spans}",
                got=list(self.pads),
            )

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        x = tensor(types, 0)
        expect_dtype(self, x, self.takes)
        rank_at_least(self, x, 3)
        sizes = self.out_sizes(x.shape[2:], bool(self.ceil_mode))
        shown = (
            unknown() if self.ceil_mode and not isinstance(size, int) and may_be_padding else size
            for size, may_be_padding in zip(sizes, self._last_in_padding(), strict=True)
        )
        return (x.with_shape((*x.shape[:2], *shown)),)

    def _last_in_padding(self) -> list[bool]:
        """Of each axis, whether in ceil mode a last window may start in the end padding.

        There is no such window, so the number of windows has no closed form for a symbolic size.
        """
        axes = zip(
            self.pads[self.rank :], self.strides, self.dilations, self.kernel_shape, strict=True
        )
        return [pad + stride > d * (k - 1) + 1 for pad, stride, d, k in axes]

    def windows(self, x: Array, fill: Any) -> list[Array]:
        """For each tap, row-major, the [N, C, *out] that it reads; `fill` outside the image."""
        return self.spread(self.padded(x, fill), x.shape[2:], fill)

    def spread(self, padded: Array, image: Sequence[int], fill: Any) -> list[Array]:
        """As `windows`, of what is padded already; `fill` where a last window hangs over it."""
        out = tuple(int(str(s)) for s in self.out_sizes(image, bool(self.ceil_mode)))
        axes = zip(out, self.strides, self.dilations, self.kernel_shape, strict=True)
        ends = [(o - 1) * s + d * (k - 1) + 1 for o, s, d, k in axes]
        missing = [max(0, e - n) for e, n in zip(ends, padded.shape[2:], strict=True)]
        beyond = [(0, 0), (0, 0), *((0, m) for m in missing)]
        return self.taps(np.pad(padded, beyond, constant_values=fill), out)


@dataclass(frozen=True)
class MaxPool(_Pool):
    """The largest number of each window; with n_outputs = 2 also its place in the image.

    Padding never wins, NaN always does. The place is the index into the flat x, row-major; with
    storage_order = 1 the spatial axes count column-major.
    """

    storage_order: int = 0
    n_outputs: int = 1
    takes: ClassVar[frozenset[AnyDType]] = _MAX_TAKES

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_outputs not in (1, 2) or self.storage_order not in (0, 1):
            raise GraphError("MaxPool: n_outputs is 1 or 2, storage_order is 0 or 1")

    @property
    def n_results(self) -> int:
        return self.n_outputs

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        (y,) = super().infer(types, constants)
        return (y, TensorType("i64", tensor([y], 0).shape))[: self.n_outputs]

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        x = present(arrays, 0)
        lowest = -np.inf if x.dtype in FLOATS else np.iinfo(x.dtype).min
        read = self.windows(x, lowest)
        largest = reduce(np.maximum, read)
        if self.n_outputs == 1:
            return (largest,)
        places = np.stack(self.windows(_places(x.shape, self.storage_order), -1))
        stack = np.stack(read)
        # the first of the largest that is inside the image: padding has no place
        best = ((places >= 0) & ((stack == largest) | np.isnan(stack))).argmax(0)[None]
        return (largest, np.take_along_axis(places, best, 0)[0])


def _places(shape: Ints, storage_order: int) -> Array:
    """The flat index of each element of an array of `shape` [N, C, *spatial]."""
    pixels = np.arange(prod(shape[2:])).reshape(shape[2:], order="F" if storage_order else "C")
    images = np.arange(prod(shape[:2])).reshape(*shape[:2], *(1 for _ in shape[2:]))
    result: Array = images * prod(shape[2:]) + pixels
    return result


@dataclass(frozen=True)
class AveragePool(_Pool):
    """The mean of each window: of its numbers inside the image, or of the padding too."""

    count_include_pad: int = 0

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        x = present(arrays, 0)
        total = reduce(np.add, self.windows(widened(x), 0))
        return (narrowed(total / self._counts(x.shape[2:]), x.dtype),)

    def _counts(self, spatial: Ints) -> Array:
        """`[1, 1, *out]`: by how many numbers each window's sum is divided.

        What hangs over the end padding (ceil_mode) is never counted.
        """
        padded = self.padded(np.ones((1, 1, *spatial)), float(self.count_include_pad))
        return reduce(np.add, self.spread(padded, spatial, 0))


@dataclass(frozen=True)
class LpPool(_Pool):
    """The p-norm of each window: (sum |x|^p)^(1/p)."""

    p: int = 2

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        x = present(arrays, 0)
        total = reduce(np.add, self.windows(np.abs(widened(x)) ** self.p, 0))
        return (narrowed(total ** (1 / self.p), x.dtype),)


@dataclass(frozen=True)
class _GlobalPool(Unary):
    """A pool whose window is the whole image: [N, C, *spatial] -> [N, C, 1, ...]."""

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        x = tensor(types, 0)
        expect_dtype(self, x, FLOATS)
        rank_at_least(self, x, 3)
        return (x.with_shape((*x.shape[:2], *(1 for _ in x.shape[2:]))),)


@dataclass(frozen=True)
class GlobalAveragePool(_GlobalPool):
    """The mean of each channel's image."""

    def apply(self, x: Array) -> Any:
        return x.mean(_spatial(x), keepdims=True)


@dataclass(frozen=True)
class GlobalMaxPool(_GlobalPool):
    """The largest number of each channel's image; NaN where one is NaN."""

    def apply(self, x: Array) -> Any:
        return x.max(_spatial(x), keepdims=True, initial=-np.inf)


@dataclass(frozen=True)
class GlobalLpPool(_GlobalPool):
    """The p-norm of each channel's image."""

    p: int = 2

    def apply(self, x: Array) -> Any:
        return (np.abs(x) ** self.p).sum(_spatial(x), keepdims=True) ** (1 / self.p)


def _spatial(x: Array) -> Ints:
    return tuple(range(2, x.ndim))
