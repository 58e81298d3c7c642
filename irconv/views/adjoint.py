"""Carries a signal backwards through one node: the adjoint of what the node does to its image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal, TypeAlias

import numpy as np

from irconv.errors import UsageError, printable
from irconv.graph import Node
from irconv.interpret import content
from irconv.op import Op
from irconv.ops.activation import Clip, LeakyRelu, PRelu, Relu, Sigmoid, Tanh
from irconv.ops.cast import Cast
from irconv.ops.conv import Conv, ConvTranspose, add_bias, convolve
from irconv.ops.elementwise import Add, Div, Mean, Mul, Sub, Sum
from irconv.ops.functions import Abs, Neg
from irconv.ops.fused import Clamp, FusedConv
from irconv.ops.identity import Identity
from irconv.ops.linear import Gemm, MatMul
from irconv.ops.norm import BatchNormalization, along
from irconv.ops.pool import AveragePool, GlobalAveragePool, GlobalMaxPool, MaxPool
from irconv.types import Array
from irconv.views.moves import MOVES, RESHAPES, moved_numbers
from irconv.window import Windowed

Rule: TypeAlias = Literal["deconvnet", "gradient", "guided"]
# for each operand the signal that comes back to it; None where none does
Signals: TypeAlias = "list[Array | None]"

_RECTIFIERS = (Relu, Clamp, Clip)


def back(
    node: Node, operands: Sequence[Array | None], index: int, signal: Array, rule: Rule
) -> Signals:
    """The signal at each operand, from the signal at result `index`.

    `operands` are the arrays that the node was run on (float64). Layers that are linear in their
    image go back by their adjoint: the transposed filters, a mean spread evenly, a sum to each of
    its terms. A max pool goes back to the place of its maximum, its switch. At a rectifier the
    rules differ: "deconvnet" rectifies the signal (Zeiler and Fergus, Visualizing and Understanding
    Convolutional Networks, ECCV 2014, section 2.1), "gradient" lets pass what the activation let
    pass, "guided" both (Springenberg et al., Striving for Simplicity, ICLR workshop 2015). Other
    activations go back by their derivative. UsageError for an op that none of this describes.
    """
    for classes, carry in _RULES:
        if isinstance(node.op, classes):
            found = carry(node, operands, index, signal, rule)
            return (found + [None] * len(node.operands))[: len(node.operands)]
    raise UsageError(
        f"no signal is carried back through {node.op.name}",
        where=f"%{printable(node.name)}",
        hint="choose a node before it, such as the logits before a softmax",
    )


def _x(operands: Sequence[Array | None], index: int = 0) -> Array:
    found = operands[index]
    assert found is not None
    return found


# -- layers that are linear in their image -------------------------------------------------------


def _conv(node: Node, xs: Sequence[Array | None], i: int, signal: Array, rule: Rule) -> Signals:
    assert isinstance(node.op, Conv | FusedConv)
    return [conv_back(node.op, node.op.group, _x(xs).shape, _x(xs, 1), signal)]


def conv_back(
    op: Windowed, group: int, image: Sequence[int], weights: Array, signal: Array
) -> Array:
    """The transposed convolution: signal [N, O, *out] to `image` [N, C, *spatial]."""
    sizes = zip(op.kernel_shape, op.strides, op.dilations, op.pad_pairs, strict=True)
    out = zip(signal.shape[2:], image[2:], strict=True)
    extra = []
    for (k, s, d, pads), (o, n) in zip(sizes, out, strict=True):
        extra.append(n - ((o - 1) * s + (k - 1) * d + 1 - sum(pads)))
    turned = ConvTranspose(op.kernel_shape, op.strides, op.pads, op.dilations, group, tuple(extra))
    return turned.run([signal, weights])[0]


def _conv_transpose(
    node: Node, xs: Sequence[Array | None], i: int, signal: Array, rule: Rule
) -> Signals:
    op, x = node.op, _x(xs)
    assert isinstance(op, ConvTranspose)
    plain = Conv(op.kernel_shape, op.strides, op.pads, op.dilations, op.group)
    found = convolve(plain, signal, _x(xs, 1), op.group)
    # a large output_padding leaves room for more windows than there were pixels
    inside: list[Any] = [slice(0, size) for size in x.shape[2:]]
    return [found[(..., *inside)]]


def _fused_conv(
    node: Node, xs: Sequence[Array | None], i: int, signal: Array, rule: Rule
) -> Signals:
    """Pool, activation, residual and convolution, one after the other."""
    op = node.op
    assert isinstance(op, FusedConv)
    bias, residual = [*xs[2:], None, None][:2]
    before = add_bias(convolve(op, _x(xs), _x(xs, 1), op.group), bias)
    before = before if residual is None else before + residual
    if op.pool is not None:
        active = before if op.activation is None else op.activation.run([before])[0]
        signal = _of_op(op.pool, active, signal)
    if op.activation is not None:
        signal = rectified(op.activation, before, signal, rule)
    image = conv_back(op, op.group, _x(xs).shape, _x(xs, 1), signal)
    return [image, None, None, signal if residual is not None else None]


def _of_op(pool: Op, x: Array, signal: Array) -> Array:
    if isinstance(pool, MaxPool):
        return max_pool_back(pool, x, signal)
    if isinstance(pool, AveragePool):
        return average_pool_back(pool, x.shape, signal)
    return global_back(pool, x, signal)


def _dense(node: Node, xs: Sequence[Array | None], i: int, signal: Array, rule: Rule) -> Signals:
    """Back to the factor that is not a weight."""
    op, a, b = node.op, _x(xs), _x(xs, 1)
    assert isinstance(op, Gemm | MatMul)
    if min(a.ndim, b.ndim) < 2 or max(a.ndim, b.ndim) > 2:
        raise UsageError("only matrices are carried back", where=f"%{printable(node.name)}")
    alpha, turned_a, turned_b = (
        (op.alpha, op.transA, op.transB) if isinstance(op, Gemm) else (1.0, 0, 0)
    )
    left, right = alpha * signal @ (b if turned_b else b.T), (a if turned_a else a.T) @ signal
    return [left.T if turned_a else left, alpha * (right.T if turned_b else right)]


def _batch_norm(
    node: Node, xs: Sequence[Array | None], i: int, signal: Array, rule: Rule
) -> Signals:
    assert isinstance(node.op, BatchNormalization)
    factor = _x(xs, 1) / np.sqrt(_x(xs, 4) + node.op.epsilon)
    return [signal * along(factor, signal.ndim, 1)]


def _sum(node: Node, xs: Sequence[Array | None], i: int, signal: Array, rule: Rule) -> Signals:
    factors = (1.0, -1.0) if isinstance(node.op, Sub) else (1.0,) * len(xs)
    signal = signal / len(xs) if isinstance(node.op, Mean) else signal
    return [summed_to(s * signal, _x(xs, k).shape) for k, s in enumerate(factors)]


def _product(node: Node, xs: Sequence[Array | None], i: int, signal: Array, rule: Rule) -> Signals:
    a, b = _x(xs), _x(xs, 1)
    if isinstance(node.op, Div):
        return [summed_to(signal / b, a.shape), summed_to(-signal * a / (b * b), b.shape)]
    return [summed_to(signal * b, a.shape), summed_to(signal * a, b.shape)]


def summed_to(signal: Array, shape: Sequence[int]) -> Array:
    """The adjoint of broadcasting from `shape`."""
    extra = signal.ndim - len(shape)
    total = signal.sum(tuple(range(extra))) if extra else signal
    axes = tuple(k for k, size in enumerate(shape) if size == 1 != total.shape[k])
    result: Array = total.sum(axes, keepdims=True) if axes else total
    return result


def _same(node: Node, xs: Sequence[Array | None], i: int, signal: Array, rule: Rule) -> Signals:
    return [signal]


def _negated(node: Node, xs: Sequence[Array | None], i: int, signal: Array, rule: Rule) -> Signals:
    return [-signal]


def _magnitude(
    node: Node, xs: Sequence[Array | None], i: int, signal: Array, rule: Rule
) -> Signals:
    return [signal * np.sign(_x(xs))]


def _reshaped(node: Node, xs: Sequence[Array | None], i: int, signal: Array, rule: Rule) -> Signals:
    return [signal.reshape(_x(xs).shape)]


def _moved(node: Node, xs: Sequence[Array | None], i: int, signal: Array, rule: Rule) -> Signals:
    """Each element goes back to where it came from."""
    results, firsts = moved_numbers(node)
    total = np.bincount(
        results[i].reshape(-1),
        signal.reshape(-1),
        minlength=1 + sum(_x(xs, k).size for k in firsts),
    )
    found: Signals = [None] * len(node.operands)
    for k, first in firsts.items():
        found[k] = total[first : first + _x(xs, k).size].reshape(_x(xs, k).shape)
    return found


# -- pools ---------------------------------------------------------------------------------------


def _max_pool(node: Node, xs: Sequence[Array | None], i: int, signal: Array, rule: Rule) -> Signals:
    assert isinstance(node.op, MaxPool)
    return [max_pool_back(node.op, _x(xs), signal)]


def max_pool_back(op: MaxPool, x: Array, signal: Array) -> Array:
    """Unpooling: each number goes to the place where its window's maximum was, the switch."""
    _, places = replace(op, n_outputs=2, storage_order=0).run([x])
    total = np.bincount(places.reshape(-1), signal.reshape(-1), minlength=x.size)
    return total.reshape(x.shape)


