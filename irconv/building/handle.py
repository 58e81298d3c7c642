"""What the builder hands out: a value of the graph being built, with operators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy.typing as npt

from irconv.dim import Dim
from irconv.errors import printable
from irconv.graph import Value
from irconv.types import AnyDType

if TYPE_CHECKING:
    from irconv.building.assembler import Assembler


@dataclass(frozen=True, slots=True)
class Handle:
    """A value under construction: `x + y`, `x * 2.0`, `-x`, `x @ w` add a node to the graph.

    A number or array beside a handle becomes a constant of its element type. Two handles are equal
    where they stand for the same value.
    """

    builder: Assembler
    value: Value

    # numpy_array * handle is this class's business: NumPy would call it once per element
    __array_ufunc__ = None

    @property
    def name(self) -> str:
        return self.value.name

    @property
    def shape(self) -> tuple[Dim, ...]:
        """The sizes, each an integer or an expression of symbols."""
        return self.value.shape

    @property
    def rank(self) -> int:
        return len(self.value.shape)

    @property
    def dtype(self) -> AnyDType:
        return self.value.tensor_type.dtype

    @property
    def results(self) -> tuple[Handle, ...]:
        """All results of its node: `a, c = b.call("Split", x, num_outputs=2).results`."""
        producer = self.value.producer
        values = (self.value,) if producer is None else producer.results
        return tuple(Handle(self.builder, v) for v in values)

    def __add__(self, other: Operand) -> Handle:
        return self.builder.elementwise("Add", self, other)

    def __radd__(self, other: Operand) -> Handle:
        return self.builder.elementwise("Add", other, self)

    def __sub__(self, other: Operand) -> Handle:
        return self.builder.elementwise("Sub", self, other)

    def __rsub__(self, other: Operand) -> Handle:
        return self.builder.elementwise("Sub", other, self)

    def __mul__(self, other: Operand) -> Handle:
        return self.builder.elementwise("Mul", self, other)

    def __rmul__(self, other: Operand) -> Handle:
        return self.builder.elementwise("Mul", other, self)

    def __truediv__(self, other: Operand) -> Handle:
        return self.builder.elementwise("Div", self, other)

    def __rtruediv__(self, other: Operand) -> Handle:
        return self.builder.elementwise("Div", other, self)

    def __pow__(self, other: Operand) -> Handle:
        return self.builder.elementwise("Pow", self, other)

    def __matmul__(self, other: Operand) -> Handle:
        return self.builder.elementwise("MatMul", self, other)

    def __rmatmul__(self, other: Operand) -> Handle:
        return self.builder.elementwise("MatMul", other, self)

    def __neg__(self) -> Handle:
        return self.builder.call("Neg", self)

    def __abs__(self) -> Handle:
        return self.builder.call("Abs", self)

    def __repr__(self) -> str:
        return f"<%{printable(self.value.name)}: {self.value.type}>"


# what may stand as an operand: a number or an array becomes a constant
Operand: TypeAlias = "Handle | Value | npt.ArrayLike"
