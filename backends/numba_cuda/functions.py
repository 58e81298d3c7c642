"""Functions of one number that are no activations: signs, roundings, exponentials, angles."""

from __future__ import annotations

from typing import Any

from irconv.backends.numba_cuda.activations import FIRST_FUNCTION
from irconv.backends.numba_cuda.device import cuda
from irconv.backends.numba_cuda.elementary import (
    acos,
    acosh,
    asin,
    asinh,
    atan,
    atanh,
    ceil,
    cos,
    cosh,
    erf,
    exp,
    floor,
    log,
    sin,
    sinh,
    sqrt,
    tan,
)
from irconv.ops import functions as ops

(
    NEG, ABS, SIGN, FLOOR, CEIL, ROUND, RECIPROCAL, SQRT,
    EXP, LOG, ERF, SINH, COSH, ASINH, ACOSH, ATANH,
    SIN, COS, TAN, ASIN, ACOS, ATAN,
) = range(FIRST_FUNCTION, FIRST_FUNCTION + 22)  # fmt: skip
_FIRST_EXPONENTIAL, _FIRST_ANGLE = EXP, SIN

FUNCTIONS: dict[type, int] = {
    ops.Neg: NEG, ops.Abs: ABS, ops.Sign: SIGN, ops.Floor: FLOOR, ops.Ceil: CEIL,
    ops.Round: ROUND, ops.Reciprocal: RECIPROCAL, ops.Sqrt: SQRT, ops.Exp: EXP, ops.Log: LOG,
    ops.Erf: ERF, ops.Sinh: SINH, ops.Cosh: COSH, ops.Asinh: ASINH, ops.Acosh: ACOSH,
    ops.Atanh: ATANH, ops.Sin: SIN, ops.Cos: COS, ops.Tan: TAN, ops.Asin: ASIN, ops.Acos: ACOS,
    ops.Atan: ATAN,
}  # fmt: skip


@cuda.jit(device=True)
def function(code: Any, v: Any, p: Any) -> Any:
    """The function `code` of v."""
    if code < _FIRST_EXPONENTIAL:
        return _simple(code, v, p)
    if code < _FIRST_ANGLE:
        return _exponential(code, v)
    return _angle(code, v)


@cuda.jit(device=True)
def _simple(code: Any, v: Any, p: Any) -> Any:
    if code == NEG:
        return -v
    if code == ABS:
        return abs(v)
    if code == SIGN:
        return _sign(v, p)
    if code == FLOOR:
        return p.dtype.type(floor(v))
    if code == CEIL:
        return p.dtype.type(ceil(v))
    if code == ROUND:
        return _to_even(v, p)
    if code == SQRT:
        return sqrt(v)
    return p.dtype.type(1) / v


@cuda.jit(device=True)
def _sign(v: Any, p: Any) -> Any:
    if v > p.dtype.type(0):
        return p.dtype.type(1)
    return p.dtype.type(-1) if v < p.dtype.type(0) else v


@cuda.jit(device=True)
def _to_even(v: Any, p: Any) -> Any:
    """The nearest whole number; of two, the even one."""
    low = p.dtype.type(floor(v))
    half = p.dtype.type(0.5)
    odd = low - p.dtype.type(floor(low * half)) * p.dtype.type(2)
    if v - low > half or (v - low == half and odd != p.dtype.type(0)):
        return low + p.dtype.type(1)
    return low


@cuda.jit(device=True)
def _exponential(code: Any, v: Any) -> Any:
    if code == EXP:
        return exp(v)
    if code == LOG:
        return log(v)
    if code == ERF:
        return erf(v)
    if code == SINH:
        return sinh(v)
    if code == COSH:
        return cosh(v)
    if code == ASINH:
        return asinh(v)
    return acosh(v) if code == ACOSH else atanh(v)


@cuda.jit(device=True)
def _angle(code: Any, v: Any) -> Any:
    if code == SIN:
        return sin(v)
    if code == COS:
        return cos(v)
    if code == TAN:
        return tan(v)
    if code == ASIN:
        return asin(v)
    return acos(v) if code == ACOS else atan(v)
