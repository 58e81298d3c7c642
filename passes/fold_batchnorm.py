"""Folds batch normalization, and constant scales and shifts, into the weights of a convolution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from irconv.channels import channel_vector
from irconv.graph import Graph, Node, Value
from irconv.ops.conv import Conv, ConvTranspose
from irconv.ops.elementwise import Add, Mul
from irconv.ops.linear import Gemm, MatMul
from irconv.ops.norm import BatchNormalization
from irconv.passes.affine import (
    Affine,
    affine_of,
    after_batchnorm,
    after_product,
    before_conv,
    shift_through,
)
from irconv.passes.products import sharing
from irconv.pipeline import Pass
from irconv.rewrite import Rewriter, rule
from irconv.types import Array


@dataclass(frozen=True)
class FoldBatchnorm(Pass):
    """Folds batch normalization, and constant scales and shifts, into the weights of a convolution.

    Into the Conv, ConvTranspose, Gemm or MatMul before it; else into the Conv after it, where no
    zero padding mixes with the shift. A scale or shift after a batch normalization becomes part of
    it. Computed in float64, rounded once. Weights that others share are copied. What has no such
    neighbour stays as it is.
    """

    def run(self, graph: Graph, rewriter: Rewriter) -> None:
        rewriter.apply([batchnorm_after, scale_after, shift_after, batchnorm_before])


@rule(BatchNormalization)
def batchnorm_after(node: Node, rewriter: Rewriter) -> Value | None:
    """batchnorm(conv(x, w) + b) => conv(x, a*w) + (a*b + c)."""
    product = _product(node.operand(0))
    if product is None:
        if not any(isinstance(user.op, Conv | ConvTranspose) for user in node.result.users):
            rewriter.declined(node, "no convolution or product stands before or after it")
        return None
    affine = affine_of(node)
    if isinstance(affine, str):
        return rewriter.declined(node, affine)
    return _fold_into(product, affine, rewriter)


@rule(Mul)
def scale_after(node: Node, rewriter: Rewriter) -> Value | None:
    """(conv(x, w) + b) * a => conv(x, a*w) + a*b, for a constant a of one number per channel."""
    found = _product_and_vector(node, rewriter)
    return _fold_into(found[0], Affine.scaling(found[1]), rewriter) if found else None


@rule(Add)
def shift_after(node: Node, rewriter: Rewriter) -> Value | None:
    """(conv(x, w) + b) + c => conv(x, w) + (b + c), for a constant c of one number per channel."""
    found = _product_and_vector(node, rewriter)
    return _fold_into(found[0], Affine.shifting(found[1]), rewriter) if found else None


def _product(value: Value | None) -> Node | None:
    node = value.producer if value is not None else None
    known = (Conv, ConvTranspose, Gemm, MatMul, BatchNormalization)
    return node if node is not None and isinstance(node.op, known) else None


def _product_and_vector(node: Node, rewriter: Rewriter) -> tuple[Node, Array] | None:
    """The product and the constant per channel that `node` takes."""
    for value, other in (node.operands, node.operands[::-1]):
        product = _product(value)
        if product is None or other is None or other.array is None:
            continue
        kind = product.result.tensor_type
        channels = kind.shape[1] if kind.rank > 1 else None
        vector = (
            channel_vector(other.array, kind.rank, channels) if isinstance(channels, int) else None
        )
        if vector is not None and node.result.type == kind:
            return product, vector
        rewriter.declined(product, f"{node.op.name} with a constant that is not one per channel")
    return None


def _fold_into(product: Node, affine: Affine, rewriter: Rewriter) -> Value | None:
    """The product with `affine` applied to each channel of its result, or a remark."""
    reason = sharing(product.result)
    if reason is not None:
        return rewriter.declined(product, reason)
    if isinstance(product.op, BatchNormalization):
        return _fold_into_batchnorm(product, affine, rewriter)
    folded = after_product(product, affine)
    if isinstance(folded, str):
        return rewriter.declined(product, folded)
    op, weights, bias = folded
    return rewriter.emit(
        op,
        product.operands[0],
        _parameter(rewriter, "w", weights, product.operands[1]),
        _parameter(rewriter, "b", bias, product.operand(2), like=product.operands[1]),
    )


def _fold_into_batchnorm(node: Node, affine: Affine, rewriter: Rewriter) -> Value | None:
    """The batch normalization with another scale and bias."""
    folded = after_batchnorm(node, affine)
    if isinstance(folded, str):
        return rewriter.declined(node, folded)
    x, scale, bias, mean, variance = node.operands
    return rewriter.emit(
        node.op,
        x,
        _parameter(rewriter, "scale", folded[0], scale),
        _parameter(rewriter, "bias", folded[1], bias),
        mean,
        variance,
    )


def _parameter(
    rewriter: Rewriter, name: str, array: Array, old: Value | None, like: Value | None = None
) -> Value | None:
    """A parameter that holds `array`: the old one if it does already, none for a bias of zeros."""
    if old is not None and old.array is not None and np.array_equal(old.array, array):
        return old
    if old is None and not array.any():
        return None
    model = old if old is not None else like
    return rewriter.constant(array, name, trainable=model is not None and model.trainable)


@rule(Conv, ConvTranspose)
def batchnorm_before(node: Node, rewriter: Rewriter) -> Value | None:
    """conv(batchnorm(x), w) + b => conv(x, a*w) + (b + w*c), where padding cannot see the shift."""
    x, w = node.operands[:2]
    batchnorm = x.producer if x is not None else None
    if batchnorm is None or not isinstance(batchnorm.op, BatchNormalization) or w is None:
        return None
    assert x is not None
    affine = affine_of(batchnorm)
    reason = sharing(x) or (affine if isinstance(affine, str) else shift_through(node, affine))
    if reason is not None or isinstance(affine, str):
        return rewriter.declined(batchnorm, str(reason))
    folded = before_conv(node, affine)
    if isinstance(folded, str):
        return rewriter.declined(batchnorm, folded)
    weights, bias = folded
    return rewriter.emit(
        node.op,
        batchnorm.operands[0],
        _parameter(rewriter, "w", weights, w),
        _parameter(rewriter, "b", bias, node.operand(2), like=w),
    )
