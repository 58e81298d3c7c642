"""Matrix products, batched and broadcast, with bias, residual and activation."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from irconv.backends.numba_cuda.activations import activate, activation_code
from irconv.backends.numba_cuda.broadcasts import broadcast_strides, place, strides_of, table
from irconv.backends.numba_cuda.device import cuda
from irconv.backends.numba_cuda.launch import (
    Binder,
    Bound,
    Launch,
    Numbers,
    float_launch,
    not_computed,
    number_row,
    required,
    sizes,
)
from irconv.backends.numba_cuda.slots import (
    A_DEPTH,
    A_ROW,
    B_COLUMN,
    B_DEPTH,
    BATCH,
    BATCH_RANK,
    BIAS_COLUMN,
    BIAS_ROW,
    BIAS_SCALE,
    CODE,
    COLUMNS,
    COUNT,
    DEPTH,
    HAS_BIAS,
    HAS_RESIDUAL,
    ROWS,
    SCALE,
)
from irconv.geometry import Ints
from irconv.graph import Node, Value
from irconv.op import Op
from irconv.ops.fused import FusedMatMul
from irconv.ops.linear import Gemm, MatMul
from irconv.shapes import broadcast


@cuda.jit
def product(y: Any, a: Any, b: Any, bias: Any, r: Any, g: Any, p: Any) -> None:
    """y = activation(scale * a @ b + bias_scale * bias + r); y [*batch, ROWS, COLUMNS]."""
    rows, columns, rank = g[ROWS], g[COLUMNS], g[BATCH_RANK]
    depth, a_depth, b_depth = g[DEPTH], g[A_DEPTH], g[B_DEPTH]
    for i in range(cuda.grid(1), g[COUNT], cuda.gridsize(1)):
        batch, row, column = i // columns // rows, i // columns % rows, i % columns
        left = place(batch, g, BATCH, rank, 0) + row * g[A_ROW]
        right = place(batch, g, BATCH, rank, 1) + column * g[B_COLUMN]
        v = p.dtype.type(0)
        for k in range(depth):
            v += a[left + k * a_depth] * b[right + k * b_depth]
        v *= p[SCALE]
        if g[HAS_BIAS]:
            start = place(batch, g, BATCH, rank, 2)
            v += p[BIAS_SCALE] * bias[start + row * g[BIAS_ROW] + column * g[BIAS_COLUMN]]
        if g[HAS_RESIDUAL]:
            v += r[i]
        y[i] = activate(g[CODE], v, p)


def bind_matmul(node: Node) -> Bound:
    """MatMul: one launch."""
    reason = not_computed(node)
    if reason is not None:
        return reason
    a, b = _matrix(required(node, 0), False, (1, -1)), _matrix(required(node, 1), False, (-1, 1))
    return _bound(node, (a, b), (1.0, 1.0), None)


def bind_gemm(node: Node) -> Bound:
    """Gemm: one launch."""
    op = node.op
    assert isinstance(op, Gemm)
    reason = not_computed(node)
    if reason is not None:
        return reason
    operands = (
        _matrix(required(node, 0), bool(op.transA)),
        _matrix(required(node, 1), bool(op.transB)),
    )
    return _bound(node, operands, (op.alpha, op.beta), None)


def bind_fused(node: Node) -> Bound:
    """FusedMatMul: one launch."""
    op = node.op
    assert isinstance(op, FusedMatMul)
    reason = not_computed(node)
    if reason is not None:
        return reason
    operands = (_matrix(required(node, 0), op.transA), _matrix(required(node, 1), op.transB))
    return _bound(node, operands, (1.0, 1.0), op.activation)


# shape and strides of a matrix operand as the product reads it
_Matrix = tuple[Ints, Ints]


def _matrix(value: Value, turned: bool, vector: Sequence[int] = (1, -1)) -> _Matrix:
    shape = sizes(value)
    if len(shape) == 1:
        shape = tuple(shape[0] if d == -1 else d for d in vector)
    strides = strides_of(shape)
    if turned:
        shape = (*shape[:-2], shape[-1], shape[-2])
        strides = (*strides[:-2], strides[-1], strides[-2])
    return shape, strides


def _bound(
    node: Node, operands: tuple[_Matrix, _Matrix], scales: tuple[float, float], act: Op | None
) -> list[Launch] | str:
    code = activation_code(act)
    if code is None:
        return "no kernel for this activation"
    (a_shape, a_strides), (b_shape, b_strides) = operands
    batch = tuple(int(str(d)) for d in broadcast([a_shape[:-2], b_shape[:-2]]))
    shape = (*batch, a_shape[-2], b_shape[-1])
    bias, residual = node.operand(2), node.operand(3)
    bias_strides = broadcast_strides(sizes(bias), shape) if bias else (0,) * len(shape)
    rank, batches = table(
        batch, _batch(a_shape, a_strides, batch), _batch(b_shape, b_strides, batch),
        bias_strides[:-2],
    )  # fmt: skip
    numbers: Numbers = {
        COUNT: prod(shape),
        CODE: code[0],
        HAS_BIAS: int(bias is not None),
        HAS_RESIDUAL: int(residual is not None),
        ROWS: shape[-2],
        COLUMNS: shape[-1],
        DEPTH: a_shape[-1],
        A_ROW: a_strides[-2],
        A_DEPTH: a_strides[-1],
        B_DEPTH: b_strides[-2],
        B_COLUMN: b_strides[-1],
        BIAS_ROW: bias_strides[-2],
        BIAS_COLUMN: bias_strides[-1],
        BATCH_RANK: rank,
        BATCH: batches,
    }
    values = (node.result, required(node, 0), required(node, 1), bias, residual)
    row = number_row(numbers, BATCH + len(batches))
    return [
        float_launch(product, values, row, {SCALE: scales[0], BIAS_SCALE: scales[1], **code[1]})
    ]


def _batch(shape: Ints, strides: Ints, batch: Ints) -> Ints:
    """The strides over `batch` of a matrix operand: 0 where it is broadcast."""
    own = [0 if size == 1 else stride for size, stride in zip(shape, strides, strict=True)][:-2]
    return (*(0,) * (len(batch) - len(own)), *own)


BINDERS: dict[type, Binder] = {MatMul: bind_matmul, Gemm: bind_gemm, FusedMatMul: bind_fused}
