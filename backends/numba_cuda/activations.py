"""Activations inside kernels: a code and up to three parameters for each."""

from __future__ import annotations

from collections.abc import Callable
from math import isnan
from typing import Any

import numpy as np

from irconv.backends.numba_cuda.device import cuda
from irconv.backends.numba_cuda.elementary import (
    erfc,
    exp,
    expm1,
    larger,
    log1p,
    smaller,
    tanh,
)
from irconv.backends.numba_cuda.slots import ALPHA, BETA, THIRD
from irconv.op import Op
from irconv.ops import activation as acts
from irconv.ops.fused import Clamp

(
    IDENTITY, RELU, LEAKY_RELU, CLAMP, THRESHOLDED_RELU, SHRINK, HARD_SIGMOID, HARD_SWISH,
    ELU, SELU, CELU, SOFTSIGN,
    SIGMOID, TANH, SOFTPLUS, GELU, GELU_TANH, MISH, SWISH,
    FIRST_FUNCTION,
) = range(20)  # fmt: skip
_FIRST_EXPONENTIAL, _FIRST_SIGMOID = ELU, SIGMOID


@cuda.jit(device=True)
def activate(code: Any, v: Any, p: Any) -> Any:
    """The activation `code` of v, in v's element type; NaN stays NaN."""
    if code == IDENTITY:
        return v
    if code < _FIRST_EXPONENTIAL:
        return _piecewise(code, v, p)
    if code < _FIRST_SIGMOID:
        return _exponential(code, v, p)
    return _sigmoidal(code, v, p)


@cuda.jit(device=True)
def _piecewise(code: Any, v: Any, p: Any) -> Any:
    zero = p.dtype.type(0)
    if code == RELU:
        return larger(v, zero)
    if code == LEAKY_RELU:
        return p[ALPHA] * v if v < zero else v
    if code == CLAMP:
        return smaller(larger(v, p[ALPHA]), p[BETA])
    if code == THRESHOLDED_RELU:
        return zero if v <= p[ALPHA] else v
    if code == SHRINK:
        return _shrink(v, p[ALPHA], p[BETA], zero)
    one = p.dtype.type(1)
    if code == HARD_SIGMOID:
        return smaller(larger(p[ALPHA] * v + p[BETA], zero), one)
    return v * smaller(larger(v / p[ALPHA] + p[BETA], zero), one)


@cuda.jit(device=True)
def _shrink(v: Any, limit: Any, bias: Any, zero: Any) -> Any:
    if v < -limit:
        return v + bias
    if v > limit:
        return v - bias
    return zero if v == v else v


@cuda.jit(device=True)
def _exponential(code: Any, v: Any, p: Any) -> Any:
    zero = p.dtype.type(0)
    if code == ELU:
        return p[ALPHA] * expm1(v) if v < zero else v
    if code == SELU:
        return p[BETA] * (p[ALPHA] * expm1(v) if v <= zero else v)
    if code == CELU:
        return larger(v, zero) + smaller(p[ALPHA] * expm1(v / p[ALPHA]), zero)
    return v / (p.dtype.type(1) + abs(v))


@cuda.jit(device=True)
def _sigmoidal(code: Any, v: Any, p: Any) -> Any:
    if code == SIGMOID:
        return _sigmoid(v, p)
    if code == TANH:
        return tanh(v)
    if code == SOFTPLUS:
        return _softplus(v, p)
    if code in (GELU, GELU_TANH):
        return v * p.dtype.type(_normal_distribution(code, np.float64(v)))
    if code == MISH:
        return v * tanh(_softplus(v, p))
    return v * _sigmoid(p[ALPHA] * v, p)


@cuda.jit(device=True)
def _sigmoid(v: Any, p: Any) -> Any:
    one = p.dtype.type(1)
    small = exp(-abs(v))
    return (small if v < p.dtype.type(0) else one) / (one + small)


@cuda.jit(device=True)
def _normal_distribution(code: Any, v: Any) -> Any:
    """Of a float64 number: its tails magnify every rounding of the argument."""
    if code == GELU:
        return np.float64(0.5) * erfc(v * np.float64(-0.7071067811865476))
    # (1 + tanh(u)) / 2 with u = sqrt(2 / pi) * (v + 0.044715 v^3), written without cancellation
    twice = np.float64(1.5957691216057308) * (v + np.float64(0.044715) * v * v * v)
    small = exp(-abs(twice))
    return (small if twice < 0 else np.float64(1)) / (np.float64(1) + small)


@cuda.jit(device=True)
def _softplus(v: Any, p: Any) -> Any:
    return larger(v, p.dtype.type(0)) + log1p(exp(-abs(v)))


_CODES: dict[type[Op], tuple[int, Callable[[Any], tuple[float, ...]]]] = {
    acts.Relu: (RELU, lambda op: ()),
    acts.LeakyRelu: (LEAKY_RELU, lambda op: (op.alpha,)),
    Clamp: (CLAMP, lambda op: (op.min, op.max)),
    acts.ThresholdedRelu: (THRESHOLDED_RELU, lambda op: (op.alpha,)),
    acts.Shrink: (SHRINK, lambda op: (op.lambd, op.bias)),
    acts.HardSigmoid: (HARD_SIGMOID, lambda op: (op.alpha, op.beta)),
    acts.HardSwish: (HARD_SWISH, lambda op: (6.0, 0.5)),
    acts.Elu: (ELU, lambda op: (op.alpha,)),
    acts.Selu: (SELU, lambda op: (op.alpha, op.gamma)),
    acts.Celu: (CELU, lambda op: (op.alpha,)),
    acts.Softsign: (SOFTSIGN, lambda op: ()),
    acts.Sigmoid: (SIGMOID, lambda op: ()),
    acts.Tanh: (TANH, lambda op: ()),
    acts.Softplus: (SOFTPLUS, lambda op: ()),
    acts.Mish: (MISH, lambda op: ()),
    acts.Swish: (SWISH, lambda op: (op.alpha,)),
}


def activation_code(op: Op | None) -> tuple[int, dict[int, float]] | None:
    """(code, parameters by slot) of an activation, or None where kernels do not have it."""
    if op is None:
        return IDENTITY, {}
    if isinstance(op, acts.Gelu):
        return (GELU if op.approximate == "none" else GELU_TANH), {}
    if type(op) not in _CODES:
        return None
    code, parameters = _CODES[type(op)]
    found = parameters(op)
    # a bound that is NaN makes everything NaN, which the kernels' comparisons would not
    if any(map(isnan, found)):
        return None
    return code, dict(zip((ALPHA, BETA, THIRD), found, strict=False))


ACTIVATIONS: tuple[type[Op], ...] = (*_CODES, acts.Gelu)
