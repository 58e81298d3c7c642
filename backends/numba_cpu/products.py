"""Builds the steps of matrix products: dense layers, and any two matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

from irconv.backends.numba_cpu import machine, packing
from irconv.backends.numba_cpu.blocking import column_block, depth_block, panel_width, round_up
from irconv.backends.numba_cpu.dense import dense_kernel
from irconv.backends.numba_cpu.gemm import many_rows, product
from irconv.backends.numba_cpu.step import NOTHING, Epilogue, Step
from irconv.backends.numba_cpu.tiles import ROWS


def dense_layer(
    rows: int,
    columns: int,
    depth: int,
    dtype: np.dtype,
    parts: int = 1,
    epilogue: Epilogue = NOTHING,
) -> Step:
    """Y[rows, columns] = A[rows, depth] @ B, with B = `dense_weights` of [depth, columns].

    BIAS is `dense_bias` of one value a column, RESIDUAL [rows, columns].
    """
    sizes = {
        "M": rows,
        "N": columns,
        "K": depth,
        "A_ROW": depth,
        "A_DEPTH": 1,
        "BIAS_PER": 1,
        "DEPTH_BLOCK": depth_block(depth, dtype),
    }
    if rows <= ROWS:
        height = next(h for h in reversed(machine.tile(dtype).row_variants) if h >= rows)
        return Step("dense", dtype, parts, 0, sizes, epilogue, dense_kernel(height))
    scratch = round_up(-(-rows // ROWS) * ROWS * depth, dtype)
    return Step("dense", dtype, parts, scratch, sizes, epilogue, many_rows)


def dense_weights(weights: np.ndarray) -> np.ndarray:
    """[depth, columns] packed for `dense_layer`."""
    return packing.pack_columns(weights, panel_width(weights.dtype))


def dense_bias(bias: np.ndarray) -> np.ndarray:
    """[columns] padded for `dense_layer`."""
    width = panel_width(bias.dtype)
    return np.pad(bias, (0, -bias.size % width))


def matrix_product(
    batch: int,
    shape: tuple[int, int, int],
    dtype: np.dtype,
    parts: int = 1,
    epilogue: Epilogue = NOTHING,
    **strides: Any,
) -> Step:
    """Y[batch, M, N] = A[batch, M, K] @ B[batch, K, N] for shape = (M, N, K).

    `strides` overrides A_BATCH, A_ROW, A_DEPTH, B_BATCH, B_DEPTH, B_COLUMN (in elements; those of
    C-contiguous arrays otherwise), BIAS_PER (0: `packing.pack_bias(bias, 1, ROWS)`; 1: a column).
    """
    m, n, k = shape
    depth, columns = depth_block(k, dtype), column_block(n, dtype)
    sizes = {
        "BATCH": batch,
        "M": m,
        "N": n,
        "K": k,
        "A_BATCH": m * k,
        "A_ROW": k,
        "A_DEPTH": 1,
        "B_BATCH": k * n,
        "B_DEPTH": n,
        "B_COLUMN": 1,
        "Y_BATCH": m * n,
        "BIAS_PER": 0,
        "DEPTH_BLOCK": depth,
        "COLUMN_BLOCK": columns,
    } | strides
    scratch = round_up(-(-m // ROWS) * ROWS * k, dtype) + round_up(depth * columns, dtype)
    return Step("product", dtype, parts, scratch, sizes, epilogue, product)
