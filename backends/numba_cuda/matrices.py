"""Products with the shared-weight matrix, executed from its index, in tap and literal form."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from irconv.backends.numba_cuda import slots
from irconv.backends.numba_cuda.activations import activate, activation_code
from irconv.backends.numba_cuda.device import cuda
from irconv.backends.numba_cuda.launch import (
    Argument,
    Binder,
    Bound,
    Launch,
    Numbers,
    ints,
    not_computed,
    number_row,
    parameter_row,
    required,
    sizes,
)
from irconv.backends.numba_cuda.slots import (
    CHANNELS,
    CODE,
    COUNT,
    HAS_BIAS,
    HAS_RESIDUAL,
    IN_PIXELS,
    MEMBERS,
    PIXELS,
    W_CHANNEL,
    W_GROUP,
    W_MEMBER,
)
from irconv.graph import Node
from irconv.ops.sparse import ConvMatrix, SparseMatMul
from irconv.types import MatrixType

_INDEX = np.dtype(np.int32)
_NOT_FIXED = "the index is not a constant"


@cuda.jit
def tap_product(
    y: Any, x: Any, w: Any, indptr: Any, pixels: Any, taps: Any, b: Any, r: Any, g: Any, p: Any
) -> None:
    """y [N, channel, pixel] = activation(m x + b + r): an index entry is (operand pixel, tap)."""
    members, channels = g[MEMBERS], g[CHANNELS]
    for i in range(cuda.grid(1), g[COUNT], cuda.gridsize(1)):
        pixel, plane = i % g[PIXELS], i // g[PIXELS]
        group, member = plane // members, plane % members  # the groups of all images are numbered
        weight = group % g[slots.GROUPS] * g[W_GROUP] + member * g[W_MEMBER]
        source = group * channels * g[IN_PIXELS]
        v = p.dtype.type(0)
        for entry in range(indptr[pixel], indptr[pixel + 1]):
            read, tap = source + pixels[entry], weight + taps[entry]
            for c in range(channels):
                v += w[tap + c * g[W_CHANNEL]] * x[read + c * g[IN_PIXELS]]
        y[i] = _finished(v, b, r, g, p, i, plane % (members * g[slots.GROUPS]))


@cuda.jit
def literal_product(
    y: Any, x: Any, w: Any, indptr: Any, columns: Any, entries: Any, b: Any, r: Any, g: Any, p: Any
) -> None:
    """y [N, row] = activation(m x + b + r): an index entry is (column, number of a free weight)."""
    rows = g[slots.ALL_ROWS]
    for i in range(cuda.grid(1), g[COUNT], cuda.gridsize(1)):
        row = i % rows
        source = i // rows * g[slots.ALL_COLUMNS]
        v = p.dtype.type(0)
        for entry in range(indptr[row], indptr[row + 1]):
            v += w[entries[entry]] * x[source + columns[entry]]
        y[i] = _finished(v, b, r, g, p, i, row // g[PIXELS])


@cuda.jit(device=True)
def _finished(v: Any, b: Any, r: Any, g: Any, p: Any, i: Any, channel: Any) -> Any:
    if g[HAS_BIAS]:
        v += b[channel]
    if g[HAS_RESIDUAL]:
        v += r[i]
    return activate(g[CODE], v, p)


def bind_matrix(node: Node) -> Bound:
    """ConvMatrix: nothing to run; the products read its weights and its index."""
    fixed = all(value is not None and value.array is not None for value in node.operands[1:])
    return [] if fixed else _NOT_FIXED


def bind_sparse(node: Node) -> Bound:
    """SparseMatMul: one launch."""
    op = node.op
    assert isinstance(op, SparseMatMul)
    matrix = required(node, 0)
    code = activation_code(op.activation)
    reason = not_computed(node, (*node.operands[1:], node.result))
    maker = matrix.producer
    if reason is not None or code is None or maker is None:
        return reason or "no kernel for this activation"
    assert isinstance(maker.op, ConvMatrix)
    kind = matrix.type
    assert isinstance(kind, MatrixType)
    index = [required(maker, place) for place in (1, 2, 3)]
    if any(value.array is None for value in index):
        return _NOT_FIXED

    x, bias, residual = required(node, 1), node.operand(2), node.operand(3)
    numbers = _matrix_numbers(kind) | {
        COUNT: prod(sizes(node.result)),
        CODE: code[0],
        HAS_BIAS: int(bias is not None),
        HAS_RESIDUAL: int(residual is not None),
    }
    dtype = x.tensor_type.dtype
    arguments = (
        *(Argument(value, dtype) for value in (node.result, x, required(maker, 0))),
        *(Argument(value, _INDEX) for value in index),
        *(Argument(value, dtype) for value in (bias, residual)),
    )
    kernel = tap_product if kind.form == "tap" else literal_product
    row = ints(number_row(numbers, slots.MATRIX_SLOTS))
    return [Launch(kernel, arguments, row, parameter_row(code[1]), dtype)]


def _matrix_numbers(kind: MatrixType) -> Numbers:
    g = kind.geometry
    members, channels = g.out_channels // g.group, g.in_channels // g.group
    member, channel = channels * g.taps, g.taps
    if kind.transposed:
        members, channels, member, channel = channels, members, channel, member
    return {
        MEMBERS: members,
        CHANNELS: channels,
        slots.GROUPS: g.group,
        PIXELS: kind.rows // kind.channels,
        IN_PIXELS: kind.columns // (channels * g.group),
        W_GROUP: g.free_weights // g.group,
        W_MEMBER: member,
        W_CHANNEL: channel,
        slots.ALL_ROWS: kind.rows,
        slots.ALL_COLUMNS: kind.columns,
    }


BINDERS: dict[type, Binder] = {ConvMatrix: bind_matrix, SparseMatMul: bind_sparse}
