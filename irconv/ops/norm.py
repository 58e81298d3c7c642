"""Normalisations: subtract a mean, divide by a deviation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from irconv.dim import Dim
from irconv.errors import GraphError
from irconv.kinds import FLOATS, expect_dtype, narrowed, widened
from irconv.op import Op, optional, present, same_dtype, tensor
from irconv.pointwise import Unary
from irconv.shapes import axes_of, axis_of, broadcast_into, rank_at_least, same_size
from irconv.types import DTYPES, Array, TensorType, Type


@dataclass(frozen=True)
class BatchNormalization(Op):
    """(x - mean) / sqrt(var + epsilon) * scale + bias, by channel: the form for inference.

    x is [N, C, *spatial]; the four others are [C]. `momentum` is kept for the file's sake.
    """

    operands: ClassVar[str] = "x, scale, bias, mean, var"
    epsilon: float = 1e-5
    momentum: float = 0.9

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        x = tensor(types, 0)
        expect_dtype(self, x, FLOATS)
        channels = x.shape[1] if x.rank > 1 else 1
        _per_channel(self, types, ("scale", "bias", "mean", "var"), channels)
        return (x,)

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        x = widened(present(arrays, 0))
        per_channel = (widened(present(arrays, i)) for i in range(1, 5))
        scale, bias, mean, var = (along(a, x.ndim, min(1, x.ndim - 1)) for a in per_channel)
        result = (x - mean) / np.sqrt(var + self.epsilon) * scale + bias
        return (narrowed(result, present(arrays, 0).dtype),)


@dataclass(frozen=True)
class InstanceNormalization(Op):
    """Each channel of each image is normalised by itself, then scaled and moved."""

    operands: ClassVar[str] = "x, scale, bias"
    epsilon: float = 1e-5

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        x = tensor(types, 0)
        expect_dtype(self, x, FLOATS)
        rank_at_least(self, x, 3)
        same_dtype(self, types)
        _per_channel(self, types, ("scale", "bias"), x.shape[1])
        return (x,)

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        x, scale, bias = (widened(present(arrays, i)) for i in range(3))
        unit, _, _ = normalised(x, tuple(range(2, x.ndim)), self.epsilon)
        result = unit * along(scale, x.ndim, 1) + along(bias, x.ndim, 1)
        return (narrowed(result, present(arrays, 0).dtype),)


@dataclass(frozen=True)
class GroupNormalization(Op):
    """Each group of channels of each image is normalised by itself; each channel is then scaled."""

    operands: ClassVar[str] = "x, scale, bias"
    num_groups: int
    epsilon: float = 1e-5
    stash_type: int = 1

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        x = tensor(types, 0)
        expect_dtype(self, x, FLOATS)
        rank_at_least(self, x, 2)
        same_dtype(self, types)
        channels = x.shape[1]
        if self.num_groups < 1 or (isinstance(channels, int) and channels % self.num_groups):
            raise GraphError(
                "GroupNormalization: the groups do not divide the channels",
                expected=f"a divisor of {channels}",
                got=self.num_groups,
            )
        _per_channel(self, types, ("scale", "bias"), channels)
        return (x,)

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        x, scale, bias = (widened(present(arrays, i)) for i in range(3))
        size = x.shape[1] // self.num_groups * int(np.prod(x.shape[2:]))
        grouped = x.reshape(x.shape[0], self.num_groups, size)
        unit = normalised(grouped, (2,), self.epsilon)[0].reshape(x.shape)
        result = unit * along(scale, x.ndim, 1) + along(bias, x.ndim, 1)
        return (narrowed(result, present(arrays, 0).dtype),)


@dataclass(frozen=True)
class LayerNormalization(Op):
    """The axes from `axis` on are normalised together, then scaled and moved.

    With n_outputs 2 or 3 also the mean and the inverse deviation, those axes being 1.
    """

    operands: ClassVar[str] = "x, scale, bias?"
    axis: int = -1
    epsilon: float = 1e-5
    stash_type: int = 1
    n_outputs: int = 1

    def __post_init__(self) -> None:
        if self.stash_type != 1 or not 1 <= self.n_outputs <= 3:
            raise GraphError(
                f"{self.name}: stash_type is 1 (f32), n_outputs is 1 to 3",
                got=f"{self.stash_type}, {self.n_outputs}",
            )

    @property
    def n_results(self) -> int:
        return self.n_outputs

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        x = tensor(types, 0)
        expect_dtype(self, x, FLOATS)
        same_dtype(self, types)
        axis = axis_of(self, self.axis, x.rank)
        for index in range(1, len(types)):
            if types[index] is not None:
                broadcast_into(tensor(types, index).shape, x.shape, f"{self.name}: operand {index}")
        kept: tuple[Dim, ...] = (*x.shape[:axis], *(1 for _ in x.shape[axis:]))
        return (x, *[TensorType(_stash(x.dtype), kept)] * (self.n_outputs - 1))

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        x, bias = present(arrays, 0), optional(arrays, 2)
        axes = tuple(range(self.axis % x.ndim, x.ndim))
        unit, mean, inverse = normalised(widened(x), axes, self.epsilon)
        result = unit * widened(present(arrays, 1))
        result = result if bias is None else result + widened(bias)
        return (narrowed(result, x.dtype), mean, inverse)[: self.n_outputs]


@dataclass(frozen=True)
class RMSNormalization(Op):
    """x divided by the root of its mean square over the axes from `axis` on, then scaled."""

    operands: ClassVar[str] = "x, scale"
    axis: int = -1
    epsilon: float = 1e-5
    stash_type: int = 1

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        x, scale = tensor(types, 0), tensor(types, 1)
        expect_dtype(self, x, FLOATS)
        expect_dtype(self, scale, FLOATS)
        axis_of(self, self.axis, x.rank)
        broadcast_into(scale.shape, x.shape, "RMSNormalization: the scale")
        return (
            x.with_shape(x.shape) if scale.dtype == x.dtype else TensorType(scale.dtype, x.shape),
        )

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        x, scale = widened(present(arrays, 0)), present(arrays, 1)
        axes = tuple(range(self.axis % x.ndim, x.ndim))
        mean_square = np.mean(x * x, axes, keepdims=True)
        return (narrowed(x / np.sqrt(mean_square + self.epsilon) * widened(scale), scale.dtype),)


@dataclass(frozen=True)
class LRN(Unary):
    """x / (bias + alpha / size * the sum of squares over `size` neighbouring channels)^beta."""

    size: int = 1
    # ONNX's defaults, as the float32 numbers that its schema holds
    alpha: float = 9.999999747378752e-05
    beta: float = 0.75
    bias: float = 1.0

    def __post_init__(self) -> None:
        if self.size < 1:
            raise GraphError(
                "LRN: size is the number of channels", expected="1 or more", got=self.size
            )

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        rank_at_least(self, tensor(types, 0), 2)
        return super().infer(types, constants)

    def apply(self, x: Array) -> Any:
        before = (self.size - 1) // 2
        beyond = [(0, 0), (before, self.size - 1 - before), *((0, 0) for _ in x.shape[2:])]
        squares = np.pad(x * x, beyond)
        total = sum(squares[:, i : i + x.shape[1]] for i in range(self.size))
        return x / (self.bias + self.alpha / self.size * total) ** self.beta


@dataclass(frozen=True)
class LpNormalization(Unary):
    """x divided by its p-norm (p = 1 or 2) along `axis`; 0 where the norm is 0."""

    axis: int = -1
    p: int = 2

    def __post_init__(self) -> None:
        if self.p not in (1, 2):
            raise GraphError("LpNormalization: wrong p", expected="1 or 2", got=self.p)

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        axis_of(self, self.axis, tensor(types, 0).rank)
        return super().infer(types, constants)

    def apply(self, x: Array) -> Any:
        norm = np.linalg.norm(x, self.p, self.axis, keepdims=True)
        return np.where(norm == 0, x.dtype.type(0), x / norm)


@dataclass(frozen=True)
class MeanVarianceNormalization(Unary):
    """x less its mean, divided by its deviation (plus 1e-9), both over `axes`."""

    axes: tuple[int, ...] = (0, 2, 3)

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        axes_of(self, self.axes, tensor(types, 0).rank)
        return super().infer(types, constants)

    def apply(self, x: Array) -> Any:
        centred = x - x.mean(self.axes, keepdims=True)
        variance = np.mean(centred * centred, self.axes, keepdims=True)
        return centred / (np.sqrt(variance) + 1e-9)


def normalised(x: Array, axes: tuple[int, ...], epsilon: float) -> tuple[Array, Array, Array]:
    """(x - mean) / sqrt(variance + epsilon) over `axes`; the mean; the inverse deviation."""
    mean = x.mean(axes, keepdims=True)
    centred = x - mean
    inverse = 1 / np.sqrt(np.mean(centred * centred, axes, keepdims=True) + epsilon)
    return centred * inverse, mean, inverse


def along(vector: Array, rank: int, axis: int) -> Array:
    """`vector` with axes of 1 around it: it broadcasts along `axis` of an array of `rank`."""
    return vector.reshape(*(1 for _ in range(axis)), -1, *(1 for _ in range(rank - axis - 1)))


def _per_channel(op: Op, types: Sequence[Type | None], names: Sequence[str], channels: Dim) -> None:
    for index, name in enumerate(names, 1):
        t = tensor(types, index)
        expect_dtype(op, t, FLOATS, name)
        if t.rank != 1:
            raise GraphError(
                f"{op.name}: {name} has one number a channel", expected=f"[{channels}]", got=t
            )
        same_size(channels, t.shape[0], f"{op.name}: {name} has one number a channel")


def _stash(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The element type in which statistics are kept."""
    return dtype if dtype == DTYPES["f64"] else DTYPES["f32"]
