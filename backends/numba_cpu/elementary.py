"""Elementary functions that LLVM turns into vector code: exp and its relatives, within 4 ulp.

float32 uses a reduction by multiples of log 2 and polynomials fitted to the least largest
relative error; float64 calls the C library.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import overload

from irconv.backends.numba_cpu.jit import compiled_part, instruction
from irconv.backends.numba_cpu.limits import at_least, clamp

_MAGIC = np.float32(12582912.0)  # 1.5 * 2^23: adding it rounds to an integer, in the low bits
_PER_LOG2 = np.float32(1.44269504)
_LOG2_HIGH = np.float32(0.693359375)  # 9 bits, so that its product with an exponent is exact
_LOG2_LOW = np.float32(-2.12194440e-4)
_HALF, _ONE, _TWO, _ZERO = np.float32(0.5), np.float32(1), np.float32(2), np.float32(0)
_E = tuple(
    np.float32(c) for c in (0.5, 0.16666667, 0.041666254, 0.0083332611, 0.0013947212, 0.00019919922)
)
_L = tuple(np.float32(c) for c in (0.66666675, 0.39998877, 0.28616884, 0.21427657, 0.24300941))
_T = tuple(
    np.float32(c) for c in (-0.33333299, 0.13331959, -0.053786684, 0.020805383, -0.0059058657)
)
_E0, _E1, _E2, _E3, _E4, _E5 = _E
_L0, _L1, _L2, _L3, _L4 = _L
_T0, _T1, _T2, _T3, _T4 = _T


@instruction
def _scaled(typing: Any, value: Any, rounded: Any) -> Any:
    """value * 2^n, where `rounded` is n + _MAGIC; in two steps, for results below the normal."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        whole, real = ir.IntType(32), ir.FloatType()
        bits = builder.bitcast(args[1], whole)
        n = builder.sub(bits, ir.Constant(whole, int(_MAGIC.view(np.int32))))
        half = builder.ashr(n, ir.Constant(whole, 1))
        result = args[0]
        for part in (half, builder.sub(n, half)):
            biased = builder.add(part, ir.Constant(whole, 127))
            power = builder.bitcast(builder.shl(biased, ir.Constant(whole, 23)), real)
            result = builder.fmul(result, power)
        return result

    return types.float32(types.float32, types.float32), generate


def exponential(x: Any) -> Any:
    """exp(x)."""
    return math.exp(x)


def exponential_minus_one(x: Any) -> Any:
    """exp(x) - 1 for x <= 0."""
    return math.expm1(x)


def log_one_plus(x: Any) -> Any:
    """log(1 + x) for 0 <= x <= 1."""
    return math.log1p(x)


def hyperbolic_tangent(x: Any) -> Any:
    """tanh(x)."""
    return math.tanh(x)


@compiled_part
def _reduced(x: Any) -> Any:
    rounded = x * _PER_LOG2 + _MAGIC
    n = rounded - _MAGIC
    r = (x - n * _LOG2_HIGH) - n * _LOG2_LOW
    q = ((((_E5 * r + _E4) * r + _E3) * r + _E2) * r + _E1) * r + _E0
    return rounded, r + r * r * q


@compiled_part
def _exponential32(x: Any) -> Any:
    x = clamp(x, np.float32(-104.0), np.float32(89.0))
    rounded, rest = _reduced(x)
    return _scaled(_ONE + rest, rounded)


@compiled_part
def _exponential_minus_one32(x: Any) -> Any:
    x = at_least(x, np.float32(-80.0))
    rounded, rest = _reduced(x)
    return _scaled(rest, rounded) + (_scaled(_ONE, rounded) - _ONE)


@compiled_part
def _log_one_plus32(x: Any) -> Any:
    s = x / (_TWO + x)
    u = s * s
    tail = u * ((((_L4 * u + _L3) * u + _L2) * u + _L1) * u + _L0)
    return s * (_TWO + tail)


@compiled_part
def _hyperbolic_tangent32(x: Any) -> Any:
    size = abs(x)
    u = x * x
    near = x + x * (u * ((((_T4 * u + _T3) * u + _T2) * u + _T1) * u + _T0))
    far = _ONE - _TWO / (_exponential32(_TWO * size) + _ONE)
    far = -far if x < _ZERO else far
    return near if size < np.float32(0.6) else far


def _by_type(function: Any, single: Any, double: Any) -> None:
    def run_single(x: Any) -> Any:
        return single(x)

    def run_double(x: Any) -> Any:
        return double(x)

    @overload(function)
    def choose(x: Any) -> Any:
        return run_single if x == types.float32 else run_double


_by_type(exponential, _exponential32, math.exp)
_by_type(exponential_minus_one, _exponential_minus_one32, math.expm1)
_by_type(log_one_plus, _log_one_plus32, math.log1p)
_by_type(hyperbolic_tangent, _hyperbolic_tangent32, math.tanh)