def _average_pool(
    node: Node, xs: Sequence[Array | None], i: int, signal: Array, rule: Rule
) -> Signals:
    assert isinstance(node.op, AveragePool)
    return [average_pool_back(node.op, _x(xs).shape, signal)]


def average_pool_back(op: AveragePool, shape: Sequence[int], signal: Array) -> Array:
    """Each number is shared out evenly among those that it is the mean of."""
    image = tuple(shape[2:])
    share = signal / op._counts(image)
    spans = [
        max((o - 1) * s + d * (k - 1) + 1, n + sum(pads))
        for o, s, d, k, n, pads in zip(
            signal.shape[2:], op.strides, op.dilations, op.kernel_shape, image, op.pad_pairs,
            strict=True,
        )
    ]  # fmt: skip
    padded = np.zeros((*signal.shape[:2], *spans))
    for view in op.taps(padded, signal.shape[2:]):
        view += share
    inside: list[Any] = [slice(p, p + n) for (p, _), n in zip(op.pad_pairs, image, strict=True)]
    return padded[(..., *inside)]


def _global_pool(
    node: Node, xs: Sequence[Array | None], i: int, signal: Array, rule: Rule
) -> Signals:
    return [global_back(node.op, _x(xs), signal)]


def global_back(op: Op, x: Array, signal: Array) -> Array:
    """The mean of a whole channel, or its maximum (the first of equal ones)."""
    if isinstance(op, GlobalAveragePool):
        return np.broadcast_to(signal, x.shape) / np.prod(x.shape[2:])
    flat = x.reshape(*x.shape[:2], -1)
    best = flat.argmax(-1, keepdims=True)
    found = np.zeros(flat.shape)
    np.put_along_axis(found, best, signal.reshape(best.shape), -1)
    return found.reshape(x.shape)


