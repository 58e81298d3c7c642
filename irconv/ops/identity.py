"""Identity: a second name for a value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from irconv.op import Op, present
from irconv.types import Array, Type


@dataclass(frozen=True)
class Identity(Op):
    """The operand itself, under another name."""

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        return (present(types, 0),)

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        return (present(arrays, 0),)
