"""Arithmetic of several operands, broadcast as in NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from irconv.errors import GraphError
from irconv.kinds import (
    BOOLEAN,
    FLOATS,
    INTEGERS,
    NUMBERS,
    expect_dtype,
    narrowed,
    widened,
)
from irconv.op import Op, present, tensor
from irconv.pointwise import Broadcasting
from irconv.shapes import broadcast, one_of, within_budget
from irconv.types import AnyDType, Array, TensorType, Type


@dataclass(frozen=True)
class Add(Broadcasting):
    """The sum of two operands."""

    def apply(self, a: Array, b: Array) -> Any:
        return a + b


@dataclass(frozen=True)
class Sub(Broadcasting):
    """The difference of two operands: a - b."""

    def apply(self, a: Array, b: Array) -> Any:
        return a - b


@dataclass(frozen=True)
class Mul(Broadcasting):
    """The product of two operands."""

    def apply(self, a: Array, b: Array) -> Any:
        return a * b


@dataclass(frozen=True)
class Div(Broadcasting):
    """The quotient a / b; that of integers is rounded toward zero."""

    def apply(self, a: Array, b: Array) -> Any:
        if a.dtype in FLOATS:
            return a / b
        quotient, rest = np.divmod(a, b)
        return quotient + ((rest != 0) & ((a < 0) != (b < 0))).astype(quotient.dtype)


@dataclass(frozen=True)
class Mod(Broadcasting):
    """The remainder of a / b, of the divisor's sign; with fmod = 1 of the dividend's, as in C."""

    fmod: int = 0

    def apply(self, a: Array, b: Array) -> Any:
        return np.fmod(a, b) if self.fmod else np.mod(a, b)


@dataclass(frozen=True)
class Pow(Op):
    """a to the power b, in a's element type; the exponents may have another."""

    operands: ClassVar[str] = "a, b"

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        a, b = tensor(types, 0), tensor(types, 1)
        expect_dtype(self, a, NUMBERS, "the base")
        expect_dtype(self, b, NUMBERS, "the exponent")
        return (within_budget(self, a.with_shape(broadcast([a.shape, b.shape]))),)

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        a, b = present(arrays, 0), present(arrays, 1)
        if a.dtype in INTEGERS and b.dtype in INTEGERS:
            return (_integer_power(a, b),)
        return (narrowed(np.power(widened(a), widened(b)), a.dtype),)


def _integer_power(a: Array, b: Array) -> Array:
    """Exact and modulo 2^bits; a negative exponent leaves only the powers of 1 and -1."""
    power = np.power(a, np.maximum(b, 0).astype(a.dtype))
    # 1 / a, rounded toward zero
    inverse = np.where(np.abs(a) == 1, np.where(b % 2 == 0, 1, a), 0)
    return narrowed(np.where(b < 0, inverse, power), a.dtype)


@dataclass(frozen=True)
class Max(Broadcasting):
    """The largest of the operands, element by element; NaN where one is NaN."""

    operands: ClassVar[str] = "xs+"

    def apply(self, a: Array, b: Array) -> Any:
        return np.maximum(a, b)


@dataclass(frozen=True)
class Min(Broadcasting):
    """The smallest of the operands, element by element; NaN where one is NaN."""

    operands: ClassVar[str] = "xs+"

    def apply(self, a: Array, b: Array) -> Any:
        return np.minimum(a, b)


@dataclass(frozen=True)
class Sum(Broadcasting):
    """The sum of any number of operands."""

    operands: ClassVar[str] = "xs+"
    takes: ClassVar[frozenset[AnyDType]] = FLOATS

    def apply(self, a: Array, b: Array) -> Any:
        return a + b


@dataclass(frozen=True)
class Mean(Sum):
    """The mean of any number of operands."""

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        wide = [widened(present(arrays, i)) for i in range(len(arrays))]
        (total,) = super().run(wide)
        return (
            narrowed(
                total / len(arrays),
                np.result_type(*(present(arrays, i) for i in range(len(arrays)))),
            ),
        )


@dataclass(frozen=True)
class BitShift(Broadcasting):
    """The bits of a, moved by b places to the "LEFT" or "RIGHT"; to the right the sign is kept.

    Where b is negative, or not below the number of bits, all bits of a are moved out.
    """

    direction: str = ""
    takes: ClassVar[frozenset[AnyDType]] = INTEGERS

    def __post_init__(self) -> None:
        one_of("BitShift: direction", self.direction, ("LEFT", "RIGHT"))

    def apply(self, a: Array, b: Array) -> Any:
        bits = 8 * a.dtype.itemsize
        out = (b < 0) | (b >= bits)
        if self.direction == "LEFT":
            return np.where(out, 0, np.left_shift(a, np.where(out, 0, b)))
        return np.right_shift(a, np.where(out, bits - 1, b)) * ~(out & (a >= 0))


@dataclass(frozen=True)
class BitwiseAnd(Broadcasting):
    """The bits that both operands have."""

    takes: ClassVar[frozenset[AnyDType]] = INTEGERS

    def apply(self, a: Array, b: Array) -> Any:
        return a & b


@dataclass(frozen=True)
class BitwiseOr(Broadcasting):
    """The bits that one operand or both have."""

    takes: ClassVar[frozenset[AnyDType]] = INTEGERS

    def apply(self, a: Array, b: Array) -> Any:
        return a | b


@dataclass(frozen=True)
class BitwiseXor(Broadcasting):
    """The bits that exactly one operand has."""

    takes: ClassVar[frozenset[AnyDType]] = INTEGERS

    def apply(self, a: Array, b: Array) -> Any:
        return a ^ b


@dataclass(frozen=True)
class Where(Op):
    """a where the condition holds, else b; all three are broadcast."""

    operands: ClassVar[str] = "condition, a, b"

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        condition, a, b = (tensor(types, i) for i in range(3))
        expect_dtype(self, condition, BOOLEAN, "the condition")
        if a.dtype != b.dtype:
            raise GraphError("Where mixes element types", got=f"{a} and {b}")
        shape = broadcast([condition.shape, a.shape, b.shape])
        return (within_budget(self, TensorType(a.dtype, shape)),)

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        condition, a, b = (present(arrays, i) for i in range(3))
        return (np.where(condition, a, b),)
