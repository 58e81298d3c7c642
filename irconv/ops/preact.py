"""A scale and a shift per channel with an activation: alone, and in the load of a convolution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from irconv.dim import Dim
from irconv.errors import GraphError
from irconv.kinds import FLOATS, expect_dtype, narrowed, widened
from irconv.op import Op, present, same_dtype, tensor
from irconv.ops.fused import FusedConv, check_activation
from irconv.ops.norm import along
from irconv.shapes import rank_at_least
from irconv.types import Array, TensorType, Type


@dataclass(frozen=True)
class ScaleShift(Op):
    """activation(x * scale + shift), one number per channel each: x [N, C, ...], scale and shift
    [C].
    """

    operands: ClassVar[str] = "x, scale, shift"
    activation: Op | None = None

    def __post_init__(self) -> None:
        check_activation(self, self.activation)

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        same_dtype(self, types)
        return (_scaled(self, types),)

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        return (_scale_shift(arrays, self.activation),)


@dataclass(frozen=True)
class PreactConv(Op):
    """The convolution `conv` of activation(x * scale + shift), as one node: scale and shift [C].

    w, b and r are the operands of `conv`, whose zero padding stands around the activated image.
    """

    operands: ClassVar[str] = "x, scale, shift, w, b?, r?"
    conv: FusedConv
    activation: Op | None = None

    def __post_init__(self) -> None:
        check_activation(self, self.activation)
        if type(self.conv) is not FusedConv:
            raise GraphError("PreactConv: wrong conv", expected="FusedConv", got=self.conv.name)

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        same_dtype(self, types)
        return self.conv.infer([_scaled(self, types), *types[3:]], [None] * (len(types) - 2))

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        return self.conv.run([_scale_shift(arrays, self.activation), *arrays[3:]])

    def macs(self, types: Sequence[Type | None], results: Sequence[Type]) -> Dim:
        return self.conv.macs([types[0], *types[3:]], results)


def _scaled(op: Op, types: Sequence[Type | None]) -> TensorType:
    """The type of activation(x * scale + shift): that of x."""
    x = tensor(types, 0)
    expect_dtype(op, x, FLOATS)
    rank_at_least(op, x, 2)
    for index, name in ((1, "scale"), (2, "shift")):
        found = tensor(types, index)
        if found.shape != (x.shape[1],):
            raise GraphError(f"{op.name}: wrong {name}", expected=f"[{x.shape[1]}]", got=found)
    return x


def _scale_shift(arrays: Sequence[Array | None], activation: Op | None) -> Array:
    x, scale, shift = (widened(present(arrays, i)) for i in range(3))
    y = x * along(scale, x.ndim, 1) + along(shift, x.ndim, 1)
    y = y if activation is None else activation.run([y])[0]
    return narrowed(y, present(arrays, 0).dtype)
