"""Comparisons and logic: results are booleans."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from irconv.kinds import BOOLEAN, NUMBERS
from irconv.pointwise import Broadcasting, Unary
from irconv.types import AnyDType, Array


@dataclass(frozen=True)
class Equal(Broadcasting):
    """Whether a == b."""

    takes: ClassVar[frozenset[AnyDType]] = NUMBERS | BOOLEAN
    gives: ClassVar[str | None] = "bool"

    def apply(self, a: Array, b: Array) -> Any:
        return a == b


@dataclass(frozen=True)
class Greater(Broadcasting):
    """Whether a > b."""

    gives: ClassVar[str | None] = "bool"

    def apply(self, a: Array, b: Array) -> Any:
        return a > b


@dataclass(frozen=True)
class GreaterOrEqual(Broadcasting):
    """Whether a >= b."""

    gives: ClassVar[str | None] = "bool"

    def apply(self, a: Array, b: Array) -> Any:
        return a >= b


@dataclass(frozen=True)
class Less(Broadcasting):
    """Whether a < b."""

    gives: ClassVar[str | None] = "bool"

    def apply(self, a: Array, b: Array) -> Any:
        return a < b


@dataclass(frozen=True)
class LessOrEqual(Broadcasting):
    """Whether a <= b."""

    gives: ClassVar[str | None] = "bool"

    def apply(self, a: Array, b: Array) -> Any:
        return a <= b


@dataclass(frozen=True)
class And(Broadcasting):
    """Whether both operands hold."""

    takes: ClassVar[frozenset[AnyDType]] = BOOLEAN

    def apply(self, a: Array, b: Array) -> Any:
        return a & b


@dataclass(frozen=True)
class Or(Broadcasting):
    """Whether one operand or both hold."""

    takes: ClassVar[frozenset[AnyDType]] = BOOLEAN

    def apply(self, a: Array, b: Array) -> Any:
        return a | b


@dataclass(frozen=True)
class Xor(Broadcasting):
    """Whether exactly one operand holds."""

    takes: ClassVar[frozenset[AnyDType]] = BOOLEAN

    def apply(self, a: Array, b: Array) -> Any:
        return a ^ b


@dataclass(frozen=True)
class Not(Unary):
    """Whether the operand does not hold."""

    takes: ClassVar[frozenset[AnyDType]] = BOOLEAN

    def apply(self, x: Array) -> Any:
        return ~x


@dataclass(frozen=True)
class IsNaN(Unary):
    """Whether x is not a number."""

    gives: ClassVar[str | None] = "bool"

    def apply(self, x: Array) -> Any:
        return np.isnan(x)


@dataclass(frozen=True)
class IsInf(Unary):
    """Whether x is infinite, of a sign that is asked for."""

    detect_negative: int = 1
    detect_positive: int = 1
    gives: ClassVar[str | None] = "bool"

    def apply(self, x: Array) -> Any:
        positive = (x == np.inf) & bool(self.detect_positive)
        return positive | ((x == -np.inf) & bool(self.detect_negative))
