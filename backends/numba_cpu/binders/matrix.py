"""Binds products with the matrix of a convolution, from its index."""

from __future__ import annotations

from math import inf
from typing import Any

import numpy as np

from irconv.backends.numba_cpu import packing, slots, steps
from irconv.backends.numba_cpu.activations import pass_code
from irconv.backends.numba_cpu.binders.epilogue import epilogue
from irconv.backends.numba_cpu.binders.kind import Binder, float_type, operand, shape_of, source
from irconv.backends.numba_cpu.indexed import OUT, PIXELS, TABLE, TAPS, literal_product, tap_product
from irconv.backends.numba_cpu.launch import Launch, PlainStep, engine, plain
from irconv.backends.numba_cpu.sliced import (
    SCRATCH,
    T_SCRATCH,
    T_X,
    channels_last,
    sliced_product,
)
from irconv.backends.numba_cpu.slices import lanes, sliced
from irconv.backends.numba_cpu.tiles import ROWS
from irconv.errors import BudgetError
from irconv.graph import Node, Value
from irconv.matrix import SharedMatrix
from irconv.op import Op
from irconv.ops.sparse import ConvMatrix, SparseMatMul
from irconv.types import Array


def bind_sparse(node: Node, threads: int) -> list[Launch] | None:
    """SparseMatMul, by the form of the matrix; its weights and index must be constants."""
    op, dtype, shared = node.op, float_type(node), constant_matrix(operand(node, 0))
    assert isinstance(op, SparseMatMul)
    bias, ending = node.operand(2), epilogue(op.activation)
    if shared is None or dtype is None or ending is None or (bias and bias.array is None):
        return None
    if shared.type.form == "tap":
        launch = _tap(node, shared, dtype, threads, ending)
        if launch is not None:
            return [launch]
        # an index that no table of taps can hold: a tap twice in one row
        try:
            shared = shared.literal()
        except BudgetError:
            return None
    launches = _sliced(node, shared, threads, ending) if dtype == np.float32 else None
    return launches or [_literal(node, shared, dtype, ending)]


def constant_matrix(value: Value) -> SharedMatrix | None:
    """The matrix of constant weights and index (whose bounds are verified), else None."""
    node = value.producer
    if node is None or not isinstance(node.op, ConvMatrix):
        return None
    parts = [v.array for v in node.operands if v is not None]
    if any(array is None for array in parts):
        return None
    shared: SharedMatrix = node.op.run(parts)[0]
    return shared


def _tap(
    node: Node, matrix: SharedMatrix, dtype: np.dtype[Any], threads: int, ending: steps.Epilogue
) -> Launch | None:
    table = tap_table(matrix)
    if table is None:
        return None
    x, bias = operand(node, 1), node.operand(2)
    geometry, kind = matrix.type.geometry, matrix.type
    blocks = matrix.weights.reshape(
        geometry.group, geometry.out_channels // geometry.group, -1, geometry.taps
    )
    if kind.transposed:
        blocks = blocks.swapaxes(1, 2)
    group, rows, channels, taps = blocks.shape
    packed = packing.pack_rows(
        np.ascontiguousarray(blocks.swapaxes(2, 3)).reshape(group, rows, -1),
        ROWS,
        steps.depth_block(taps * channels, dtype),
    )
    packed_bias = None
    if bias is not None and bias.array is not None:
        packed_bias = packing.pack_bias(bias.array, group, ROWS)
    columns = kind.rows // kind.channels
    sizes = {
        "IMAGES": shape_of(x)[0],
        "GROUPS": group,
        "CHANNELS": channels,
        "ROWS": rows,
        "DEPTH_BLOCK": steps.depth_block(taps * channels, dtype),
        slot_name(TAPS): taps,
        slot_name(PIXELS): kind.columns // (group * channels),
        slot_name(OUT): columns,
    }
    scratch = sizes["DEPTH_BLOCK"] * steps.panel_width(dtype) + steps.LINE
    step = steps.Step("tap_product", dtype, threads, scratch, sizes, ending, tap_product)
    sources: dict[str, Value | Array | None] = {
        "X": source(x),
        "WEIGHTS": packed,
        "BIAS": packed_bias,
        "RESIDUAL": _residual(node),
        "Y": node.result,
        slot_name(TABLE): table,
    }
    return engine(step, **sources)


