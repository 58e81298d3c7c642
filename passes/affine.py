"""Constant scales and shifts per channel, and what they do to the weights of a product."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from irconv.channels import channel_vector
from irconv.graph import Node
from irconv.op import Op
from irconv.ops.conv import Conv, ConvTranspose
from irconv.ops.linear import Gemm, MatMul
from irconv.ops.norm import BatchNormalization
from irconv.types import DTYPES, AnyDType, Array, dtype_name

NOT_FINITE = "the folded weights are not finite"
_TYPES = (DTYPES["f32"], DTYPES["f64"])


@dataclass(frozen=True)
class Affine:
    """y = scale * x + shift, one number per channel each, in float64."""

    scale: Array
    shift: Array

    @staticmethod
    def scaling(vector: Array) -> Affine:
        return Affine(vector.astype(np.float64), np.zeros(vector.shape))

    @staticmethod
    def shifting(vector: Array) -> Affine:
        return Affine(np.ones(vector.shape), vector.astype(np.float64))


def affine_of(node: Node) -> Affine | str:
    """What a BatchNormalization does, or the condition that fails."""
    assert isinstance(node.op, BatchNormalization)
    arrays = [node.constant(i) for i in range(1, 5)]
    known = [a.astype(np.float64) for a in arrays if a is not None]
    if len(known) != 4:
        return "its scale, bias, mean and variance are not all constant"
    scale, bias, mean, variance = known
    # the epsilon that the model's own arithmetic adds
    total = variance + node.op.epsilon
    if not (total > 0).all():
        return "the variance of a channel plus epsilon is not positive"
    factor = scale / np.sqrt(total)
    return Affine(factor, bias - mean * factor)


def after_product(node: Node, affine: Affine) -> tuple[Op, Array, Array] | str:
    """(op, weights, bias) of `node` with `affine` done to its result, or why there is none."""
    weights, dtype = node.constant(1), node.result.tensor_type.dtype
    if weights is None:
        return "its weights are not constant"
    if dtype not in _TYPES:
        return f"its element type is {dtype_name(dtype)}, weights are folded in f32 or f64"
    if not isinstance(node.op, Conv | ConvTranspose) and (
        weights.ndim,
        node.result.tensor_type.rank,
    ) != (2, 2):
        return "it is not a product of two matrices"
    bias = _bias(node, len(affine.scale))
    if isinstance(bias, str):
        return bias
    op, factor = _scaled(node.op, weights, affine.scale)
    return _finite(op, weights * factor, bias * affine.scale + affine.shift, dtype)


def after_batchnorm(node: Node, affine: Affine) -> tuple[Array, Array] | str:
    """(scale, bias) of a BatchNormalization with `affine` done to its result."""
    scale, bias = node.constant(1), node.constant(2)
    if scale is None or bias is None:
        return "its scale and bias are not constant"
    if node.result.tensor_type.dtype not in _TYPES:
        return f"its element type is {dtype_name(node.result.tensor_type.dtype)}"
    shifted = bias.astype(np.float64) * affine.scale + affine.shift
    found = _finite(node.op, scale * affine.scale, shifted, scale.dtype)
    return found if isinstance(found, str) else found[1:]


def _bias(node: Node, channels: int) -> Array | str:
    """The bias of a product in float64, zeros where it has none."""
    if node.operand(2) is None:
        return np.zeros(channels)
    array = node.constant(2)
    if array is None:
        return "its bias is not constant"
    vector = channel_vector(array, 2, channels) if isinstance(node.op, Gemm) else array
    if vector is None:
        return "its bias is not one number per channel"
    beta = node.op.beta if isinstance(node.op, Gemm) else 1.0
    return vector.astype(np.float64) * beta


def _scaled(op: Op, weights: Array, scale: Array) -> tuple[Op, Array]:
    """The op, and what to multiply its weights by to scale each channel of the result."""
    match op:
        case Conv():
            return op, scale.reshape(-1, *(1,) * (weights.ndim - 1))
        case ConvTranspose():
            # w is [C, O/group, ...]; the rows of one group make that group's channels
            rows = np.repeat(scale.reshape(op.group, -1), len(weights) // op.group, axis=0)
            return op, rows.reshape(*rows.shape, *(1,) * (weights.ndim - 2))
        case Gemm():
            return replace(op, beta=1.0), scale.reshape((-1, 1) if op.transB else (1, -1))
        case MatMul():
            return Gemm(), scale.reshape(1, -1)
    raise TypeError(f"{op.name} has no weights")


def _finite(op: Op, weights: Array, bias: Array, dtype: AnyDType) -> tuple[Op, Array, Array] | str:
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = weights.astype(dtype), bias.astype(dtype)
    if not all(np.isfinite(a).all() for a in rounded):
        return NOT_FINITE
    return op, *rounded


def shift_through(node: Node, affine: Affine) -> str | None:
    """Why the shift of a batchnorm before the convolution `node` cannot pass it, or None."""
    if not affine.shift.any():
        return None
    if isinstance(node.op, ConvTranspose):
        return "the transposed convolution after it spreads its shift unevenly"
    assert isinstance(node.op, Conv)
    return "the convolution after it pads with zeros" if any(node.op.pads) else None


def before_conv(node: Node, affine: Affine) -> tuple[Array, Array] | str:
    """(weights, bias) of a convolution that does `affine` to its image itself."""
    weights, dtype = node.constant(1), node.result.tensor_type.dtype
    if weights is None:
        return "the weights of the convolution after it are not constant"
    if dtype not in _TYPES:
        return f"its element type is {dtype_name(dtype)}, weights are folded in f32 or f64"
    assert isinstance(node.op, Conv | ConvTranspose)
    bias = _bias(node, int(str(node.result.shape[1])))
    if isinstance(bias, str):
        return f"the convolution after it: {bias}"
    scaled = weights * _per_input(node.op, weights, affine.scale)
    if affine.shift.any():
        seen = weights * _per_input(node.op, weights, affine.shift)
        bias = bias + seen.reshape(len(weights), -1).sum(1)
    found = _finite(node.op, scaled, bias, dtype)
    return found if isinstance(found, str) else found[1:]


def _per_input(op: Conv | ConvTranspose, weights: Array, vector: Array) -> Array:
    """`vector` [C], shaped to multiply weights along their input channels."""
    if isinstance(op, ConvTranspose):
        return vector.reshape(-1, *(1,) * (weights.ndim - 1))
    # w is [O, C/group, ...]; the rows of one group see that group's channels
    rows = np.repeat(vector.reshape(op.group, -1), len(weights) // op.group, axis=0)
    return rows.reshape(*rows.shape, *(1,) * (weights.ndim - 2))
