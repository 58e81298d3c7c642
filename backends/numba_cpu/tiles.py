"""The register tile as one C function, in vector instructions and as its plain twin."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import types

from irconv.backends.numba_cpu import machine, native
from irconv.backends.numba_cpu.limits import clamp
from irconv.backends.numba_cpu.microkernel import multiply_tile
from irconv.backends.numba_cpu.narrow import multiply_narrow
from irconv.backends.numba_cpu.pointers import address, lanes, number

ROWS = machine.tile(np.dtype(np.float32)).rows
_HALF, _QUARTER = max(ROWS // 2, 1), max(ROWS // 4, 1)


def tile_code(dtype: np.dtype, plain: bool = False) -> int:
    """The address of the tile function for a float dtype; `plain` asks for the loop nest."""
    scalar = numba.from_dtype(dtype)
    whole, pointer = types.int64, types.CPointer(scalar)
    signature = (
        whole,
        pointer,
        whole,
        pointer,
        whole,
        pointer,
        whole,
        whole,
        whole,
        pointer,
        pointer,
        whole,
        whole,
        scalar,
        scalar,
    )
    return native.compiled(plain_tile if plain else vector_tile, signature)


def vector_tile(
    depth: Any,
    a: Any,
    lda: Any,
    b: Any,
    ldb: Any,
    c: Any,
    ldc: Any,
    rows: Any,
    columns: Any,
    bias: Any,
    residual: Any,
    ldr: Any,
    accumulate: Any,
    low: Any,
    high: Any,
) -> None:
    """C[rows, columns] = clamp(A @ B + bias [+ C] [+ residual]); see `multiply_tile`.

    `rows` is at most ROWS and `columns` at most three vectors; the smallest tile that holds
    them is run.
    """
    width = (columns + lanes(a) - 1) // lanes(a)
    if rows > _QUARTER and columns <= 4:
        if columns <= 2:
            multiply_narrow(
                ROWS,
                2,
                4,
                depth,
                a,
                lda,
                b,
                ldb,
                c,
                ldc,
                rows,
                columns,
                bias,
                residual,
                ldr,
                accumulate,
                low,
                high,
            )
        else:
            multiply_narrow(
                ROWS,
                4,
                2,
                depth,
                a,
                lda,
                b,
                ldb,
                c,
                ldc,
                rows,
                columns,
                bias,
                residual,
                ldr,
                accumulate,
                low,
                high,
            )
    elif rows > _HALF:
        if width > 2:
            multiply_tile(
                ROWS,
                3,
                depth,
                a,
                lda,
                b,
                ldb,
                c,
                ldc,
                rows,
                columns,
                bias,
                residual,
                ldr,
                accumulate,
                low,
                high,
            )
        elif width > 1:
            multiply_tile(
                ROWS,
                2,
                depth,
                a,
                lda,
                b,
                ldb,
                c,
                ldc,
                rows,
                columns,
                bias,
                residual,
                ldr,
                accumulate,
                low,
                high,
            )
        else:
            multiply_tile(
                ROWS,
                1,
                depth,
                a,
                lda,
                b,
                ldb,
                c,
                ldc,
                rows,
                columns,
                bias,
                residual,
                ldr,
                accumulate,
                low,
                high,
            )
    elif rows > _QUARTER:
        if width > 1:
            multiply_tile(
                _HALF,
                3,
                depth,
                a,
                lda,
                b,
                ldb,
                c,
                ldc,
                rows,
                columns,
                bias,
                residual,
                ldr,
                accumulate,
                low,
                high,
            )
        else:
            multiply_tile(
                _HALF,
                1,
                depth,
                a,
                lda,
                b,
                ldb,
                c,
                ldc,
                rows,
                columns,
                bias,
                residual,
                ldr,
                accumulate,
                low,
                high,
            )
    elif rows > 1:
        multiply_tile(
            _QUARTER,
            3,
            depth,
            a,
            lda,
            b,
            ldb,
            c,
            ldc,
            rows,
            columns,
            bias,
            residual,
            ldr,
            accumulate,
            low,
            high,
        )
    else:
        multiply_tile(
            1,
            3,
            depth,
            a,
            lda,
            b,
            ldb,
            c,
            ldc,
            rows,
            columns,
            bias,
            residual,
            ldr,
            accumulate,
            low,
            high,
        )


def plain_tile(
    depth: Any,
    a: Any,
    lda: Any,
    b: Any,
    ldb: Any,
    c: Any,
    ldc: Any,
    rows: Any,
    columns: Any,
    bias: Any,
    residual: Any,
    ldr: Any,
    accumulate: Any,
    low: Any,
    high: Any,
) -> None:
    """The meaning of `vector_tile` as a loop nest."""
    for r in range(rows):
        for j in range(columns):
            total = number(0.0, c)
            if address(bias) != 0:
                total += bias[r]
            for k in range(depth):
                total += a[k * lda + r] * b[k * ldb + j]
            if accumulate != 0:
                total += c[r * ldc + j]
            if address(residual) != 0:
                total += residual[r * ldr + j]
            c[r * ldc + j] = clamp(total, low, high)
