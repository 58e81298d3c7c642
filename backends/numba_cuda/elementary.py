"""Elementary functions of one number: the device's, or their NumPy twins under the simulator.

The simulator runs Python: its `math` would raise where IEEE arithmetic gives infinity or NaN.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from irconv.backends.numba_cuda.device import SIMULATED, cuda

_functions: Any = np if SIMULATED else math

exp, expm1 = _functions.exp, _functions.expm1
log, log1p = _functions.log, _functions.log1p
sqrt, power = _functions.sqrt, _functions.pow
floor, ceil = _functions.floor, _functions.ceil
sin, cos, tan = _functions.sin, _functions.cos, _functions.tan
asin, acos, atan = _functions.asin, _functions.acos, _functions.atan
sinh, cosh, tanh = _functions.sinh, _functions.cosh, _functions.tanh
asinh, acosh, atanh = _functions.asinh, _functions.acosh, _functions.atanh
erf = math.erf
erfc = math.erfc


@cuda.jit(device=True)
def larger(a: Any, b: Any) -> Any:
    """The larger of two numbers; NaN where one is NaN."""
    return a if a > b or a != a else b


@cuda.jit(device=True)
def smaller(a: Any, b: Any) -> Any:
    """The smaller of two numbers; NaN where one is NaN."""
    return a if a < b or a != a else b
