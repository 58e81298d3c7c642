"""For each op, which elements of its operands an element of its result reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from irconv.errors import UsageError, printable
from irconv.graph import Node
from irconv.matrix import SharedMatrix
from irconv.op import Op
from irconv.ops.activation import Clip, PRelu
from irconv.ops.cast import Cast, CastLike
from irconv.ops.conv import Conv, ConvTranspose
from irconv.ops.elementwise import Pow, Where
from irconv.ops.fused import Clamp, FusedConv, FusedMatMul
from irconv.ops.identity import Identity
from irconv.ops.linear import Gemm, MatMul
from irconv.ops.norm import (
    LRN,
    BatchNormalization,
    GroupNormalization,
    InstanceNormalization,
    LayerNormalization,
    LpNormalization,
    MeanVarianceNormalization,
    RMSNormalization,
)
from irconv.ops.pair import ConvPair
from irconv.ops.pool import (
    AveragePool,
    GlobalAveragePool,
    GlobalLpPool,
    GlobalMaxPool,
    LpPool,
    MaxPool,
)
from irconv.ops.preact import PreactConv, ScaleShift
from irconv.ops.reduce import (
    ReduceL1,
    ReduceL2,
    ReduceLogSum,
    ReduceLogSumExp,
    ReduceMax,
    ReduceMean,
    ReduceMin,
    ReduceProd,
    ReduceSum,
    ReduceSumSquare,
)
from irconv.ops.shape import Shape, Size
from irconv.ops.softmax import Softmax
from irconv.ops.sparse import SparseMatMul
from irconv.pointwise import Broadcasting, Unary
from irconv.types import MatrixType
from irconv.views.moves import MOVES, RESHAPES, constant, known_shape, moved_numbers, shape_of
from irconv.window import Windowed

Mask: TypeAlias = "npt.NDArray[np.bool_]"
# for each operand of a node, the elements that were read; None where no element was
Pulled: TypeAlias = "list[Mask | None]"

GLOBAL_POOLS = (GlobalAveragePool, GlobalMaxPool, GlobalLpPool)
POOLS = (MaxPool, AveragePool, LpPool)
REDUCTIONS = (
    ReduceL1,
    ReduceL2,
    ReduceLogSum,
    ReduceLogSumExp,
    ReduceMax,
    ReduceMean,
    ReduceMin,
    ReduceProd,
    ReduceSum,
    ReduceSumSquare,
)
# Unary in form, but each element reads others too
_NOT_POINTWISE = (*GLOBAL_POOLS, Softmax, LRN, LpNormalization, MeanVarianceNormalization)
_POINTWISE = (
    Unary,
    Broadcasting,
    Where,
    Pow,
    PRelu,
    Clip,
    Clamp,
    Identity,
    Cast,
    CastLike,
)


def is_pointwise(op: Op) -> bool:
    """Whether each element of the result reads one element of each operand (broadcast)."""
    return isinstance(op, _POINTWISE) and not isinstance(op, _NOT_POINTWISE)


# -- windows -------------------------------------------------------------------------------------


def window_read(op: Windowed, mask: Mask, image: Sequence[int]) -> Mask:
    """Of a result mask [..., *out], the pixels [..., *image] that its windows read."""
    out = mask.shape[mask.ndim - op.rank :]
    spans = [
        max((o - 1) * s + d * (k - 1) + 1, size + sum(pads)) if o else size + sum(pads)
        for o, s, d, k, size, pads in zip(
            out, op.strides, op.dilations, op.kernel_shape, image, op.pad_pairs, strict=True
        )
    ]
    padded = np.zeros((*mask.shape[: mask.ndim - op.rank], *spans), np.bool_)
    for view in op.taps(padded, tuple(out)):
        view |= mask
    inside: list[Any] = [slice(p, p + n) for (p, _), n in zip(op.pad_pairs, image, strict=True)]
    return padded[(..., *inside)]


def _window_spread(op: ConvTranspose, mask: Mask, image: Sequence[int]) -> Mask:
    """Of a result mask [..., *out] of a transposed convolution, the pixels that it reads."""
    full = [int(str(size)) for size in op.full_sizes(image)]
    leading = mask.shape[: mask.ndim - op.rank]
    padded = np.zeros((*leading, *full), np.bool_)
    sizes = zip(full, op.pad_pairs, strict=True)
    inside: list[Any] = [slice(a, size - b) for size, (a, b) in sizes]
    padded[(..., *inside)] = mask
    return reduce(np.logical_or, op.taps(padded, tuple(image)))


def _through_groups(mask: Mask, group: int, channels: int, spread: Callable[[Mask], Mask]) -> Mask:
    """Channels of one group read all channels of the same group."""
    grouped = _any(mask.reshape(len(mask), group, -1, *mask.shape[2:]), [2])[:, :, 0]
    read = spread(grouped)
    return np.repeat(read, channels // group, axis=1)


def _conv(node: Node, index: int, mask: Mask) -> Pulled:
    assert isinstance(node.op, Conv)
    return [_conv_image(node.op, node.op.group, mask, shape_of(node, 0))]


def _conv_image(op: Windowed, group: int, mask: Mask, shape: Sequence[int]) -> Mask:
    return _through_groups(mask, group, shape[1], lambda m: window_read(op, m, shape[2:]))


def _conv_transpose(node: Node, index: int, mask: Mask) -> Pulled:
    op, shape = node.op, shape_of(node, 0)
    assert isinstance(op, ConvTranspose)
    return [_through_groups(mask, op.group, shape[1], lambda m: _window_spread(op, m, shape[2:]))]


def _fused_conv(node: Node, index: int, mask: Mask) -> Pulled:
    assert isinstance(node.op, FusedConv)
    before = _before_pool(node.op, mask, shape_of(node, 0))
    residual = [None, None, before] if node.operand(3) is not None else []
    return [_conv_image(node.op, node.op.group, before, shape_of(node, 0)), *residual]


def _before_pool(op: FusedConv, mask: Mask, image: Sequence[int]) -> Mask:
    out = tuple(int(str(size)) for size in op.out_sizes(image[2:]))
    if isinstance(op.pool, Windowed):
        return window_read(op.pool, mask, out)
    return mask if op.pool is None else np.broadcast_to(mask, (*mask.shape[:2], *out))


def _conv_pair(node: Node, index: int, mask: Mask) -> Pulled:
    op, shape = node.op, shape_of(node, 0)
    assert isinstance(op, ConvPair)
    middle = op.between([None if v is None else v.type for v in node.operands])
    sizes = tuple(int(str(size)) for size in middle.shape)
    outer = _before_pool(op.second, mask, sizes)
    inner = _conv_image(op.second, op.second.group, outer, sizes)
    residual = [None, None, None, None, outer] if node.operand(5) is not None else []
    return [_conv_image(op.first, op.first.group, inner, shape), *residual]


def _preact_conv(node: Node, index: int, mask: Mask) -> Pulled:
    assert isinstance(node.op, PreactConv)
    before = _before_pool(node.op.conv, mask, shape_of(node, 0))
    image = _conv_image(node.op.conv, node.op.conv.group, before, shape_of(node, 0))
    return [image, *([None, None, None, None, before] if node.operand(5) is not None else [])]


def _pool(node: Node, index: int, mask: Mask) -> Pulled:
    assert isinstance(node.op, Windowed)
    return [window_read(node.op, mask, shape_of(node, 0)[2:])]


# -- element by element, along axes ---------------------------------------------------------------


def unbroadcast(mask: Mask, shape: Sequence[int]) -> Mask:
    """The elements of an operand of `shape` that its broadcast elements in `mask` are."""
    extra = mask.ndim - len(shape)
    summed = np.logical_or.reduce(mask, axis=tuple(range(extra)))
    return _any(summed, [i for i, size in enumerate(shape) if size == 1])


def _any(mask: Mask, axes: Iterable[int]) -> Mask:
    """Whether any is, along `axes`, whose sizes are 1 then."""
    return np.logical_or.reduce(mask, axis=tuple(axes), keepdims=True)


def _pointwise(node: Node, index: int, mask: Mask) -> Pulled:
    return [
        None if v is None or v.is_parameter else unbroadcast(mask, known_shape(v))
        for v in node.operands
    ]


def _same(node: Node, index: int, mask: Mask) -> Pulled:
    return [mask]


def _along(axes: Sequence[int], mask: Mask) -> Mask:
    """Each element reads all that differ from it along `axes` only."""
    return np.broadcast_to(_any(mask, axes), mask.shape)


def _softmax(node: Node, index: int, mask: Mask) -> Pulled:
    assert isinstance(node.op, Softmax | LpNormalization)
    return [_along([node.op.axis], mask)]


def _instance(node: Node, index: int, mask: Mask) -> Pulled:
    return [_along(range(2, mask.ndim), mask)]


def _layer_norm(node: Node, index: int, mask: Mask) -> Pulled:
    """Normalised over the axes from `axis` on; the mean and the deviation have 1 there."""
    assert isinstance(node.op, LayerNormalization | RMSNormalization)
    shape = shape_of(node, 0)
    axes = range(node.op.axis % len(shape), len(shape))
    return [np.broadcast_to(_any(mask, axes), shape)]


def _group_norm(node: Node, index: int, mask: Mask) -> Pulled:
    assert isinstance(node.op, GroupNormalization)
    grouped = mask.reshape(len(mask), node.op.num_groups, -1)
    return [np.broadcast_to(_any(grouped, [2]), grouped.shape).reshape(mask.shape)]


def _lrn(node: Node, index: int, mask: Mask) -> Pulled:
    assert isinstance(node.op, LRN)
    before, size = (node.op.size - 1) // 2, node.op.size
    channels = mask.shape[1]
    padded = np.zeros((mask.shape[0], channels + size - 1, *mask.shape[2:]), np.bool_)
    for tap in range(size):
        padded[:, tap : tap + channels] |= mask
    return [padded[:, before : before + channels]]


def _global_pool(node: Node, index: int, mask: Mask) -> Pulled:
    return [np.broadcast_to(mask, shape_of(node, 0))]


def _reduction(node: Node, index: int, mask: Mask) -> Pulled:
    assert isinstance(node.op, REDUCTIONS)
    shape = shape_of(node, 0)
    axes = node.op._axes(constant(node, 1), len(shape))
    kept = mask.reshape([1 if i in axes else size for i, size in enumerate(shape)])
    return [np.broadcast_to(kept, shape), None]


# -- products ------------------------------------------------------------------------------------


def _product(node: Node, index: int, mask: Mask) -> Pulled:
    """A row of the result reads the row of `a`; what else is an operand is broadcast to it."""
    turned = bool(getattr(node.op, "transA", 0)), bool(getattr(node.op, "transB", 0))
    a, b = shape_of(node, 0), shape_of(node, 1)
    if min(len(a), len(b)) < 2:
        raise UsageError("a product with a vector has no receptive field here")
    left = _product_side(_any(mask, [-1]), a, turned[0])
    right = _product_side(_any(mask, [-2]), b, turned[1])
    others = [unbroadcast(mask, known_shape(v)) if v else None for v in node.operands[2:]]
    return [left, right, *others]


def _product_side(mask: Mask, shape: Sequence[int], turned: bool) -> Mask:
    mask = mask.swapaxes(-1, -2) if turned else mask
    full = np.broadcast_shapes(mask.shape, tuple(shape))
    return unbroadcast(np.broadcast_to(mask, full), shape)


def _sparse(node: Node, index: int, mask: Mask) -> Pulled:
    operand = node.operand(0)
    assert operand is not None
    kind = operand.type
    assert isinstance(kind, MatrixType)
    ones = np.ones(kind.geometry.weights_shape, np.float32)
    matrix = SharedMatrix.of(kind.geometry, ones, not kind.transposed)
    read = matrix.matmul(mask.astype(np.float32)) > 0
    return [None, read, None, mask if node.operand(3) is not None else None]


# -- elements that move --------------------------------------------------------------------------


def _reshaped(node: Node, index: int, mask: Mask) -> Pulled:
    return [mask.reshape(shape_of(node, 0)), *[None] * (len(node.operands) - 1)]


def _moved(node: Node, index: int, mask: Mask) -> Pulled:
    results, firsts = moved_numbers(node)
    pulled: Pulled = [None] * len(node.operands)
    for i, first in firsts.items():
        read = np.zeros(int(np.prod(shape_of(node, i))) + 1, np.bool_)
        numbers = results[index][mask] - first + 1
        read[np.where((numbers > 0) & (numbers < len(read)), numbers, 0)] = True
        pulled[i] = read[1:].reshape(shape_of(node, i))
    return pulled


def _nothing(node: Node, index: int, mask: Mask) -> Pulled:
    return [None] * len(node.operands)


_RULES: tuple[tuple[Any, Callable[[Node, int, Mask], Pulled]], ...] = (
    (FusedConv, _fused_conv),
    (Conv, _conv),
    (ConvTranspose, _conv_transpose),
    (ConvPair, _conv_pair),
    (PreactConv, _preact_conv),
    (POOLS, _pool),
    (GLOBAL_POOLS, _global_pool),
    ((Softmax, LpNormalization), _softmax),
    (LRN, _lrn),
    ((BatchNormalization, ScaleShift), _same),
    (InstanceNormalization, _instance),
    ((LayerNormalization, RMSNormalization), _layer_norm),
    (GroupNormalization, _group_norm),
    (REDUCTIONS, _reduction),
    ((MatMul, Gemm, FusedMatMul), _product),
    (SparseMatMul, _sparse),
    (RESHAPES, _reshaped),
    (MOVES, _moved),
    ((Shape, Size), _nothing),
    (_POINTWISE, _pointwise),
)


def pull(node: Node, index: int, mask: Mask) -> Pulled:
    """The elements of each operand that the elements in `mask` of result `index` read."""
    for classes, rule in _RULES:
        if isinstance(node.op, classes) and (classes is not _POINTWISE or is_pointwise(node.op)):
            pulled = rule(node, index, mask)
            _check_constant(node, pulled)
            return pulled
    raise UsageError(
        f"what {node.op.name} reads is not known to the receptive field",
        where=f"%{printable(node.name)}",
        hint="choose a node before it",
    )


def _check_constant(node: Node, pulled: Pulled) -> None:
    """A rule that speaks of some operands only needs the others to be constant."""
    for operand in node.operands[len(pulled) :]:
        varies = operand is not None and not operand.is_parameter
        if varies and not isinstance(operand and operand.type, MatrixType):
            raise UsageError(
                f"{node.op.name} has an operand that is computed",
                where=f"%{printable(node.name)}",
                hint="choose a node before it, or fold constants first",
            )
