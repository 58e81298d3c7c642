"""Lowers each convolution to its patch matrix and a matrix product."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np

from irconv.dim import known
from irconv.graph import Graph, Node, Value
from irconv.op import Op
from irconv.ops.conv import Conv, ConvTranspose
from irconv.ops.elementwise import Add
from irconv.ops.fused import FusedConv, FusedMatMul
from irconv.ops.im2col import Col2Im, Im2Col
from irconv.ops.linear import MatMul
from irconv.ops.winograd import WinogradConv
from irconv.passes.lowering import (
    SPLITS,
    TRANSFORMED,
    known_sizes,
    operand,
    reshaped,
    with_pool,
)
from irconv.pipeline import Pass
from irconv.rewrite import Rewriter, rule
from irconv.window import Windowed


@dataclass(frozen=True)
class Im2col(Pass):
    """Lowers each convolution to its patch matrix and a matrix product."""

    exact: ClassVar[bool] = True

    def run(self, graph: Graph, rewriter: Rewriter) -> None:
        rewriter.apply([*SPLITS, conv_to_product, transposed_conv_to_product])


@rule(Conv, FusedConv, WinogradConv)
def conv_to_product(node: Node, rewriter: Rewriter) -> Value | None:
    """Conv(x, w) => reshape(w) @ Im2Col(x), with bias, residual and activation as the product's
    epilogue.
    """
    op = node.op
    assert isinstance(op, Conv | FusedConv)
    if isinstance(op, WinogradConv):
        return rewriter.declined(node, TRANSFORMED)
    x, w = operand(node, 0), operand(node, 1)
    if not known_sizes(node, rewriter):
        return None
    channels, *spatial = (known(d) for d in x.shape[1:])
    out = [known(d) for d in op.out_sizes(spatial)]
    out_channels = known(w.shape[0])
    depth = channels // op.group * prod(op.kernel_shape)
    per_group = out_channels // op.group

    if is_pointwise(op):
        columns = reshaped(rewriter, x, (0, op.group, depth, prod(out)), "columns")
    else:
        columns = rewriter.emit(_patches(op), x, name="columns")
    weights = reshaped(rewriter, w, (op.group, per_group, depth), "weights")
    bias, residual = node.operand(2), node.operand(3)
    if bias is not None:
        bias = reshaped(rewriter, bias, (op.group, per_group, 1), "bias")
    if residual is not None:
        residual = reshaped(rewriter, residual, (0, op.group, per_group, prod(out)), "residual")
    activation = op.activation if isinstance(op, FusedConv) else None
    product = _product(rewriter, (weights, columns, bias, residual), activation)
    y = reshaped(rewriter, product, (0, out_channels, *out), "image")
    return with_pool(rewriter, op, y)


def is_pointwise(op: Windowed) -> bool:
    """Whether the patch matrix is the image itself: one tap, no stride, no padding."""
    return prod(op.kernel_shape) == 1 and set(op.strides) == {1} and not any(op.pads)


def _patches(op: Conv | FusedConv) -> Im2Col:
    return Im2Col(op.kernel_shape, op.strides, op.pads, op.dilations, op.group)


def _product(
    rewriter: Rewriter, operands: tuple[Value | None, ...], activation: Op | None
) -> Value:
    if activation is None and operands[2] is None and operands[3] is None:
        return rewriter.emit(MatMul(), *operands[:2], name="product")
    return rewriter.emit(FusedMatMul(activation=activation), *operands, name="product")


@rule(ConvTranspose)
def transposed_conv_to_product(node: Node, rewriter: Rewriter) -> Value | None:
    """ConvTranspose(x, w) => Col2Im(reshape(w)^T @ x): the adjoint of the patch matrix."""
    op = node.op
    assert isinstance(op, ConvTranspose)
    x, w = operand(node, 0), operand(node, 1)
    if not known_sizes(node, rewriter):
        return None
    channels, *spatial = (known(d) for d in x.shape[1:])
    image = [known(d) for d in node.result.shape[2:]]
    if list(op.out_sizes(image)) != spatial:
        return rewriter.declined(node, "output_padding is not below the stride")
    out_channels = known(w.shape[1]) * op.group
    depth = out_channels // op.group * prod(op.kernel_shape)

    pixels = reshaped(rewriter, x, (0, op.group, channels // op.group, prod(spatial)), "pixels")
    weights = reshaped(rewriter, w, (op.group, channels // op.group, depth), "weights")
    product = rewriter.emit(FusedMatMul(transA=True), weights, pixels, name="product")
    columns = reshaped(rewriter, product, (0, op.group * depth, prod(spatial)), "columns")
    sizes = rewriter.constant(np.array(image, np.int64), "image_shape")
    kernel = rewriter.constant(np.array(op.kernel_shape, np.int64), "block_shape")
    back = Col2Im(strides=op.strides, pads=op.pads, dilations=op.dilations)
    y = rewriter.emit(back, columns, sizes, kernel, name="image")
    bias = node.operand(2)
    if bias is None:
        return y
    per_channel = reshaped(rewriter, bias, (out_channels, *(1,) * len(image)), "bias")
    return rewriter.emit(Add(), y, per_channel, name="biased")
