"""Makes one node of a convolution or product and the bias, residual, activation, pool after it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from irconv.channels import channel_vector, rounded_sum
from irconv.errors import printable
from irconv.graph import Graph, Node, Value
from irconv.op import Op
from irconv.ops.activation import ACTIVATIONS, Clip, LeakyRelu, Relu
from irconv.ops.conv import Conv, ConvTranspose
from irconv.ops.elementwise import Add, Sum
from irconv.ops.fused import POOLS, Clamp, FusedConv, FusedMatMul
from irconv.ops.linear import Gemm, MatMul
from irconv.ops.norm import BatchNormalization
from irconv.ops.pool import MaxPool
from irconv.passes.clamps import clamp_of
from irconv.passes.pool_windows import always_sees_image, without_ceil_mode
from irconv.passes.products import (
    CONVOLUTIONS,
    activation_of,
    emit_fused,
    pool_of,
    product_behind,
    refusal,
)
from irconv.pipeline import Pass
from irconv.rewrite import Remark, Rewriter, rule
from irconv.types import Array

# the users that the rules look at: where they decline one, they say why
LOOKED_AT: frozenset[type[Op]] = frozenset({Add, Sum, *ACTIVATIONS, Clamp, Clip, *POOLS})


@dataclass(frozen=True)
class Fuse(Pass):
    """Makes one node of a convolution or product and the bias, residual, activation, pool after it.

    The fused node stands where the last of them stood, so that all operands are there. `residual`,
    `activation` and `pool` choose what is fused; a constant bias always is. A lone convolution or
    product stays what it is.
    """

    exact: ClassVar[bool] = True

    residual: bool = True
    activation: bool = True
    pool: bool = True

    def run(self, graph: Graph, rewriter: Rewriter) -> None:
        # names last: what replaces a node takes its name, and so its place in this order
        order = {node.name: place for place, node in enumerate(graph)}
        chosen = (
            (fuse_bias, True),
            (fuse_residual.with_options(order=order), self.residual),
            (fuse_activation, self.activation),
            (fuse_pool, self.pool),
        )
        rewriter.apply([rule_ for rule_, wanted in chosen if wanted])
        for node in graph:
            reason = _why_alone(node)
            if reason is not None:
                rewriter.remarks.append(Remark(self.name, node.name, reason))


def _why_alone(node: Node) -> str | None:
    """Why no rule looked at a convolution or product: its only user is nothing that is fused."""
    users = node.result.users if type(node.op) in (Conv, Gemm, MatMul) else ()
    if len(users) != 1 or node.result.is_output or type(users[0].op) in LOOKED_AT:
        return None
    (user,) = users
    name = f"{user.op.name} %{printable(user.name)}"
    if isinstance(user.op, FusedConv | FusedMatMul) and user.operand(3) is node.result:
        return f"{name} takes its result as the residual"
    hint = " (fold_batchnorm first)" if isinstance(user.op, BatchNormalization) else ""
    return f"its only user is {name}, which cannot be fused into it{hint}"


@rule(Add, Sum)
def fuse_bias(node: Node, rewriter: Rewriter) -> Value | None:
    """product(x, w) + constant => product(x, w, bias)."""
    for value, other in _addends(node):
        product = product_behind(value)
        if product is None or other.array is None:
            continue
        bias = _bias(product, node, other.array)
        if isinstance(bias, str):
            # as large as the result: a residual
            if other.type != node.result.type:
                rewriter.declined(product, bias)
            continue
        reason = refusal(product) or _finished(product)
        if reason is not None:
            return rewriter.declined(product, reason)
        if bias is other.array:
            parameter = other
        else:
            parameter = rewriter.constant(bias, "b", trainable=other.trainable)
        if isinstance(product.op, Conv | Gemm):
            op = replace(product.op, beta=1.0) if isinstance(product.op, Gemm) else product.op
            return rewriter.emit(op, *product.operands[:2], parameter)
        return emit_fused(rewriter, product, bias=parameter)
    return None


def _addends(node: Node) -> list[tuple[Value, Value]]:
    """The two operands of a sum, in both orders; none for another number of operands."""
    operands = [v for v in node.operands if v is not None]
    return [(operands[0], operands[1]), (operands[1], operands[0])] if len(operands) == 2 else []


def _bias(product: Node, node: Node, added: Array) -> Array | str:
    """The bias of `product` once `added` is in it, or why there is none."""
    if product.result.type != node.result.type:
        return "adding the constant broadcasts its result"
    kind = product.result.tensor_type
    if isinstance(product.op, (*CONVOLUTIONS, ConvTranspose)):
        vector = channel_vector(added, kind.rank, int(str(kind.shape[1])))
        if vector is None:
            return "the added constant is not one number per channel"
        added = vector
    present = product.operand(2)
    if present is None:
        return added
    if present.array is None:
        return "its bias is not constant"
    return rounded_sum(present.array, added)


def _finished(product: Node) -> str | None:
    """Why nothing can be added to this product any more."""
    if pool_of(product) is not None:
        return "it is pooled already"
    return "it has an activation already" if activation_of(product) is not None else None


@rule(Add, Sum)
def fuse_residual(node: Node, rewriter: Rewriter, order: Mapping[str, int]) -> Value | None:
    """product(x, w, b) + r => FusedConv or FusedMatMul (x, w, b, r).

    Of two products the later takes the other: that one is there already when it starts.
    """
    addends = sorted(_addends(node), key=lambda pair: -order.get(pair[0].name, 0))
    for value, residual in addends:
        product = product_behind(value)
        if product is None:
            continue
        if residual.is_parameter and residual.type != node.result.type:
            continue  # a bias
        reason = refusal(product) or _finished(product) or _residual_refusal(product, residual)
        if reason is None:
            return emit_fused(rewriter, product, residual=residual)
        rewriter.declined(product, reason)
    return None


def _residual_refusal(product: Node, residual: Value) -> str | None:
    if residual.type != product.result.type:
        return f"the added value is {residual.type}, its result {product.result.type}"
    return "it has a residual already" if product.operand(3) is not None else None


@rule(*ACTIVATIONS, Clamp, Clip)
def fuse_activation(node: Node, rewriter: Rewriter) -> Value | None:
    """f(product(...)) => the fused product with activation f."""
    product = product_behind(node.operand(0))
    if product is None:
        return None
    activation = clamp_of(node) if isinstance(node.op, Clip) else node.op
    if isinstance(activation, str):
        return rewriter.declined(node, activation)
    reason = refusal(product) or _activation_refusal(product, activation)
    if reason is not None:
        return rewriter.declined(product, reason)
    return emit_fused(rewriter, product, activation=activation)


def _activation_refusal(product: Node, activation: Op) -> str | None:
    if activation_of(product) is not None:
        return "it has an activation already"
    pool = pool_of(product)
    if pool is None:
        return None
    # the largest f(x) is f of the largest x where f is monotone, rounding and infinities included
    monotone = isinstance(activation, Relu | Clamp) or (
        isinstance(activation, LeakyRelu) and activation.alpha > 0
    )
    if not isinstance(pool, MaxPool) or not monotone:
        return f"{activation.name} and its pool cannot change places"
    op, x = product.op, product.operand(0)
    assert isinstance(op, CONVOLUTIONS)
    image = op.out_sizes(x.shape[2:]) if x is not None else ()
    return None if always_sees_image(pool, image) else "a window of its pool may see padding only"


@rule(*POOLS)
def fuse_pool(node: Node, rewriter: Rewriter) -> Value | None:
    """pool(conv(...)) => FusedConv with that pool."""
    product = product_behind(node.operand(0))
    if product is None:
        return None
    if isinstance(product.op, Gemm | MatMul | FusedMatMul):
        return rewriter.declined(product, "a matrix product takes no pool")
    if node.op.n_results != 1:
        return rewriter.declined(product, "the pool gives indices too")
    pool = without_ceil_mode(node.op, product.result.shape[2:])
    if pool is None:
        return rewriter.declined(product, "the pool has ceil_mode, which no pads can replace here")
    reason = refusal(product)
    if reason is None and pool_of(product) is not None:
        reason = "it is pooled already"
    if reason is not None:
        return rewriter.declined(product, reason)
    return emit_fused(rewriter, product, pool=pool)
