"""Convolutions and their transposes, N-dimensional, with groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np

from irconv.dim import Dim, known, product
from irconv.errors import GraphError
from irconv.kinds import narrowed, widened
from irconv.op import Op, optional, present, same_dtype, static_shape, tensor
from irconv.types import Array, TensorType, Type
from irconv.window import Windowed


@dataclass(frozen=True)
class Conv(Windowed):
    """Convolution (cross-correlation) of x [N, C, *spatial] with w [O, C/group, *kernel], plus b
    [O].
    """

    operands: ClassVar[str] = "x, w, b?"
    group: int = 1

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        same_dtype(self, types)
        x, w = tensor(types, 0), tensor(types, 1)
        out_channels, _ = check_weights(self, x, w)
        check_bias(self, optional(types, 2), out_channels)
        return (x.with_shape((x.shape[0], out_channels, *self.out_sizes(x.shape[2:]))),)

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        y = convolve(self, present(arrays, 0), present(arrays, 1), self.group)
        return (add_bias(y, optional(arrays, 2)),)

    def macs(self, types: Sequence[Type | None], results: Sequence[Type]) -> Dim:
        return conv_macs(tensor(types, 0), tensor(types, 1), results)


@dataclass(frozen=True)
class ConvTranspose(Windowed):
    """Transposed convolution of x [N, C, *spatial] with w [C, O/group, *kernel], plus b [O].

    Its matrix is the transpose of the matrix of the convolution with the same window.
    """

    operands: ClassVar[str] = "x, w, b?"
    group: int = 1
    output_padding: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "output_padding", self.output_padding or (0,) * self.rank)
        limits = [max(s, d) for s, d in zip(self.strides, self.dilations, strict=True)]
        if len(self.output_padding) != self.rank or any(
            not 0 <= p < limit for p, limit in zip(self.output_padding, limits, strict=True)
        ):
            raise GraphError(
                "ConvTranspose: output_padding is out of range",
                expected=f"{self.rank} sizes, each below its stride or dilation",
                got=list(self.output_padding),
            )

    def attributes(self) -> dict[str, object]:
        shown = super().attributes()
        if not any(self.output_padding):
            shown.pop("output_padding", None)
        return shown

    def full_sizes(self, spatial: Sequence[Dim]) -> tuple[Dim, ...]:
        """Output sizes before the pads are cut off."""
        return tuple(
            (size - 1) * s + (k - 1) * d + 1 + extra
            for size, k, s, d, extra in zip(
                spatial,
                self.kernel_shape,
                self.strides,
                self.dilations,
                self.output_padding,
                strict=True,
            )
        )

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        same_dtype(self, types)
        x, w = tensor(types, 0), tensor(types, 1)
        _, per_group = check_transposed_weights(self, x, w)
        check_bias(self, optional(types, 2), per_group * self.group)
        full = self.full_sizes(x.shape[2:])
        out = [size - a - b for size, (a, b) in zip(full, self.pad_pairs, strict=True)]
        if any(isinstance(size, int) and size < 1 for size in out):
            raise GraphError("ConvTranspose: the pads leave nothing", got=f"output sizes {out}")
        return (x.with_shape((x.shape[0], per_group * self.group, *out)),)

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        x, w = present(arrays, 0), present(arrays, 1)
        batch, channels, *spatial = x.shape
        per_group = w.shape[1]
        full = tuple(known(s) for s in self.full_sizes(spatial))
        columns = widened(x).reshape(batch, self.group, channels // self.group, prod(spatial))
        weights = widened(w).reshape(
            self.group, channels // self.group, per_group, prod(w.shape[2:])
        )
        y = np.zeros((batch, self.group * per_group, *full), columns.dtype)
        for tap, view in enumerate(self.taps(y, tuple(spatial))):
            view += (weights[..., tap].swapaxes(1, 2) @ columns).reshape(view.shape)
        inside = (slice(a, size - b) for size, (a, b) in zip(full, self.pad_pairs, strict=True))
        y = narrowed(y[(slice(None), slice(None), *inside)], x.dtype)
        return (add_bias(y, optional(arrays, 2)),)

    def macs(self, types: Sequence[Type | None], results: Sequence[Type]) -> Dim:
        x, w = tensor(types, 0), tensor(types, 1)
        return x.size * product(w.shape[1:])


def convolve(window: Windowed, x: Array, w: Array, group: int) -> Array:
    """Conv without bias: the sum over taps of (weights of the tap) @ (pixels that it reads).

    Half precision is summed in float32, as one product of all taps would be.
    """
    batch, channels, *spatial = x.shape
    out = tuple(known(s) for s in window.out_sizes(spatial))
    weights = widened(w).reshape(group, w.shape[0] // group, channels // group, prod(w.shape[2:]))
    y = np.zeros((batch, group, w.shape[0] // group, prod(out)), widened(x[:0]).dtype)
    for tap, view in enumerate(window.taps(window.padded(widened(x)), out)):
        y += weights[..., tap] @ view.reshape(batch, group, channels // group, prod(out))
    return narrowed(y.reshape(batch, w.shape[0], *out), x.dtype)


def add_bias(y: Array, b: Array | None) -> Array:
    """y [N, C, *spatial] plus b [C]."""
    return y if b is None else y + b.reshape(-1, *(1,) * (y.ndim - 2))


def check_weights(op: Windowed, x: TensorType, w: TensorType) -> tuple[int, int]:
    """(out channels, in channels) of a convolution; raises GraphError if they do not fit."""
    group: int = getattr(op, "group", 1)
    _check_ranks(op, x, w)
    out_channels, per_group, *kernel = static_shape(w, f"{op.name}'s weights")
    _check_kernel(op, kernel)
    _check_group(op, group, out_channels)
    if x.shape[1] != per_group * group:
        raise GraphError(
            f"{op.name}: the channels of x and w do not match",
            expected=f"x with {per_group * group} channels (w has {per_group}, group = {group})",
            got=f"{x.shape[1]}",
        )
    return out_channels, per_group * group


def check_transposed_weights(op: Windowed, x: TensorType, w: TensorType) -> tuple[int, int]:
    """(in channels, out channels per group) of a transposed convolution."""
    group: int = getattr(op, "group", 1)
    _check_ranks(op, x, w)
    channels, per_group, *kernel = static_shape(w, f"{op.name}'s weights")
    _check_kernel(op, kernel)
    _check_group(op, group, channels)
    if x.shape[1] != channels:
        raise GraphError(
            f"{op.name}: the channels of x and w do not match",
            expected=channels,
            got=f"{x.shape[1]}",
        )
    return channels, per_group


def _check_ranks(op: Windowed, x: TensorType, w: TensorType) -> None:
    if x.rank != op.rank + 2 or w.rank != op.rank + 2:
        raise GraphError(
            f"{op.name}: wrong rank", expected=f"x and w of rank {op.rank + 2}", got=f"{x} and {w}"
        )


def _check_kernel(op: Windowed, kernel: Sequence[int]) -> None:
    if tuple(kernel) != op.kernel_shape:
        raise GraphError(
            f"{op.name}: kernel_shape is not that of the weights",
            expected=list(kernel),
            got=list(op.kernel_shape),
        )


def _check_group(op: Op, group: int, channels: int) -> None:
    if group < 1 or channels % group:
        raise GraphError(
            f"{op.name}: group does not divide the channels",
            expected=f"a divisor of {channels}",
            got=group,
        )


def check_bias(op: Op, bias: Type | None, channels: int) -> None:
    """Raises GraphError unless the bias is absent or has one number per output channel."""
    if bias is not None and (not isinstance(bias, TensorType) or bias.shape != (channels,)):
        raise GraphError(f"{op.name}: wrong bias", expected=f"[{channels}]", got=bias)


def conv_macs(x: TensorType, w: TensorType, results: Sequence[Type]) -> Dim:
    """Multiply-adds of a convolution: outputs times the weights that each one sees."""
    return tensor(results, 0).size * product(w.shape[1:])
