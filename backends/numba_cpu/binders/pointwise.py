"""Binds elementwise ops, batch normalisation and LRN."""

from __future__ import annotations

from math import inf, isnan, prod
from typing import Any

import numpy as np

from irconv.backends.numba_cpu.binders.epilogue import epilogue
from irconv.backends.numba_cpu.binders.kind import (
    Binder,
    float_type,
    merged,
    operand,
    result_type,
    shape_of,
    source,
    strides_of,
)
from irconv.backends.numba_cpu.launch import Launch, plain
from irconv.backends.numba_cpu.normalization import local_response, scale_shift
from irconv.backends.numba_cpu.pointwise import AXES, binary, unary
from irconv.graph import Node, Value
from irconv.op import Op
from irconv.ops import activation, elementwise, functions
from irconv.ops.fused import Clamp
from irconv.ops.norm import LRN, BatchNormalization
from irconv.ops.preact import ScaleShift
from irconv.types import Array


def bind_activation(node: Node, threads: int) -> list[Launch] | None:
    """An activation as a node of its own."""
    return _activation(node, node.op, source(operand(node, 0)))


def _activation(node: Node, op: Op | None, x: Value | Array) -> list[Launch] | None:
    found = epilogue(op)
    if found is None:
        return None
    if found.activation is None:
        return _unary(node, "clamp", x, found.low, found.high)
    return _unary(node, found.activation, x, found.alpha, found.beta)


def bind_clip(node: Node, threads: int) -> list[Launch] | None:
    """Clip with constant bounds."""
    low, high = (node.constant(i) for i in (1, 2))
    if any(v is not None and v.array is None for v in node.operands[1:]):
        return None
    least = -inf if low is None else float(low.reshape(()))
    most = inf if high is None else float(high.reshape(()))
    if isnan(least) or isnan(most):
        return None
    return _unary(node, "clamp", source(operand(node, 0)), least, most)


def _unary(
    node: Node, name: str, x: Value | Array, alpha: float = 0.0, beta: float = 0.0
) -> list[Launch] | None:
    dtype = float_type(node)
    if dtype is None:
        return None
    count = prod(shape_of(node.result))
    numbers = (count, float(alpha), float(beta))
    return [plain(name, unary(name), dtype, (node.result, x), numbers)]


FUNCTIONS: dict[type[Op], str] = {
    functions.Neg: "neg",
    functions.Abs: "absolute",
    functions.Exp: "exp",
    functions.Log: "log",
    functions.Sqrt: "sqrt",
    functions.Reciprocal: "reciprocal",
}


def bind_function(node: Node, threads: int) -> list[Launch] | None:
    """A function of one operand."""
    return _unary(node, FUNCTIONS[type(node.op)], source(operand(node, 0)))


PAIRS: dict[type[Op], str] = {
    elementwise.Add: "add",
    elementwise.Sub: "sub",
    elementwise.Mul: "mul",
    elementwise.Div: "div",
    elementwise.Pow: "power",
    elementwise.Max: "largest",
    elementwise.Min: "smallest",
    elementwise.Sum: "add",
    activation.PRelu: "sloped",
}


def bind_pair(node: Node, threads: int) -> list[Launch] | None:
    """Two operands broadcast; more are folded one after the other into the result."""
    name, dtype = PAIRS[type(node.op)], float_type(node)
    operands = [v for v in node.operands if v is not None]
    if dtype is None:
        return None
    if len(operands) == 1:
        return _unary(node, "copy", source(operands[0]))
    launches = []
    left: Value = operands[0]
    for right in operands[1:]:
        launch = _pair(node, name, dtype, left, right)
        if launch is None:
            return None
        launches.append(launch)
        left = node.result
    return launches


def _pair(node: Node, name: str, dtype: np.dtype[Any], a: Value, b: Value) -> Launch | None:
    shape = shape_of(node.result)
    axes = merged(
        shape,
        strides_of(shape),
        _broadcast_strides(shape_of(a), len(shape)),
        _broadcast_strides(shape_of(b), len(shape)),
        axes=AXES,
    )
    # a partial result is dense in the shape of the whole: its strides are the result's
    if axes is None or (a is node.result and shape_of(a) != shape):
        return None
    sizes, _, steps_a, steps_b = axes
    sources = (node.result, source(a), source(b))
    return plain(name, binary(name), dtype, sources, (*sizes, *steps_a, *steps_b))


def _broadcast_strides(shape: tuple[int, ...], rank: int) -> list[int]:
    steps = [0 if size == 1 else step for size, step in zip(shape, strides_of(shape), strict=True)]
    return [0] * (rank - len(shape)) + steps


def bind_batch_normalization(node: Node, threads: int) -> list[Launch] | None:
    """Batch normalisation with constant statistics: scale and shift per channel."""
    op, dtype = node.op, float_type(node)
    assert isinstance(op, BatchNormalization)
    parts = [node.constant(i) for i in range(1, 5)]
    x = operand(node, 0)
    if dtype is None or any(p is None for p in parts) or len(x.shape) < 2:
        return None
    scale, bias, mean, var = (np.asarray(p, np.float64) for p in parts)
    with np.errstate(all="ignore"):
        factor = (scale / np.sqrt(var + op.epsilon)).astype(dtype)
        shift = (bias - mean * (scale / np.sqrt(var + op.epsilon))).astype(dtype)
    return [_scale_shift(node, dtype, factor, shift)]


def bind_scale_shift(node: Node, threads: int) -> list[Launch] | None:
    """Scale and shift per channel, then the activation in place."""
    op, dtype = node.op, float_type(node)
    assert isinstance(op, ScaleShift)
    if dtype is None:
        return None
    first = _scale_shift(node, dtype, *(source(operand(node, i)) for i in (1, 2)))
    if op.activation is None:
        return [first]
    then = _activation(node, op.activation, node.result)
    return None if then is None else [first, *then]


def _scale_shift(
    node: Node, dtype: np.dtype[Any], scale: Value | Array, shift: Value | Array
) -> Launch:
    images, channels, *spatial = shape_of(node.result)
    sources = (node.result, source(operand(node, 0)), scale, shift)
    return plain("scale_shift", scale_shift, dtype, sources, (images, channels, prod(spatial)))


def bind_lrn(node: Node, threads: int) -> list[Launch] | None:
    """LRN."""
    op, dtype, x = node.op, result_type(node), operand(node, 0)
    assert isinstance(op, LRN)
    if dtype is None:
        return None
    images, channels, *spatial = shape_of(x)
    before = (op.size - 1) // 2
    numbers = (
        images,
        channels,
        prod(spatial),
        before,
        op.size - 1 - before,
        float(op.alpha / op.size),
        float(op.beta),
        float(op.bias),
    )
    return [plain("local_response", local_response, dtype, (node.result, source(x)), numbers)]


BINDERS: dict[type[Op], Binder] = {
    **dict.fromkeys(activation.ACTIVATIONS, bind_activation),
    **dict.fromkeys(FUNCTIONS, bind_function),
    **dict.fromkeys(PAIRS, bind_pair),
    Clamp: bind_activation,
    activation.Clip: bind_clip,
    BatchNormalization: bind_batch_normalization,
    ScaleShift: bind_scale_shift,
    LRN: bind_lrn,
}
