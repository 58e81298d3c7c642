"""Binds convolutions, fused or not, and transposed ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from irconv.backends.numba_cpu import slots, steps
from irconv.backends.numba_cpu.binders.epilogue import epilogue
from irconv.backends.numba_cpu.binders.kind import Binder, float_type, operand, shape_of, source
from irconv.backends.numba_cpu.launch import Launch, engine
from irconv.geometry import ConvGeometry
from irconv.graph import Node, Value
from irconv.op import Op
from irconv.ops.conv import Conv, ConvTranspose
from irconv.ops.fused import FusedConv
from irconv.ops.im2col import Im2Col
from irconv.ops.pool import AveragePool, GlobalAveragePool, GlobalMaxPool, MaxPool
from irconv.ops.winograd import WinogradConv
from irconv.types import Array

LARGEST_RANK = 3  # spatial axes that the engine has


def bind_conv(node: Node, threads: int) -> list[Launch] | None:
    """Conv and FusedConv with constant weights."""
    op, dtype = node.op, float_type(node)
    assert isinstance(op, Conv | FusedConv)
    x, weights, bias = operand(node, 0), operand(node, 1).array, node.operand(2)
    ending = epilogue(op.activation if isinstance(op, FusedConv) else None)
    if dtype is None or weights is None or ending is None or (bias and bias.array is None):
        return None
    if op.rank > LARGEST_RANK:
        return None
    geometry = op.conv_geometry(x.tensor_type, weights.shape[0], op.group)
    pool = op.pool if isinstance(op, FusedConv) else None
    step, packed, packed_bias = _choose(
        geometry, shape_of(x)[0], dtype, threads, ending, pool, weights, bias
    )
    residual = node.operand(3)
    return [
        engine(
            step,
            X=source(x),
            WEIGHTS=packed,
            BIAS=packed_bias,
            RESIDUAL=source(residual) if residual is not None else None,
            Y=node.result,
        )
    ]


def _choose(
    geometry: ConvGeometry,
    images: int,
    dtype: np.dtype[Any],
    threads: int,
    ending: steps.Epilogue,
    pool: Op | None,
    weights: Array,
    bias: Value | None,
) -> tuple[steps.Step, Array, Array | None]:
    plain_bias = bias.array if bias is not None else None
    if pool is None and geometry.in_channels == geometry.group:
        step = steps.depthwise_convolution(geometry, images, dtype, threads, ending)
        return step, np.ascontiguousarray(weights), plain_bias
    packed = steps.direct_weights(weights, geometry)
    packed_bias = steps.direct_bias(plain_bias, geometry) if plain_bias is not None else None
    if pool is None:
        step = steps.convolution(geometry, images, dtype, threads, ending)
    else:
        window = pool_window(pool, geometry.out)
        step = steps.pooled_convolution(geometry, window, images, dtype, threads, ending)
    return step, packed, packed_bias


def pool_window(pool: Op, image: tuple[int, ...]) -> steps.PoolWindow:
    """The engine's window of a pool over an image of these sizes."""
    ones, zeros = (1,) * len(image), (0,) * (2 * len(image))
    if isinstance(pool, GlobalAveragePool | GlobalMaxPool):
        kind = slots.AVERAGE if isinstance(pool, GlobalAveragePool) else slots.MAX
        return steps.PoolWindow(kind, image, ones, zeros, ones, ones)
    assert isinstance(pool, MaxPool | AveragePool)
    kind = slots.MAX
    if isinstance(pool, AveragePool):
        kind = slots.AVERAGE if pool.count_include_pad else slots.AVERAGE_INSIDE
    out = tuple(int(str(n)) for n in pool.out_sizes(image, bool(pool.ceil_mode)))
    return steps.PoolWindow(kind, pool.kernel_shape, pool.strides, pool.pads, pool.dilations, out)


def bind_conv_transpose(node: Node, threads: int) -> list[Launch] | None:
    """ConvTranspose with constant weights."""
    op, dtype = node.op, float_type(node)
    assert isinstance(op, ConvTranspose)
    x, weights, bias = operand(node, 0), operand(node, 1).array, node.operand(2)
    if dtype is None or weights is None or (bias and bias.array is None):
        return None
    if op.rank > LARGEST_RANK:
        return None
    geometry = op.conv_geometry(node.result.tensor_type, weights.shape[0], op.group)
    if geometry.out != shape_of(x)[2:]:
        return None
    step = steps.transposed_convolution(geometry, shape_of(x)[0], dtype, threads)
    packed = steps.transposed_weights(weights, geometry)
    plain_bias = source(bias) if bias is not None else None
    return [engine(step, X=source(x), WEIGHTS=packed, BIAS=plain_bias, Y=node.result)]


def bind_im2col(node: Node, threads: int) -> list[Launch] | None:
    """Im2Col."""
    op, dtype, x = node.op, float_type(node), operand(node, 0)
    assert isinstance(op, Im2Col)
    if dtype is None or op.rank > LARGEST_RANK:
        return None
    geometry = op.conv_geometry(x.tensor_type, op.group, op.group)
    step = steps.patch_matrix(geometry, shape_of(x)[0], dtype, threads)
    return [engine(step, X=source(x), Y=node.result)]


BINDERS: dict[type[Op], Binder] = {
    Conv: bind_conv,
    FusedConv: bind_conv,
    WinogradConv: bind_conv,
    ConvTranspose: bind_conv_transpose,
    Im2Col: bind_im2col,
}
