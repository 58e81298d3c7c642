"""Activations: functions of one number that keep the type; NaN propagates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import scipy

from irconv.errors import GraphError
from irconv.kinds import NUMBERS, SIGNED, expect_dtype, narrowed, widened
from irconv.op import Op, optional, present, same_dtype, tensor
from irconv.pointwise import Unary
from irconv.shapes import broadcast_into, one_of
from irconv.types import AnyDType, Array, Type


@dataclass(frozen=True)
class Relu(Unary):
    """The positive part: max(x, 0)."""

    takes: ClassVar[frozenset[AnyDType]] = SIGNED

    def apply(self, x: Array) -> Any:
        return np.maximum(x, x.dtype.type(0))


@dataclass(frozen=True)
class LeakyRelu(Unary):
    """x where x >= 0, else alpha * x."""

    alpha: float = 0.01

    def apply(self, x: Array) -> Any:
        return np.where(x < 0, self.alpha * x, x)


@dataclass(frozen=True)
class PRelu(Op):
    """x where x >= 0, else slope * x; the slope broadcasts to x."""

    operands: ClassVar[str] = "x, slope"

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        x, slope = tensor(types, 0), tensor(types, 1)
        same_dtype(self, types)
        expect_dtype(self, x, NUMBERS)
        broadcast_into(slope.shape, x.shape, "the slope")
        return (x,)

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        x, slope = present(arrays, 0), present(arrays, 1)
        return (narrowed(np.where(x < 0, widened(slope) * widened(x), widened(x)), x.dtype),)


@dataclass(frozen=True)
class Sigmoid(Unary):
    """The logistic function: 1 / (1 + exp(-x))."""

    def apply(self, x: Array) -> Any:
        return scipy.special.expit(x)


@dataclass(frozen=True)
class Tanh(Unary):
    """The hyperbolic tangent."""

    def apply(self, x: Array) -> Any:
        return np.tanh(x)


@dataclass(frozen=True)
class Elu(Unary):
    """x where x >= 0, else alpha * (exp(x) - 1)."""

    alpha: float = 1.0

    def apply(self, x: Array) -> Any:
        return np.where(x < 0, self.alpha * np.expm1(x), x)


@dataclass(frozen=True)
class Selu(Unary):
    """The scaled exponential linear unit: gamma * (x where x > 0, else alpha * (exp(x) - 1))."""

    # ONNX's defaults, as the float32 numbers that its schema holds
    alpha: float = 1.6732631921768188
    gamma: float = 1.0507010221481323

    def apply(self, x: Array) -> Any:
        return self.gamma * np.where(x <= 0, self.alpha * np.expm1(x), x)


@dataclass(frozen=True)
class Celu(Unary):
    """The continuous exponential linear unit: max(x, 0) + min(0, alpha * (exp(x / alpha) - 1))."""

    alpha: float = 1.0

    def __post_init__(self) -> None:
        if self.alpha == 0 or not math.isfinite(self.alpha):
            raise GraphError(
                "Celu divides by alpha", expected="a finite number but 0", got=self.alpha
            )

    def apply(self, x: Array) -> Any:
        zero = x.dtype.type(0)
        return np.maximum(x, zero) + np.minimum(self.alpha * np.expm1(x / self.alpha), zero)


@dataclass(frozen=True)
class ThresholdedRelu(Unary):
    """x where x > alpha, else 0."""

    alpha: float = 1.0

    def apply(self, x: Array) -> Any:
        return np.where(x <= self.alpha, x.dtype.type(0), x)


@dataclass(frozen=True)
class Shrink(Unary):
    """x + bias where x < -lambd, x - bias where x > lambd, else 0."""

    lambd: float = 0.5
    bias: float = 0.0
    takes: ClassVar[frozenset[AnyDType]] = NUMBERS

    def apply(self, x: Array) -> Any:
        inner = np.where(x < -self.lambd, x + self.bias, np.where(x > self.lambd, x - self.bias, 0))
        return np.where(np.isnan(x), x, inner)


@dataclass(frozen=True)
class HardSigmoid(Unary):
    """A line, cut at 0 and 1: max(0, min(1, alpha * x + beta))."""

    # ONNX's default, as the float32 number that its schema holds
    alpha: float = 0.20000000298023224
    beta: float = 0.5

    def apply(self, x: Array) -> Any:
        return np.clip(self.alpha * x + self.beta, x.dtype.type(0), x.dtype.type(1))


@dataclass(frozen=True)
class HardSwish(Unary):
    """x * max(0, min(1, x / 6 + 1 / 2))."""

    def apply(self, x: Array) -> Any:
        return x * np.clip(x / 6 + 0.5, x.dtype.type(0), x.dtype.type(1))


@dataclass(frozen=True)
class Softplus(Unary):
    """A smooth positive part: log(1 + exp(x))."""

    def apply(self, x: Array) -> Any:
        return np.logaddexp(x, x.dtype.type(0))


@dataclass(frozen=True)
class Softsign(Unary):
    """x / (1 + |x|)."""

    def apply(self, x: Array) -> Any:
        return x / (1 + np.abs(x))


@dataclass(frozen=True)
class Gelu(Unary):
    """x times the normal distribution function; "tanh" gives its usual approximation."""

    approximate: str = "none"

    def __post_init__(self) -> None:
        one_of("approximate", self.approximate, ("none", "tanh"))

    def apply(self, x: Array) -> Any:
        if self.approximate == "tanh":
            return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))
        return x * scipy.special.ndtr(x)


@dataclass(frozen=True)
class Mish(Unary):
    """x * tanh(log(1 + exp(x)))."""

    def apply(self, x: Array) -> Any:
        return x * np.tanh(np.logaddexp(x, x.dtype.type(0)))


@dataclass(frozen=True)
class Swish(Unary):
    """x * sigmoid(alpha * x)."""

    alpha: float = 1.0

    def apply(self, x: Array) -> Any:
        return x * scipy.special.expit(self.alpha * x)


@dataclass(frozen=True)
class Clip(Op):
    """min(max(x, low), high); an absent bound does not bind; if low > high it is high."""

    operands: ClassVar[str] = "x, min?, max?"

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        x = tensor(types, 0)
        same_dtype(self, types)
        expect_dtype(self, x, NUMBERS)
        for index, name in ((1, "min"), (2, "max")):
            bound = optional(types, index)
            if bound is not None and tensor(types, index).size != 1:
                raise GraphError(f"Clip: {name} is one number", got=bound)
        return (x,)

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        x = present(arrays, 0)
        low, high = optional(arrays, 1), optional(arrays, 2)
        result = x if low is None else np.maximum(x, low.reshape(()))
        result = result if high is None else np.minimum(result, high.reshape(()))
        return (narrowed(result, x.dtype),)


# what a fused op may apply to its result: one operand, each element by itself
ACTIVATIONS: tuple[type[Unary], ...] = (
    Relu,
    LeakyRelu,
    Sigmoid,
    Tanh,
    Elu,
    Selu,
    Celu,
    ThresholdedRelu,
    Shrink,
    HardSigmoid,
    HardSwish,
    Softplus,
    Softsign,
    Gelu,
    Mish,
    Swish,
)
