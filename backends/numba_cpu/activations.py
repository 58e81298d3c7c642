"""Activations that need a second pass over what a kernel has just written."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numba
import numpy as np
from numba import types

from irconv.backends.numba_cpu import native
from irconv.backends.numba_cpu.elementary import (
    exponential,
    exponential_minus_one,
    hyperbolic_tangent,
    log_one_plus,
)
from irconv.backends.numba_cpu.jit import compiled_part
from irconv.backends.numba_cpu.limits import at_least, at_most, clamp
from irconv.backends.numba_cpu.pointers import number


@compiled_part
def _sigmoid(x: Any, one: Any) -> Any:
    small = exponential(-abs(x))
    return (small if x < 0 else one) / (one + small)


@compiled_part
def _softplus(x: Any, zero: Any) -> Any:
    return at_least(x, zero) + log_one_plus(exponential(-abs(x)))


def leaky_relu(x: Any, alpha: Any, beta: Any, one: Any) -> Any:
    """x, or alpha * x below 0."""
    return alpha * x if x < 0 else x


def thresholded_relu(x: Any, alpha: Any, beta: Any, one: Any) -> Any:
    """x above alpha, else 0."""
    return one - one if x <= alpha else x


def sigmoid(x: Any, alpha: Any, beta: Any, one: Any) -> Any:
    """1 / (1 + exp(-x))."""
    return _sigmoid(x, one)


def tanh(x: Any, alpha: Any, beta: Any, one: Any) -> Any:
    """The hyperbolic tangent."""
    return hyperbolic_tangent(x)


def exp(x: Any, alpha: Any, beta: Any, one: Any) -> Any:
    """exp(x)."""
    return exponential(x)


def hard_sigmoid(x: Any, alpha: Any, beta: Any, one: Any) -> Any:
    """alpha * x + beta, clamped to 0 .. 1."""
    return clamp(alpha * x + beta, one - one, one)


def hard_swish(x: Any, alpha: Any, beta: Any, one: Any) -> Any:
    """x * clamp(x / 6 + 1 / 2, 0, 1); alpha is 1 / 6 and beta 1 / 2."""
    return x * clamp(alpha * x + beta, one - one, one)


def elu(x: Any, alpha: Any, beta: Any, one: Any) -> Any:
    """x, or alpha * (exp(x) - 1) below 0."""
    return alpha * exponential_minus_one(at_most(x, one - one)) if x < 0 else x


def selu(x: Any, alpha: Any, beta: Any, one: Any) -> Any:
    """beta * (x, or alpha * (exp(x) - 1) below 0)."""
    return beta * (alpha * exponential_minus_one(at_most(x, one - one)) if x < 0 else x)


def celu(x: Any, alpha: Any, beta: Any, one: Any) -> Any:
    """x, or alpha * (exp(x / alpha) - 1) below 0."""
    return alpha * exponential_minus_one(at_most(x / alpha, one - one)) if x < 0 else x


def softplus(x: Any, alpha: Any, beta: Any, one: Any) -> Any:
    """log(1 + exp(x))."""
    return _softplus(x, one - one)


def softsign(x: Any, alpha: Any, beta: Any, one: Any) -> Any:
    """x / (1 + |x|)."""
    return x / (one + abs(x))


def swish(x: Any, alpha: Any, beta: Any, one: Any) -> Any:
    """x * sigmoid(alpha * x); SiLU where alpha is 1."""
    return x * _sigmoid(alpha * x, one)


def mish(x: Any, alpha: Any, beta: Any, one: Any) -> Any:
    """x * tanh(softplus(x)), as x * e(e + 2) / (e(e + 2) + 2) with e = exp(x)."""
    two = one + one
    e = exponential(at_most(x, two * two * two * two + two * two))
    product = e * (e + two)
    return x * (product / (product + two))


ACTIVATIONS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        leaky_relu,
        thresholded_relu,
        sigmoid,
        tanh,
        exp,
        hard_sigmoid,
        hard_swish,
        elu,
        selu,
        celu,
        softplus,
        softsign,
        swish,
        mish,
    )
}


def pass_code(name: str, dtype: np.dtype) -> int:
    """The address of the pass `(c, rows, columns, stride, alpha, beta)` of one activation.

    It replaces rows x columns elements at row stride `stride` in place.
    """
    scalar = numba.from_dtype(dtype)
    whole = types.int64
    signature = (types.CPointer(scalar), whole, whole, whole, scalar, scalar)
    return native.compiled(_pass_over(ACTIVATIONS[name]), signature)


@cache
def _pass_over(function: Callable[..., Any]) -> Callable[..., None]:
    one_element = compiled_part(function)

    def over(c: Any, rows: Any, columns: Any, stride: Any, alpha: Any, beta: Any) -> None:
        one = number(1.0, c)
        for r in range(rows):
            for j in range(r * stride, r * stride + columns):
                c[j] = one_element(c[j], alpha, beta, one)

    over.__qualname__ = f"pass_{function.__name__}"
    return over
