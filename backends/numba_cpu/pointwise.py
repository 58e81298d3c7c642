"""Element by element: functions of one operand, and of two that are broadcast."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

from irconv.backends.numba_cpu.activations import ACTIVATIONS
from irconv.backends.numba_cpu.jit import compiled_part
from irconv.backends.numba_cpu.pointers import at, double_bits, number, pointer
from irconv.backends.numba_cpu.roots import square_root
from irconv.backends.numba_cpu.work import share

AXES = 4  # axes of a broadcast after those that run together are merged


def clamp(x: Any, alpha: Any, beta: Any, one: Any) -> Any:
    """x held in alpha .. beta; a NaN stays."""
    x = alpha if x < alpha else x
    return beta if x > beta else x


def neg(x: Any, alpha: Any, beta: Any, one: Any) -> Any:
    """-x."""
    return -x


def absolute(x: Any, alpha: Any, beta: Any, one: Any) -> Any:
    """|x|."""
    return abs(x)


def sqrt(x: Any, alpha: Any, beta: Any, one: Any) -> Any:
    """The square root; NaN below 0."""
    return square_root(x)


def reciprocal(x: Any, alpha: Any, beta: Any, one: Any) -> Any:
    """1 / x."""
    return one / x


def log(x: Any, alpha: Any, beta: Any, one: Any) -> Any:
    """The natural logarithm; -inf at 0, NaN below."""
    return math.log(x)


def copy(x: Any, alpha: Any, beta: Any, one: Any) -> Any:
    """x."""
    return x


FUNCTIONS: dict[str, Callable[..., Any]] = ACTIVATIONS | {
    f.__name__: f for f in (clamp, neg, absolute, sqrt, reciprocal, log, copy)
}


@cache
def unary(name: str) -> Callable[..., None]:
    """Kernel: y[i] = f(x[i], alpha, beta). Row: Y, X, count, alpha, beta."""
    function = compiled_part(FUNCTIONS[name])

    def kernel(step: Any, like: Any, part: Any, parts: Any) -> None:
        y, x = pointer(step[1], like), pointer(step[2], like)
        alpha = number(double_bits(step[4]), like)
        beta = number(double_bits(step[5]), like)
        one = number(1.0, like)
        first, end = share(step[3], part, parts)
        for i in range(first, end):
            y[i] = function(x[i], alpha, beta, one)

    kernel.__qualname__ = f"unary_{name}"
    return kernel


def add(a: Any, b: Any) -> Any:
    """a + b."""
    return a + b


def sub(a: Any, b: Any) -> Any:
    """a - b."""
    return a - b


def mul(a: Any, b: Any) -> Any:
    """a * b."""
    return a * b


def div(a: Any, b: Any) -> Any:
    """a / b, as IEEE 754 has it."""
    return a / b


def largest(a: Any, b: Any) -> Any:
    """The larger; NaN if either is."""
    return a if a > b or a != a else b


def smallest(a: Any, b: Any) -> Any:
    """The smaller; NaN if either is."""
    return a if a < b or a != a else b


def power(a: Any, b: Any) -> Any:
    """a to the power of b."""
    return a**b


def sloped(a: Any, b: Any) -> Any:
    """PRelu: a, or b * a below 0."""
    return b * a if a < 0 else a


PAIRS: dict[str, Callable[..., Any]] = {
    f.__name__: f for f in (add, sub, mul, div, largest, smallest, power, sloped)
}


@cache
def _line(name: str) -> Callable[..., None]:
    """y[i] = f(a[i * step_a], b[i * step_b]), with loops that LLVM can vectorise."""
    function = compiled_part(PAIRS[name])

    def line(y: Any, a: Any, b: Any, count: Any, step_a: Any, step_b: Any) -> None:
        if step_a == 1 and step_b == 1:
            for i in range(count):
                y[i] = function(a[i], b[i])
        elif step_a == 1 and step_b == 0:
            right = b[0]
            for i in range(count):
                y[i] = function(a[i], right)
        elif step_a == 0 and step_b == 1:
            left = a[0]
            for i in range(count):
                y[i] = function(left, b[i])
        else:
            for i in range(count):
                y[i] = function(a[i * step_a], b[i * step_b])

    return compiled_part(line)


@cache
def binary(name: str) -> Callable[..., None]:
    """Kernel: y = f(a, b), broadcast. Row: Y, A, B, 4 sizes, 4 strides of a, 4 of b; y is dense."""
    line = _line(name)

    def kernel(step: Any, like: Any, part: Any, parts: Any) -> None:
        y, a, b = pointer(step[1], like), pointer(step[2], like), pointer(step[3], like)
        count = step[7]
        first, end = share(step[4] * step[5] * step[6], part, parts)
        for row in range(first, end):
            z = row % step[6]
            above = row // step[6]
            x, w = above % step[5], above // step[5]
            from_a = w * step[8] + x * step[9] + z * step[10]
            from_b = w * step[12] + x * step[13] + z * step[14]
            line(at(y, row * count), at(a, from_a), at(b, from_b), count, step[11], step[15])

    kernel.__qualname__ = f"binary_{name}"
    return kernel
