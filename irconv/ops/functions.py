"""Functions of one number: signs, roundings, exponentials, trigonometry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import scipy

from irconv.kinds import INTEGERS, NUMBERS, SIGNED
from irconv.pointwise import Unary
from irconv.types import AnyDType, Array


@dataclass(frozen=True)
class Neg(Unary):
    """The negative: -x."""

    takes: ClassVar[frozenset[AnyDType]] = SIGNED

    def apply(self, x: Array) -> Any:
        return -x


@dataclass(frozen=True)
class Abs(Unary):
    """The absolute value: |x|."""

    takes: ClassVar[frozenset[AnyDType]] = NUMBERS

    def apply(self, x: Array) -> Any:
        return np.abs(x)


@dataclass(frozen=True)
class Sign(Unary):
    """-1, 0 or 1, as x is below, at or above 0."""

    takes: ClassVar[frozenset[AnyDType]] = NUMBERS

    def apply(self, x: Array) -> Any:
        return np.sign(x)


@dataclass(frozen=True)
class BitwiseNot(Unary):
    """Every bit turned."""

    takes: ClassVar[frozenset[AnyDType]] = INTEGERS

    def apply(self, x: Array) -> Any:
        return ~x


@dataclass(frozen=True)
class Exp(Unary):
    """The exponential function."""

    def apply(self, x: Array) -> Any:
        return np.exp(x)


@dataclass(frozen=True)
class Log(Unary):
    """The natural logarithm; NaN below 0."""

    def apply(self, x: Array) -> Any:
        return np.log(x)


@dataclass(frozen=True)
class Sqrt(Unary):
    """The square root; NaN below 0."""

    def apply(self, x: Array) -> Any:
        return np.sqrt(x)


@dataclass(frozen=True)
class Reciprocal(Unary):
    """1 / x."""

    def apply(self, x: Array) -> Any:
        return 1 / x


@dataclass(frozen=True)
class Floor(Unary):
    """The largest integer that is not above x."""

    def apply(self, x: Array) -> Any:
        return np.floor(x)


@dataclass(frozen=True)
class Ceil(Unary):
    """The smallest integer that is not below x."""

    def apply(self, x: Array) -> Any:
        return np.ceil(x)


@dataclass(frozen=True)
class Round(Unary):
    """The nearest integer; a half goes to the even one."""

    def apply(self, x: Array) -> Any:
        return np.rint(x)


@dataclass(frozen=True)
class Erf(Unary):
    """The error function."""

    def apply(self, x: Array) -> Any:
        return scipy.special.erf(x)


@dataclass(frozen=True)
class Sin(Unary):
    """The sine."""

    def apply(self, x: Array) -> Any:
        return np.sin(x)


@dataclass(frozen=True)
class Cos(Unary):
    """The cosine."""

    def apply(self, x: Array) -> Any:
        return np.cos(x)


@dataclass(frozen=True)
class Tan(Unary):
    """The tangent."""

    def apply(self, x: Array) -> Any:
        return np.tan(x)


@dataclass(frozen=True)
class Asin(Unary):
    """The inverse sine."""

    def apply(self, x: Array) -> Any:
        return np.arcsin(x)


@dataclass(frozen=True)
class Acos(Unary):
    """The inverse cosine."""

    def apply(self, x: Array) -> Any:
        return np.arccos(x)


@dataclass(frozen=True)
class Atan(Unary):
    """The inverse tangent."""

    def apply(self, x: Array) -> Any:
        return np.arctan(x)


@dataclass(frozen=True)
class Sinh(Unary):
    """The hyperbolic sine."""

    def apply(self, x: Array) -> Any:
        return np.sinh(x)


@dataclass(frozen=True)
class Cosh(Unary):
    """The hyperbolic cosine."""

    def apply(self, x: Array) -> Any:
        return np.cosh(x)


@dataclass(frozen=True)
class Asinh(Unary):
    """The inverse hyperbolic sine."""

    def apply(self, x: Array) -> Any:
        return np.arcsinh(x)


@dataclass(frozen=True)
class Acosh(Unary):
    """The inverse hyperbolic cosine."""

    def apply(self, x: Array) -> Any:
        return np.arccosh(x)


@dataclass(frozen=True)
class Atanh(Unary):
    """The inverse hyperbolic tangent."""

    def apply(self, x: Array) -> Any:
        return np.arctanh(x)
