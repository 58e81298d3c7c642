"""Products of two matrices: batched, and dense layers of many rows."""

from __future__ import annotations

from typing import Any

from irconv.backends.numba_cpu import slots
from irconv.backends.numba_cpu.convolve import VECTORS
from irconv.backends.numba_cpu.jit import compiled_part
from irconv.backends.numba_cpu.pointers import at, call, double_bits, lanes, number, pointer
from irconv.backends.numba_cpu.tiles import ROWS
from irconv.backends.numba_cpu.work import blocks, share


@compiled_part
def _pack(
    source: Any, along: Any, step: Any, depth: Any, count: Any, width: Any, target: Any
) -> None:
    """[ceil(count / width)][depth][width] of source[k * step + i * along]; past `count` it is 0."""
    for i in range(blocks(count, width)):
        left = i * width
        panel = at(target, left * depth)
        some = min(width, count - left)
        for k in range(depth):
            line, start = at(panel, k * width), at(source, k * step + left * along)
            if along == 1:
                for i in range(some):
                    line[i] = start[i]
            else:
                for i in range(some):
                    line[i] = start[i * along]
            for i in range(some, width):
                line[i] = number(0.0, line)


@compiled_part
def finish(step: Any, y: Any, rows: Any, columns: Any) -> None:
    """The second pass over `rows` x `columns` of y, if there is one."""
    if step[slots.FINISH] != 0:
        call(
            step[slots.FINISH],
            y,
            rows,
            columns,
            step[slots.N],
            number(double_bits(step[slots.ALPHA]), y),
            number(double_bits(step[slots.BETA]), y),
        )


@compiled_part
def _start(step: Any, y: Any, column: Any, columns: Any) -> Any:
    """Put a bias per column into y; whether that was done."""
    if step[slots.BIAS] == 0 or step[slots.BIAS_PER] == 0:
        return False
    bias = at(pointer(step[slots.BIAS], y), column)
    for r in range(step[slots.M]):
        line = at(y, r * step[slots.N])
        for j in range(columns):
            line[j] = bias[j]
    return True


@compiled_part
def _multiply(
    step: Any,
    a: Any,
    lda: Any,
    panels: Any,
    first: Any,
    depth: Any,
    columns: Any,
    y: Any,
    residual: Any,
    started: Any,
) -> None:
    """One block of the depth: all rows of A times some packed columns, added to y."""
    width, n, m = VECTORS * lanes(y), step[slots.N], step[slots.M]
    nothing = pointer(0, y)
    last = first + depth >= step[slots.K]
    low = number(double_bits(step[slots.LOW]) if last else -1e400, y)
    high = number(double_bits(step[slots.HIGH]) if last else 1e400, y)
    bias = pointer(step[slots.BIAS], y)
    per_row = first == 0 and step[slots.BIAS] != 0 and step[slots.BIAS_PER] == 0
    add = last and step[slots.RESIDUAL] != 0
    for left in range(0, columns, width):
        for top in range(0, m, ROWS):
            call(
                step[slots.TILE],
                depth,
                at(a, top * depth),
                lda,
                at(panels, left * depth),
                width,
                at(y, top * n + left),
                n,
                min(ROWS, m - top),
                min(width, columns - left),
                at(bias, top) if per_row else nothing,
                at(residual, top * n + left) if add else nothing,
                n,
                int(first > 0 or started),
                low,
                high,
            )


def product(step: Any, like: Any, part: Any, parts: Any) -> None:
    """Kernel: y[b] = clamp(A[b] @ B[b] + bias [+ residual]), then the second pass.

    A is [M, K] and B [K, N] at any strides, y and the residual are [batch, M, N]. A bias per row
    is padded to a multiple of ROWS. Scratch of a part: `product_scratch`.
    """
    m, n, k = step[slots.M], step[slots.N], step[slots.K]
    width = VECTORS * lanes(like)
    high = blocks(m, ROWS) * ROWS
    block = step[slots.COLUMN_BLOCK]
    cuts = blocks(n, block)
    scratch = at(pointer(step[slots.SCRATCH], like), part * step[slots.SCRATCH_EACH])
    panels = at(scratch, high * k)
    first, end = share(step[slots.BATCH] * cuts, part, parts)
    for unit in range(first, end):
        batch, column = unit // cuts, unit % cuts * block
        columns = min(block, n - column)
        if unit == first or column == 0:
            _pack_all_rows(step, batch, high, scratch)
        b = at(
            pointer(step[slots.B], like),
            batch * step[slots.B_BATCH] + column * step[slots.B_COLUMN],
        )
        place = batch * step[slots.Y_BATCH] + column
        y = at(pointer(step[slots.Y], like), place)
        started = _start(step, y, column, columns)
        for i in range(blocks(max(k, 1), step[slots.DEPTH_BLOCK])):
            start = i * step[slots.DEPTH_BLOCK]
            depth = min(step[slots.DEPTH_BLOCK], k - start)
            _pack(
                at(b, start * step[slots.B_DEPTH]),
                step[slots.B_COLUMN],
                step[slots.B_DEPTH],
                depth,
                columns,
                width,
                panels,
            )
            _multiply(
                step,
                at(scratch, start * high),
                ROWS,
                panels,
                start,
                depth,
                columns,
                y,
                at(pointer(step[slots.RESIDUAL], like), place),
                started,
            )
        finish(step, y, m, columns)


@compiled_part
def _pack_all_rows(step: Any, batch: Any, high: Any, scratch: Any) -> None:
    a = at(pointer(step[slots.A], scratch), batch * step[slots.A_BATCH])
    for i in range(blocks(step[slots.K], step[slots.DEPTH_BLOCK])):
        start = i * step[slots.DEPTH_BLOCK]
        depth = min(step[slots.DEPTH_BLOCK], step[slots.K] - start)
        _pack(
            at(a, start * step[slots.A_DEPTH]),
            step[slots.A_ROW],
            step[slots.A_DEPTH],
            depth,
            step[slots.M],
            ROWS,
            at(scratch, start * high),
        )


def many_rows(step: Any, like: Any, part: Any, parts: Any) -> None:
    """Kernel: y[M, N] = clamp(x[M, K] @ W[K, N] + bias of N), W packed by `packing.pack_columns`.

    Each block of the weights is in a cache for all rows; see `dense` for few. Scratch of a part:
    all rows of x, packed.
    """
    m, n, k = step[slots.M], step[slots.N], step[slots.K]
    width = VECTORS * lanes(like)
    y, weights = pointer(step[slots.Y], like), pointer(step[slots.B], like)
    residual = pointer(step[slots.RESIDUAL], like)
    scratch = at(pointer(step[slots.SCRATCH], like), part * step[slots.SCRATCH_EACH])
    first, end = share(blocks(n, width), part, parts)
    high = blocks(m, ROWS) * ROWS
    if first < end:
        _pack_all_rows(step, 0, high, scratch)
    for panel in range(first, end):
        column = panel * width
        columns = min(width, n - column)
        started = _start(step, at(y, column), column, columns)
        for i in range(blocks(max(k, 1), step[slots.DEPTH_BLOCK])):
            start = i * step[slots.DEPTH_BLOCK]
            depth = min(step[slots.DEPTH_BLOCK], k - start)
            _multiply(
                step,
                at(scratch, start * high),
                ROWS,
                at(weights, (panel * k + start) * width),
                start,
                depth,
                columns,
                at(y, column),
                at(residual, column),
                started,
            )
        finish(step, at(y, column), m, columns)
