"""Elementary functions of one number: the device's, or their NumPy twins under the simulator.

The simulator runs Python: its `math` would raise where IEEE arithmetic gives infinity or NaN.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from irconv.backends.numba_cuda.device import SIMULATED, cuda

_functions: Any = np if SIMULATED else math

exp = _functions.exp
expm1 = _functions.expm1
log = _functions.log
log1p = _functions.log1p
sqrt = _functions.sqrt
floor = _functions.floor
ceil = _functions.ceil
sin, cos, tan = _functions.sin, _functions.cos, _functions.tan
sinh, cosh, tanh = _functions.sinh, _functions.cosh, _functions.tanh
asin, acos, atan = (
    (np.arcsin, np.arccos, np.arctan) if SIMULATED else (math.asin, math.acos, math.atan)
)
asinh, acosh, atanh = (
    (np.arcsinh, np.arccosh, np.arctanh) if SIMULATED else (math.asinh, math.acosh, math.atanh)
)
power = np.power if SIMULATED else math.pow
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
