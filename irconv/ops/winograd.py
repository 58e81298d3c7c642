"""The 3x3 convolution by Winograd's transforms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from irconv.errors import GraphError
from irconv.kinds import FLOATS, expect_dtype, narrowed, widened
from irconv.op import optional, present, tensor
from irconv.ops.conv import add_bias
from irconv.ops.fused import FusedConv, epilogue
from irconv.types import Array, Type
from irconv.winograd import KERNEL, POINTS, convolve


@dataclass(frozen=True)
class WinogradConv(FusedConv):
    """FusedConv computed by Winograd's F(tile, 3): tile x tile outputs from (tile + 2)^2 products.

    Only for kernels of 3x3, strides and dilations of 1, one group. It means what FusedConv means;
    its rounding errors are those of the transforms (see the numbers policy).
    """

    tile: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tile not in POINTS:
            expected = " or ".join(map(str, sorted(POINTS)))
            raise GraphError("WinogradConv: wrong tile", expected=expected, got=self.tile)
        window = (self.kernel_shape, self.strides, self.dilations, self.group)
        if window != ((KERNEL,) * 2, (1, 1), (1, 1), 1):
            raise GraphError(
                "WinogradConv: not a convolution that has this form",
                expected="kernel_shape [3, 3], strides and dilations of 1, group 1",
                got=f"kernel_shape {list(self.kernel_shape)}, strides {list(self.strides)}, "
                f"dilations {list(self.dilations)}, group {self.group}",
            )

    def attributes(self) -> dict[str, Any]:
        """As for every op, and always the tile."""
        return {**super().attributes(), "tile": self.tile}

    @property
    def direct(self) -> FusedConv:
        """The same without the transforms."""
        window = (self.kernel_shape, self.strides, self.pads, self.dilations, self.group)
        return FusedConv(*window, self.activation, self.pool)

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        expect_dtype(self, tensor(types, 0), FLOATS)
        return super().infer(types, constants)

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        x, w = present(arrays, 0), present(arrays, 1)
        y = narrowed(convolve(self.padded(widened(x)), widened(w), self.tile), x.dtype)
        y = epilogue(add_bias(y, optional(arrays, 2)), optional(arrays, 3), self.activation)
        return (y,) if self.pool is None else self.pool.run([y])
