"""What pointwise ops share: one operand, or several that are broadcast, element by element."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, ClassVar

import numpy as np

from irconv.kinds import FLOATS, NUMBERS, expect_dtype, narrowed, widened
from irconv.op import Op, present, same_dtype, tensor
from irconv.shapes import broadcast, within_budget
from irconv.types import DTYPES, AnyDType, Array, TensorType, Type


@dataclass(frozen=True)
class Unary(Op):
    """One operand; each element becomes `apply` of it. Half precision is computed in float32."""

    takes: ClassVar[frozenset[AnyDType]] = FLOATS
    # the element type of the result, where it is not the operand's
    gives: ClassVar[str | None] = None

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        x = tensor(types, 0)
        expect_dtype(self, x, self.takes)
        return (TensorType(self.gives, x.shape) if self.gives else x,)

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        x = present(arrays, 0)
        result = self.apply(widened(x))
        return (narrowed(result, DTYPES[self.gives] if self.gives else x.dtype),)

    def apply(self, x: Array) -> Any:
        """The function of one array."""
        raise NotImplementedError(f"{self.name}.apply")


@dataclass(frozen=True)
class Broadcasting(Op):
    """Operands of one element type, broadcast as in NumPy; `apply` from left to right."""

    operands: ClassVar[str] = "a, b"
    takes: ClassVar[frozenset[AnyDType]] = NUMBERS
    gives: ClassVar[str | None] = None

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        operands = [tensor(types, i) for i in range(len(types))]
        dtype = same_dtype(self, types)
        expect_dtype(self, operands[0], self.takes)
        shape = broadcast(t.shape for t in operands)
        return (within_budget(self, TensorType(self.gives or dtype, shape)),)

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        operands = [present(arrays, i) for i in range(len(arrays))]
        dtype = np.result_type(*operands)
        result = reduce(self.apply, [widened(a) for a in operands])
        return (narrowed(result, DTYPES[self.gives] if self.gives else dtype),)

    def apply(self, a: Array, b: Array) -> Any:
        """The function of two arrays."""
        raise NotImplementedError(f"{self.name}.apply")
