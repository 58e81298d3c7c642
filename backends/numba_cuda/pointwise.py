"""Elementwise kernels: functions of one number, arithmetic of broadcast operands."""

from __future__ import annotations

from typing import Any

from irconv.backends.numba_cuda.activations import (
    ACTIVATIONS,
    FIRST_FUNCTION,
    activate,
    activation_code,
)
from irconv.backends.numba_cuda.broadcasts import broadcast_strides, place, table
from irconv.backends.numba_cuda.device import cuda
from irconv.backends.numba_cuda.elementary import larger, power, smaller
from irconv.backends.numba_cuda.functions import FUNCTIONS, function
from irconv.backends.numba_cuda.launch import (
    Binder,
    Bound,
    Launch,
    count_of,
    float_launch,
    not_computed,
    required,
    sizes,
)
from irconv.backends.numba_cuda.slots import CODE, COUNT, RANK, SCALE, TABLE
from irconv.graph import Node, Value
from irconv.ops import elementwise
from irconv.ops.activation import Clip, PRelu
from irconv.ops.fused import Clamp

ADD, SUB, MUL, DIV, POW, MAX, MIN, PRELU, SCALED = range(9)

_BINARY: dict[type, int] = {
    elementwise.Add: ADD,
    elementwise.Sub: SUB,
    elementwise.Mul: MUL,
    elementwise.Div: DIV,
    elementwise.Pow: POW,
    elementwise.Max: MAX,
    elementwise.Min: MIN,
    elementwise.Sum: ADD,
    elementwise.Mean: ADD,
    PRelu: PRELU,
}


@cuda.jit
def unary(y: Any, x: Any, g: Any, p: Any) -> None:
    """y = f(x) element by element: an activation, or another function of one number."""
    for i in range(cuda.grid(1), g[COUNT], cuda.gridsize(1)):
        if g[CODE] < FIRST_FUNCTION:
            y[i] = activate(g[CODE], x[i], p)
        else:
            y[i] = function(g[CODE], x[i], p)


@cuda.jit
def binary(y: Any, a: Any, b: Any, g: Any, p: Any) -> None:
    """y = a (op) b, both broadcast; y may be a."""
    for i in range(cuda.grid(1), g[COUNT], cuda.gridsize(1)):
        left = a[place(i, g, TABLE, g[RANK], 0)]
        right = b[place(i, g, TABLE, g[RANK], 1)]
        y[i] = arithmetic(g[CODE], left, right, p)


@cuda.jit(device=True)
def arithmetic(code: Any, a: Any, b: Any, p: Any) -> Any:
    """One operation on two numbers."""
    if code == ADD:
        return a + b
    if code == SUB:
        return a - b
    if code == MUL:
        return a * b
    if code == DIV:
        return a / b
    if code == MAX:
        return larger(a, b)
    if code == MIN:
        return smaller(a, b)
    if code == PRELU:
        return b * a if a < p.dtype.type(0) else a
    if code == SCALED:
        return a / p[SCALE]
    return power(a, b)


def _binary(code: int, y: Value, a: Value, b: Value, scale: float = 1.0) -> Launch:
    shape = sizes(y)
    strides = (broadcast_strides(sizes(v), shape) for v in (a, b))
    rank, numbers = table(shape, *strides)
    return float_launch(binary, (y, a, b), (count_of(y), code, rank, *numbers), {SCALE: scale})


def bind_function(node: Node) -> Bound:
    """An op of one operand: one launch."""
    reason = not_computed(node)
    simple = FUNCTIONS.get(type(node.op))
    code = activation_code(node.op) if simple is None else (simple, {})
    if reason is not None or code is None:
        return reason or "no kernel for these parameters"
    y, x = node.result, required(node, 0)
    return [float_launch(unary, (y, x), (count_of(y), code[0]), code[1])]


def bind_arithmetic(node: Node) -> Bound:
    """Broadcast arithmetic: one launch for each operand after the first."""
    reason = not_computed(node)
    if reason is not None:
        return reason
    y, operands = node.result, [v for v in node.operands if v is not None]
    code = _BINARY[type(node.op)]
    if len(operands) == 1:
        return [float_launch(unary, (y, operands[0]), (count_of(y), 0))]
    launches = [_binary(code, y, operands[0], operands[1])]
    launches += [_binary(code, y, y, operand) for operand in operands[2:]]
    if isinstance(node.op, elementwise.Mean):
        launches.append(_binary(SCALED, y, y, y, float(len(operands))))
    return launches


def bind_clip(node: Node) -> Bound:
    """Clip: a maximum, then a minimum."""
    reason = not_computed(node)
    if reason is not None:
        return reason
    y, x, low, high = node.result, required(node, 0), node.operand(1), node.operand(2)
    launches = [float_launch(unary, (y, x), (count_of(y), 0))]
    launches += [_bound(MAX, y, low)] if low is not None else []
    launches += [_bound(MIN, y, high)] if high is not None else []
    return launches


def _bound(code: int, y: Value, bound: Value) -> Launch:
    """y = max(y, bound) or min(y, bound), of one number whatever its rank."""
    rank, numbers = table((count_of(y),), (1,), (0,))
    return float_launch(binary, (y, y, bound), (count_of(y), code, rank, *numbers))


BINDERS: dict[type, Binder] = {
    **dict.fromkeys((*ACTIVATIONS, *FUNCTIONS, Clamp), bind_function),
    **dict.fromkeys(_BINARY, bind_arithmetic),
    Clip: bind_clip,
}
