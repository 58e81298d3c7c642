"""Clip with constant bounds, seen as Clamp or Relu."""

from __future__ import annotations

import math

from irconv.graph import Node
from irconv.kinds import is_float
from irconv.ops.activation import Clip, Relu
from irconv.ops.fused import Clamp


def clamp_of(node: Node) -> Clamp | Relu | str:
    """The Clamp (or Relu) that means what this Clip means, or the condition that fails."""
    assert isinstance(node.op, Clip)
    if not is_float(node.result.tensor_type.dtype):
        return "its element type is not a floating point type"
    bounds = []
    for index, absent in ((1, -math.inf), (2, math.inf)):
        array = node.constant(index)
        if node.operand(index) is not None and array is None:
            return "a bound is not constant"
        bounds.append(absent if array is None else float(array.reshape(())))
    if any(math.isnan(bound) for bound in bounds):
        return "a bound is NaN"
    low, high = bounds
    positive_zero = low == 0 and math.copysign(1, low) == 1
    return Relu() if positive_zero and high == math.inf else Clamp(low, high)
