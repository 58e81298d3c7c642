"""Two convolutions as one node: nothing of the size between them need be held."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from irconv.dim import Dim
from irconv.errors import GraphError
from irconv.op import Op, optional, present, tensor
from irconv.ops.fused import FusedConv
from irconv.types import Array, TensorType, Type


@dataclass(frozen=True)
class ConvPair(Op):
    """second(first(x, w, b), v, c, r): a convolution, and a convolution of its result."""

    operands: ClassVar[str] = "x, w, v, b?, c?, r?"
    first: FusedConv
    second: FusedConv

    def __post_init__(self) -> None:
        for key in ("first", "second"):
            op: Op = getattr(self, key)
            if type(op) is not FusedConv:
                raise GraphError(f"ConvPair: wrong {key}", expected="FusedConv", got=op.name)
        if self.first.pool is not None:
            raise GraphError("ConvPair: the first convolution has a pool", got=self.first.pool.name)

    def between(self, types: Sequence[Type | None]) -> TensorType:
        """The type of the first convolution's result."""
        found = self.first.infer([types[0], types[1], optional(types, 3)], [None] * 3)
        return tensor(found, 0)

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        second = [self.between(types), types[2], optional(types, 4), optional(types, 5)]
        return self.second.infer(second, [None] * 4)

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        (y,) = self.first.run([present(arrays, 0), present(arrays, 1), optional(arrays, 3)])
        return self.second.run([y, present(arrays, 2), optional(arrays, 4), optional(arrays, 5)])

    def macs(self, types: Sequence[Type | None], results: Sequence[Type]) -> Dim:
        between = self.between(types)
        first = self.first.macs(types[:2], [between])
        return first + self.second.macs([between, types[2]], results)
