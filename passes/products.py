"""What takes an epilogue: convolutions and matrix products, and the fused ops they become."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from irconv.graph import Node, Value
from irconv.op import Op
from irconv.ops.conv import Conv, ConvTranspose
from irconv.ops.fused import FusedConv, FusedMatMul
from irconv.ops.linear import Gemm, MatMul
from irconv.rewrite import Rewriter
from irconv.types import DTYPES, dtype_name

CONVOLUTIONS = (Conv, FusedConv)
PRODUCTS = (*CONVOLUTIONS, Gemm, MatMul, FusedMatMul)

_COUNTS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def product_behind(value: Value | None) -> Node | None:
    """The node that makes `value`, if it is a convolution or a matrix product."""
    node = value.producer if value is not None else None
    known = (*PRODUCTS, ConvTranspose)
    return node if node is not None and isinstance(node.op, known) else None


def refusal(node: Node) -> str | None:
    """Why nothing is fused into this product, None where it may be."""
    if isinstance(node.op, ConvTranspose):
        return "a transposed convolution has no fused form"
    dtype = node.result.tensor_type.dtype
    if dtype not in (DTYPES["f32"], DTYPES["f64"]):
        return f"its element type is {dtype_name(dtype)}, fused nodes compute in f32 or f64"
    return sharing(node.result) or _form_refusal(node)


def sharing(value: Value) -> str | None:
    """Why `value` cannot vanish into its user: it is an output, or something else uses it too."""
    if value.is_output:
        return "its result is a graph output"
    users = value.users
    if len(users) > 1:
        count = _COUNTS[len(users)] if len(users) < len(_COUNTS) else str(len(users))
        return f"its result has {count} users"
    return "its only user takes it twice" if len(value.uses) > 1 else None


def _form_refusal(node: Node) -> str | None:
    if isinstance(node.op, CONVOLUTIONS):
        return None
    if isinstance(node.op, Gemm) and node.op.alpha != 1:
        return "its alpha is not 1"
    if isinstance(node.op, Gemm) and node.op.beta != 1 and node.operand(2) is not None:
        return "its beta is not 1"
    factors = [v for v in node.operands[:2] if v is not None]
    if any(v.tensor_type.rank < 2 for v in factors):
        return "an operand is a vector, fused products take matrices"
    if not any(v.is_parameter for v in factors):
        return "its weights are not constant"
    return None


def fused_form(op: Op) -> FusedConv | FusedMatMul:
    """The fused op that means the same, nothing fused into it yet; a fused op itself."""
    match op:
        case Conv():
            return FusedConv(op.kernel_shape, op.strides, op.pads, op.dilations, op.group)
        case Gemm():
            return FusedMatMul(bool(op.transA), bool(op.transB))
        case MatMul():
            return FusedMatMul()
        case FusedConv() | FusedMatMul():
            return op
    raise TypeError(f"{op.name} has no fused form")


def pool_of(node: Node) -> Op | None:
    """The pool that is fused into a product already."""
    return node.op.pool if isinstance(node.op, FusedConv) else None


def activation_of(node: Node) -> Op | None:
    """The activation that is fused into a product already."""
    return node.op.activation if isinstance(node.op, FusedConv | FusedMatMul) else None


def emit_fused(
    rewriter: Rewriter,
    node: Node,
    *,
    bias: Value | None = None,
    residual: Value | None = None,
    **parts: Any,
) -> Value:
    """The fused form of `node` with a new bias or residual, activation or pool."""
    op = replace(fused_form(node.op), **parts)
    new_bias = bias if bias is not None else node.operand(2)
    new_residual = residual if residual is not None else node.operand(3)
    return rewriter.emit(op, node.operand(0), node.operand(1), new_bias, new_residual)
