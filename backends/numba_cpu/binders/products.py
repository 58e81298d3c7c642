"""Binds matrix products: the patch matrix's, dense layers, and any other."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from irconv.backends.numba_cpu import packing, steps
from irconv.backends.numba_cpu.binders.epilogue import epilogue
from irconv.backends.numba_cpu.binders.kind import Binder, float_type, operand, shape_of, source
from irconv.backends.numba_cpu.launch import Launch, engine
from irconv.backends.numba_cpu.tiles import ROWS
from irconv.geometry import ConvGeometry
from irconv.graph import Node, Value
from irconv.op import Op
from irconv.ops.fused import FusedMatMul
from irconv.ops.linear import Gemm, MatMul
from irconv.types import Array


@dataclass(frozen=True)
class Product:
    """activation(alpha * a @ b + bias + residual) of whatever op."""

    a: Value
    b: Value
    turn_a: bool
    turn_b: bool
    bias: Array | None
    residual: Value | Array | None
    ending: steps.Epilogue
    alpha: float = 1.0


def bind_product(node: Node, threads: int) -> list[Launch] | None:
    """MatMul, Gemm, FusedMatMul: by the shape of the product."""
    dtype = float_type(node)
    product = _read(node)
    if dtype is None or product is None:
        return None
    for bind in (_patches, _dense, _general):
        launches = bind(node, product, dtype, threads)
        if launches is not None:
            return launches
    return None


def _read(node: Node) -> Product | None:
    a, b = operand(node, 0), operand(node, 1)
    if min(len(a.shape), len(b.shape)) < 2:
        return None
    match node.op:
        case MatMul():
            return Product(a, b, False, False, None, None, steps.Epilogue())
        case Gemm(alpha=alpha, beta=beta, transA=turn_a, transB=turn_b):
            added = _added(node, beta)
            if added is not None:
                return Product(a, b, bool(turn_a), bool(turn_b), *added, steps.Epilogue(), alpha)
        case FusedMatMul(transA=turn_a, transB=turn_b, activation=activation):
            added, found = _added(node, 1.0), epilogue(activation)
            if added is not None and found is not None:
                return Product(a, b, turn_a, turn_b, *added, found)
    return None


def _added(node: Node, beta: float) -> tuple[Array | None, Value | Array | None] | None:
    """(bias, residual) of a product; a bias as large as the result is added as a residual."""
    c, residual = node.operand(2), node.operand(3)
    if c is None:
        return None, _optional(residual)
    whole = residual is None and shape_of(c) == shape_of(node.result)
    if c.array is None:
        return (None, c) if whole and beta == 1 else None
    scaled = np.ascontiguousarray(c.array if beta == 1 else c.array * c.array.dtype.type(beta))
    if whole and len(c.shape) > 1:
        return None, scaled
    return scaled.reshape(c.array.shape), _optional(residual)


def _turned(array: Array, turn: bool) -> Array:
    return array.swapaxes(-1, -2) if turn else array


def _patches(
    node: Node, product: Product, dtype: np.dtype[Any], threads: int
) -> list[Launch] | None:
    """Constant w [group, rows, depth] times columns [N, group, depth, pixels]: im2col's product."""
    w, columns = product.a.array, shape_of(product.b)
    if w is None or w.ndim != 3 or len(columns) != 4 or product.turn_b or product.alpha != 1:
        return None
    w = _turned(w, product.turn_a)
    group, rows, depth = w.shape
    if columns[1:3] != (group, depth):
        return None
    bias = product.bias
    if bias is not None and bias.shape != (group, rows, 1):
        return None
    geometry = ConvGeometry(
        group * depth, group * rows, (columns[3],), (1,), (1,), (0, 0), (1,), group
    )
    step = steps.convolution(geometry, columns[0], dtype, threads, product.ending)
    weights = steps.direct_weights(np.ascontiguousarray(w), geometry)
    packed = steps.direct_bias(bias.reshape(-1), geometry) if bias is not None else None
    return [
        engine(
            step,
            X=source(product.b),
            WEIGHTS=weights,
            BIAS=packed,
            RESIDUAL=product.residual,
            Y=node.result,
        )
    ]


def _dense(node: Node, product: Product, dtype: np.dtype[Any], threads: int) -> list[Launch] | None:
    """Rows of x [..., depth] times constant weights [depth, columns]."""
    w, x = product.b.array, shape_of(product.a)
    if w is None or w.ndim != 2 or product.turn_a:
        return None
    w = _turned(w, product.turn_b)
    if product.alpha != 1:
        w = w * w.dtype.type(product.alpha)
    rows, depth, columns = prod(x[:-1]), x[-1], w.shape[1]
    bias = product.bias
    if bias is not None:
        if bias.size not in (1, columns) or (bias.ndim and bias.shape[-1] != bias.size):
            return None
        bias = steps.dense_bias(np.broadcast_to(bias.reshape(-1), (columns,)))
    step = steps.dense_layer(rows, columns, depth, dtype, threads, product.ending)
    return [
        engine(
            step,
            A=source(product.a),
            B=steps.dense_weights(w),
            BIAS=bias,
            RESIDUAL=product.residual,
            Y=node.result,
        )
    ]


def _general(
    node: Node, product: Product, dtype: np.dtype[Any], threads: int
) -> list[Launch] | None:
    """Any two operands; one of them may lack the batch axes or have them all 1."""
    a, b, y = shape_of(product.a), shape_of(product.b), shape_of(node.result)
    m, n = y[-2:]
    k = a[-2] if product.turn_a else a[-1]
    batch = prod(y[:-2])
    if product.alpha != 1 or any(prod(s[:-2]) not in (1, batch) for s in (a, b)):
        return None
    bias, per = product.bias, 0
    if bias is not None:
        bias, per = _bias(bias, m, n)
        if bias is None:
            return None
    strides = {
        "A_BATCH": m * k if prod(a[:-2]) == batch else 0,
        "B_BATCH": k * n if prod(b[:-2]) == batch else 0,
        "A_ROW": 1 if product.turn_a else k,
        "A_DEPTH": m if product.turn_a else 1,
        "B_DEPTH": 1 if product.turn_b else n,
        "B_COLUMN": k if product.turn_b else 1,
        "BIAS_PER": per,
    }
    step = steps.matrix_product(batch, (m, n, k), dtype, threads, product.ending, **strides)
    return [
        engine(
            step,
            A=source(product.a),
            B=source(product.b),
            BIAS=bias,
            RESIDUAL=product.residual,
            Y=node.result,
        )
    ]


def _bias(bias: Array, m: int, n: int) -> tuple[Array | None, int]:
    """A bias per column or per row as the engine reads it, and which of them it is."""
    if bias.size in (1, n) and (bias.ndim == 0 or bias.shape[-1] == bias.size):
        return np.ascontiguousarray(np.broadcast_to(bias.reshape(-1), (n,))), 1
    if bias.size == m and bias.shape[-2:] == (m, 1):
        return packing.pack_bias(bias.reshape(-1), 1, ROWS), 0
    return None, 0


def _optional(value: Value | None) -> Value | Array | None:
    return source(value) if value is not None else None


BINDERS: dict[type[Op], Binder] = {
    MatMul: bind_product,
    Gemm: bind_product,
    FusedMatMul: bind_product,
}
