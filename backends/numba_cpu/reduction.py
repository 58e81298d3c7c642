"""Reduces axes: sums, means, extremes; softmax."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

from irconv.backends.numba_cpu.elementary import exponential
from irconv.backends.numba_cpu.jit import compiled_part
from irconv.backends.numba_cpu.pointers import at, double_bits, number, pointer
from irconv.backends.numba_cpu.pointwise import add, largest, mul, smallest
from irconv.backends.numba_cpu.work import share

AXES = 3  # axes kept, and axes reduced, after those that run together are merged

FOLDS: dict[str, Callable[..., Any]] = {
    "sum": add,
    "max": largest,
    "min": smallest,
    "prod": mul,
}
STARTS = {"sum": 0.0, "max": -math.inf, "min": math.inf, "prod": 1.0}


@cache
def reduce(name: str) -> Callable[..., None]:
    """Kernel: y[k] = fold of x[k, r] over r, divided by a number.

    Row: Y, X, 3 kept sizes, 3 strides, 3 reduced sizes, 3 strides, start, divisor.
    """
    fold = compiled_part(FOLDS[name])

    def kernel(step: Any, like: Any, part: Any, parts: Any) -> None:
        y, x = pointer(step[1], like), pointer(step[2], like)
        start = number(double_bits(step[15]), like)
        divisor = number(double_bits(step[16]), like)
        first, end = share(step[3] * step[4] * step[5], part, parts)
        for place in range(first, end):
            inner = place % step[5]
            above = place // step[5]
            source = above // step[4] * step[6] + above % step[4] * step[7] + inner * step[8]
            total = start
            for i in range(step[9]):
                for j in range(step[10]):
                    line = at(x, source + i * step[12] + j * step[13])
                    partial = start
                    for k in range(step[11]):
                        partial = fold(partial, line[k * step[14]])
                    total = fold(total, partial)
            y[place] = total / divisor

    kernel.__qualname__ = f"reduce_{name}"
    return kernel


def softmax(step: Any, like: Any, part: Any, parts: Any) -> None:
    """Kernel: softmax along the middle of [outer, count, inner]; its logarithm on request.

    Row: Y, X, outer, count, inner, logarithm.
    """
    y, x = pointer(step[1], like), pointer(step[2], like)
    count, inner = step[4], step[5]
    first, end = share(step[3] * inner, part, parts)
    for unit in range(first, end):
        outer = unit // inner
        start = outer * count * inner + unit - outer * inner
        if step[6] != 0:
            _log_softmax(at(y, start), at(x, start), count, inner)
        else:
            _softmax(at(y, start), at(x, start), count, inner)


@compiled_part
def _top(x: Any, count: Any, stride: Any) -> Any:
    top = number(-math.inf, x)
    for i in range(count):
        value = x[i * stride]
        top = value if value > top or value != value else top
    return top


@compiled_part
def _softmax(y: Any, x: Any, count: Any, stride: Any) -> None:
    top, total = _top(x, count, stride), number(0.0, x)
    for i in range(count):
        y[i * stride] = exponential(x[i * stride] - top)
    for i in range(count):
        total += y[i * stride]
    for i in range(count):
        y[i * stride] /= total


@compiled_part
def _log_softmax(y: Any, x: Any, count: Any, stride: Any) -> None:
    top, total = _top(x, count, stride), number(0.0, x)
    for i in range(count):
        total += exponential(x[i * stride] - top)
    shift = number(math.log(total), x)
    for i in range(count):
        y[i * stride] = x[i * stride] - top - shift
