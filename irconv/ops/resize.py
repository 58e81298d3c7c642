"""Resampling: images made larger or smaller, axis by axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np

from irconv.dim import Dim
from irconv.errors import GraphError
from irconv.kinds import FLOATS, NUMBERS, expect_dtype, narrowed, widened
from irconv.op import Op, optional, present, tensor
from irconv.shapes import (
    axes_of,
    ints_of,
    known_length,
    one_of,
    same_size,
    unknown,
    within_budget,
)
from irconv.types import Array, TensorType, Type

_COORDINATES = (
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_crop_and_resize",
)
_ROUNDINGS: dict[str, Callable[[Array], Array]] = {
    "round_prefer_floor": lambda x: np.ceil(x - np.float32(0.5)),
    "round_prefer_ceil": lambda x: np.floor(x + np.float32(0.5)),
    "floor": np.floor,
    "ceil": np.ceil,
}


@dataclass(frozen=True)
class Resize(Op):
    """x resampled to `sizes`, or by `scales`: nearest, linear or cubic, each axis by itself.

    Coordinates are computed in float32, as onnxruntime does: that decides which pixel is nearest.
    """

    operands: ClassVar[str] = "x, roi?, scales?, sizes?"
    antialias: int = 0
    axes: tuple[int, ...] = ()
    coordinate_transformation_mode: str = "half_pixel"
    cubic_coeff_a: float = -0.75
    exclude_outside: int = 0
    extrapolation_value: float = 0.0
    keep_aspect_ratio_policy: str = "stretch"
    mode: str = "nearest"
    nearest_mode: str = "round_prefer_floor"

    def __post_init__(self) -> None:
        for name, choices in (
            ("coordinate_transformation_mode", _COORDINATES),
            ("keep_aspect_ratio_policy", ("stretch", "not_larger", "not_smaller")),
            ("mode", ("nearest", "linear", "cubic")),
            ("nearest_mode", tuple(_ROUNDINGS)),
        ):
            one_of(f"Resize: {name}", getattr(self, name), choices)

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        x = tensor(types, 0)
        expect_dtype(self, x, NUMBERS if self.mode == "nearest" else FLOATS)
        axes = self._axes(x.rank)
        given = [i for i in (2, 3) if not _absent(types, i)]
        if len(given) != 1:
            raise GraphError("Resize needs scales or sizes, not both", got=len(given))
        length = known_length(self, tensor(types, given[0]), "its scales or sizes")
        same_size(len(axes), length, "Resize: one number for each axis")
        if self.coordinate_transformation_mode == "tf_crop_and_resize":
            if _absent(types, 1):
                raise GraphError("Resize: tf_crop_and_resize needs the operand roi")
            same_size(2 * len(axes), known_length(self, tensor(types, 1), "roi"), "Resize: roi")
        if optional(constants, given[0]) is None:
            return (x.with_shape(unknown() if i in axes else d for i, d in enumerate(x.shape)),)
        return (within_budget(self, x.with_shape(self._shape(x.shape, axes, constants))),)

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        x = present(arrays, 0)
        axes = self._axes(x.ndim)
        target = [int(str(d)) for d in self._shape(x.shape, axes, arrays)]
        within_budget(self, TensorType(x.dtype, target))
        roi = (
            np.array([0.0] * len(axes) + [1.0] * len(axes), np.float32)
            if _absent(arrays, 1)
            else arrays[1]
        )
        result = widened(x)
        outside = np.zeros((1,) * x.ndim, np.bool_)
        for i, (axis, scale) in enumerate(
            zip(axes, self._scales(x.shape, axes, arrays), strict=True)
        ):
            crop = present([roi], 0)[[i, i + len(axes)]]
            place = self._places(x.shape[axis], target[axis], scale, crop)
            result = self._resampled(result, axis, place, float(scale))
            if self.coordinate_transformation_mode == "tf_crop_and_resize":
                beyond = (place < 0) | (place > x.shape[axis] - 1)
                outside = outside | beyond.reshape([-1 if k == axis else 1 for k in range(x.ndim)])
        if outside.any():
            result = np.where(outside, np.asarray(self.extrapolation_value, result.dtype), result)
        return (narrowed(result, x.dtype),)

    def _axes(self, rank: int) -> tuple[int, ...]:
        return axes_of(self, self.axes or range(rank), rank)

    def _shape(
        self, shape: Sequence[Dim], axes: Sequence[int], arrays: Sequence[Array | None]
    ) -> list[Dim]:
        found = list(shape)
        if _absent(arrays, 2):
            sizes = ints_of(present(arrays, 3))
            for axis, size in zip(axes, self._kept_aspect(shape, axes, sizes), strict=True):
                found[axis] = size
        else:
            for axis, scale in zip(axes, present(arrays, 2).reshape(-1), strict=True):
                found[axis] = _scaled(shape[axis], float(scale))
        return found

    def _kept_aspect(
        self, shape: Sequence[Dim], axes: Sequence[int], sizes: Sequence[int]
    ) -> Sequence[Dim]:
        if any(size < 1 for size in sizes):
            raise GraphError("Resize: a size is not positive", got=[*sizes])
        if self.keep_aspect_ratio_policy == "stretch":
            return sizes
        old = [shape[axis] for axis in axes]
        if not all(isinstance(d, int) and d > 0 for d in old):
            return [unknown() for _ in sizes]
        choose = min if self.keep_aspect_ratio_policy == "not_larger" else max
        ratio = choose(s / int(str(d)) for s, d in zip(sizes, old, strict=True))
        return [int(np.floor(ratio * int(str(d)) + 0.5)) for d in old]

    def _scales(
        self, shape: Sequence[int], axes: Sequence[int], arrays: Sequence[Array | None]
    ) -> list[np.float32]:
        if not _absent(arrays, 2):
            return [np.float32(s) for s in present(arrays, 2).reshape(-1)]
        sizes = ints_of(present(arrays, 3))
        ratios = [s / max(1, shape[axis]) for s, axis in zip(sizes, axes, strict=True)]
        if self.keep_aspect_ratio_policy != "stretch":
            choose = min if self.keep_aspect_ratio_policy == "not_larger" else max
            ratios = [choose(ratios)] * len(ratios)
        return [np.float32(r) for r in ratios]

    def _places(self, size: int, count: int, scale: np.float32, crop: Array) -> Array:
        """`[count]` float32: where in an axis of `size` each new element is read."""
        i = np.arange(count, dtype=np.float32)
        half = np.float32(0.5)
        match self.coordinate_transformation_mode:
            case "asymmetric":
                return i / scale
            case "align_corners":
                return i * np.float32(size - 1) / np.float32(max(1, count - 1))
            case "pytorch_half_pixel":
                return (i + half) / scale - half if count > 1 else np.zeros_like(i)
            case "half_pixel_symmetric":
                adjusted = np.float32(count) / (scale * np.float32(size))
                offset = np.float32(size) / 2 * (1 - adjusted)
                return np.asarray(offset + (i + half) / scale - half, np.float32)
            case "tf_crop_and_resize":
                return _cropped(i, size, count, crop.astype(np.float32))
        return (i + half) / scale - half

    def _resampled(self, x: Array, axis: int, places: Array, scale: float) -> Array:
        size = x.shape[axis]
        if self.mode == "nearest":
            nearest = _ROUNDINGS[self.nearest_mode](places).astype(np.int64)
            return np.asarray(np.take(x, np.clip(nearest, 0, size - 1), axis))
        taps, weights = self._weights(places, scale if self.antialias else 1.0)
        if self.exclude_outside:
            weights = np.where((taps >= 0) & (taps < size), weights, 0)
            weights = weights / weights.sum(1, keepdims=True)
        read = np.take(x, np.clip(taps, 0, size - 1), axis)
        along = [1] * axis + [*weights.shape] + [1] * (x.ndim - axis - 1)
        result: Array = (read * weights.astype(x.dtype).reshape(along)).sum(axis + 1)
        return result

    def _weights(self, places: Array, scale: float) -> tuple[Array, Array]:
        """`[count, taps]`: the elements that each new one reads, and by how much each counts."""
        shrink = min(scale, 1.0)
        reach, kernel = (
            (1, _linear) if self.mode == "linear" else (2, partial(_cubic, self.cubic_coeff_a))
        )
        start = int(np.floor(-reach / shrink)) + 1
        taps = np.floor(places)[:, None].astype(np.int64) + np.arange(start, 2 - start)
        weights = kernel((taps - places.astype(np.float64)[:, None]) * shrink)
        return taps, weights / weights.sum(1, keepdims=True) if shrink < 1 else weights


def _absent(arrays: Sequence[Any | None], index: int) -> bool:
    """Whether an operand is not there; files also write an empty one."""
    found = optional(arrays, index)
    return found is None or (len(found.shape) == 1 and found.shape[0] == 0)


def _scaled(size: Dim, scale: float) -> Dim:
    if not (np.isfinite(scale) and scale > 0):
        raise GraphError("Resize: wrong scale", expected="a positive number", got=scale)
    if isinstance(size, int):
        return int(np.floor(size * scale))
    if scale == int(scale):
        return size * int(scale)
    return size // int(1 / scale) if (1 / scale).is_integer() else unknown()


def _cropped(i: Array, size: int, count: int, crop: Array) -> Array:
    start, end = crop * np.float32(size - 1)
    if count == 1:
        return np.asarray([(start + end) / 2], np.float32)
    return np.asarray(start + i * (end - start) / np.float32(count - 1), np.float32)


def _linear(distance: Array) -> Array:
    return np.asarray(np.clip(1 - np.abs(distance), 0, 1))


def _cubic(a: float, distance: Array) -> Array:
    """Keys' cubic convolution kernel (IEEE ASSP 29, 1981) with its free number `a`."""
    d: Array = np.abs(distance)
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0))