# -- activations ---------------------------------------------------------------------------------


def _activation(
    node: Node, xs: Sequence[Array | None], i: int, signal: Array, rule: Rule
) -> Signals:
    op = node.op
    if isinstance(op, Clip):
        bounds = [None if v is None else content(v) for v in (*node.operands[1:], None, None)[:2]]
        ends = [None if b is None else float(b.reshape(())) for b in bounds]
        low, high = (-np.inf if ends[0] is None else ends[0]), ends[1]
        return [rectified(Clamp(low, np.inf if high is None else high), _x(xs), signal, rule)]
    if isinstance(op, PRelu):
        return [signal * np.where(_x(xs) < 0, _x(xs, 1), 1.0)]
    return [rectified(op, _x(xs), signal, rule)]


def rectified(op: Op, x: Array, signal: Array, rule: Rule) -> Array:
    """Back through an activation of `x`."""
    if isinstance(op, Clamp) and op.min != 0:
        return signal * ((x > op.min) & (x < op.max))
    if not isinstance(op, _RECTIFIERS):
        return signal * _derivative(op, x)
    passed = signal if rule == "deconvnet" else signal * _let_pass(op, x)
    return passed if rule == "gradient" else np.maximum(passed, 0)


def _let_pass(op: Op, x: Array) -> Array:
    return (x > 0) & (x < op.max) if isinstance(op, Clamp) else x > 0


def _derivative(op: Op, x: Array) -> Array:
    match op:
        case Tanh():
            return 1 - np.tanh(x) ** 2
        case Sigmoid():
            y = op.run([x])[0]
            return np.asarray(y * (1 - y))
        case LeakyRelu():
            return np.where(x < 0, op.alpha, 1.0)
        case _:
            raise UsageError(
                f"no signal is carried back through {op.name}", hint="use a layer before it"
            )


Carry: TypeAlias = "Callable[[Node, Sequence[Array | None], int, Array, Rule], Signals]"

_RULES: tuple[tuple[Any, Carry], ...] = (
    (FusedConv, _fused_conv),
    (Conv, _conv),
    (ConvTranspose, _conv_transpose),
    ((Gemm, MatMul), _dense),
    (BatchNormalization, _batch_norm),
    ((Add, Sub, Sum), _sum),
    ((Mul, Div), _product),
    ((Identity, Cast), _same),
    (Neg, _negated),
    (Abs, _magnitude),
    (RESHAPES, _reshaped),
    (MOVES, _moved),
    (MaxPool, _max_pool),
    (AveragePool, _average_pool),
    ((GlobalAveragePool, GlobalMaxPool), _global_pool),
    ((Relu, LeakyRelu, PRelu, Tanh, Sigmoid, Clamp, Clip), _activation),
)
