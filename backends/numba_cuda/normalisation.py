"""Softmax, batch normalisation and local response normalisation."""

from __future__ import annotations

from math import inf, prod
from typing import Any

from irconv.backends.numba_cuda.device import cuda
from irconv.backends.numba_cuda.elementary import exp, larger, log, power, sqrt
from irconv.backends.numba_cuda.launch import (
    Binder,
    Bound,
    count_of,
    float_launch,
    not_computed,
    required,
    sizes,
)
from irconv.backends.numba_cuda.slots import (
    AFTER,
    ALPHA,
    BEFORE,
    BETA,
    COUNT,
    LENGTH,
    NEIGHBOURS,
    THIRD,
)
from irconv.graph import Node
from irconv.ops.norm import LRN, BatchNormalization
from irconv.ops.softmax import LogSoftmax, Softmax

_LOWEST = -inf
_LOG = 3  # slot: whether the logarithm of softmax is asked for


@cuda.jit
def softmax(y: Any, x: Any, g: Any, p: Any) -> None:
    """exp(x - max) / sum along one axis, or its logarithm; a thread takes whole vectors."""
    length, after = g[LENGTH], g[AFTER]
    for i in range(cuda.grid(1), g[COUNT], cuda.gridsize(1)):
        first = i // after * length * after + i % after
        largest = p.dtype.type(_LOWEST)
        for k in range(length):
            largest = larger(x[first + k * after], largest)
        total = p.dtype.type(0)
        for k in range(length):
            total += exp(x[first + k * after] - largest)
        for k in range(length):
            shifted = x[first + k * after] - largest
            y[first + k * after] = shifted - log(total) if g[_LOG] else exp(shifted) / total


@cuda.jit
def batch_norm(y: Any, x: Any, scale: Any, b: Any, mean: Any, var: Any, g: Any, p: Any) -> None:
    """y = (x - mean) / sqrt(var + epsilon) * scale + b, by channel."""
    for i in range(cuda.grid(1), g[COUNT], cuda.gridsize(1)):
        c = i // g[AFTER] % g[LENGTH]
        y[i] = (x[i] - mean[c]) / sqrt(var[c] + p[ALPHA]) * scale[c] + b[c]


@cuda.jit
def local_response(y: Any, x: Any, g: Any, p: Any) -> None:
    """y = x / (bias + alpha / size * the sum of squares over neighbouring channels) ^ beta."""
    after, channels = g[AFTER], g[LENGTH]
    for i in range(cuda.grid(1), g[COUNT], cuda.gridsize(1)):
        c = i // after % channels
        total = p.dtype.type(0)
        for k in range(g[NEIGHBOURS]):
            neighbour = c - g[BEFORE] + k
            if 0 <= neighbour < channels:
                v = x[i + (neighbour - c) * after]
                total += v * v
        y[i] = x[i] / power(p[THIRD] + p[ALPHA] * total, p[BETA])


def bind_softmax(node: Node) -> Bound:
    """Softmax and LogSoftmax: one launch."""
    op = node.op
    assert isinstance(op, Softmax)
    reason = not_computed(node)
    if reason is not None:
        return reason
    shape = sizes(node.result)
    axis = op.axis % len(shape)
    length, after = shape[axis], prod(shape[axis + 1 :])
    logarithm = int(isinstance(op, LogSoftmax))
    row = (prod(shape[:axis]) * after, length, after, logarithm)
    return [float_launch(softmax, (node.result, required(node, 0)), row)]


def bind_batch_norm(node: Node) -> Bound:
    """BatchNormalization: one launch."""
    op = node.op
    assert isinstance(op, BatchNormalization)
    reason = not_computed(node)
    if reason is not None:
        return reason
    shape = sizes(node.result)
    channels = shape[1] if len(shape) > 1 else 1
    row = (count_of(node.result), channels, prod(shape[2:]) if len(shape) > 1 else prod(shape))
    values = (node.result, *(required(node, i) for i in range(5)))
    return [float_launch(batch_norm, values, row, {ALPHA: op.epsilon})]


def bind_local_response(node: Node) -> Bound:
    """LRN: one launch."""
    op = node.op
    assert isinstance(op, LRN)
    reason = not_computed(node)
    if reason is not None:
        return reason
    shape = sizes(node.result)
    row = (count_of(node.result), shape[1], prod(shape[2:]), (op.size - 1) // 2, op.size)
    parameters = {ALPHA: op.alpha / op.size, BETA: op.beta, THIRD: op.bias}
    return [float_launch(local_response, (node.result, required(node, 0)), row, parameters)]


BINDERS: dict[type, Binder] = {
    Softmax: bind_softmax,
    LogSoftmax: bind_softmax,
    BatchNormalization: bind_batch_norm,
    LRN: bind_local_response,
}