def slot_name(place: int) -> str:
    """The name of a slot."""
    return next(name for name, value in vars(slots).items() if value == place and name.isupper())


def tap_table(matrix: SharedMatrix) -> Array | None:
    """[taps, rows] int32: the column that each (tap, row) of the index reads, -1 where none.

    None where a row of the index has the same tap twice.
    """
    rows = np.repeat(np.arange(len(matrix.indptr) - 1), np.diff(matrix.indptr))
    table = np.full((matrix.type.geometry.taps, len(matrix.indptr) - 1), -1, np.int32)
    table[matrix.entries, rows] = matrix.columns
    return table if np.count_nonzero(table >= 0) == len(rows) else None


def _sliced(
    node: Node, matrix: SharedMatrix, threads: int, ending: steps.Epilogue
) -> list[Launch] | None:
    found, dtype = sliced(matrix), np.dtype(np.float32)
    if found is None:
        return None
    x, bias, residual = operand(node, 1), node.operand(2), _residual(node)
    nothing = np.zeros(0, dtype)
    images, channels, group = shape_of(x)[0], matrix.type.channels, matrix.type.geometry.group
    sources: list[Value | Array] = [
        node.result,
        found.weights,
        bias.array if bias is not None and bias.array is not None else nothing,
        residual if residual is not None else nothing,
        found.columns,
        found.entries,
        found.starts,
    ]
    sums = -(-images * matrix.shape[1] // lanes()) * lanes()
    numbers: tuple[int | float, ...] = (
        pass_code(ending.activation, dtype) if ending.activation is not None else 0,
        images,
        group,
        channels // group,
        found.together,
        matrix.shape[0] // channels,
        matrix.shape[1],
        matrix.weights.size // channels,
        sums,
        float(ending.low),
        float(ending.high),
        ending.alpha,
        ending.beta,
    )
    scratch = (sums + threads * lanes() ** 2) * dtype.itemsize
    step = PlainStep("sliced_product", sliced_product, dtype, SCRATCH, numbers, scratch)
    inner = matrix.type.image[0]
    sizes = (images, inner, matrix.shape[1] // inner)
    turn = PlainStep("channels_last", channels_last, dtype, T_SCRATCH, sizes, scratch)
    return [
        Launch(turn, {T_X: source(x)}, T_SCRATCH),
        Launch(step, dict(enumerate(sources, 1)), SCRATCH),
    ]


def _literal(
    node: Node, matrix: SharedMatrix, dtype: np.dtype[Any], ending: steps.Epilogue
) -> Launch:
    x, bias = operand(node, 1), node.operand(2)
    nothing = np.zeros(0, dtype)
    residual = _residual(node)
    sources: list[Value | Array] = [
        node.result,
        source(x),
        np.ascontiguousarray(matrix.weights),
        bias.array if bias is not None and bias.array is not None else nothing,
        residual if residual is not None else nothing,
        matrix.indptr,
        matrix.columns,
        matrix.entries,
    ]
    finish = 0
    if ending.activation is not None:
        finish = pass_code(ending.activation, dtype)
    rows, columns = matrix.shape
    numbers: tuple[int | float, ...] = (
        finish,
        shape_of(x)[0],
        rows,
        columns,
        rows // matrix.type.channels,
        float(max(ending.low, -inf)),
        float(min(ending.high, inf)),
        ending.alpha,
        ending.beta,
    )
    return plain("literal_product", literal_product, dtype, tuple(sources), numbers)


def _residual(node: Node) -> Value | Array | None:
    value = node.operand(3)
    return source(value) if value is not None else None


BINDERS: dict[type[Op], Binder] = {SparseMatMul: bind_sparse}
