"""Between tensors that lie row by row and tensors in blocks of channels: the numbers stay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from irconv.layout import Layout
from irconv.op import Op, present, tensor
from irconv.types import Array, Type


@dataclass(frozen=True)
class Pack(Op):
    """The same tensor with its channels in blocks and zeros around each image; see `Layout`."""

    block: int
    halo: tuple[int, ...]

    def __post_init__(self) -> None:
        Layout(self.block, self.halo)

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        return (tensor(types, 0).with_layout(Layout(self.block, self.halo)),)

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        return (present(arrays, 0),)


@dataclass(frozen=True)
class Unpack(Op):
    """The same tensor, lying row by row."""

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        return (tensor(types, 0),)

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        return (present(arrays, 0),)
