"""Direct convolution: an implicit matrix product over patches packed panel by panel."""

from __future__ import annotations

from typing import Any

from irconv.backends.numba_cpu import slots
from irconv.backends.numba_cpu.jit import compiled_part
from irconv.backends.numba_cpu.patches import pack_patches
from irconv.backends.numba_cpu.pointers import at, call, double_bits, lanes, number, pointer
from irconv.backends.numba_cpu.tiles import ROWS
from irconv.backends.numba_cpu.work import blocks, share

VECTORS = 3


@compiled_part
def convolve_columns(
    step: Any,
    weights: Any,
    image: Any,
    rows: Any,
    column: Any,
    columns: Any,
    y: Any,
    stride: Any,
    residual: Any,
    residual_stride: Any,
    bias: Any,
    panels: Any,
) -> None:
    """Rows rows[0] .. rows[1] of one group at `columns` output pixels, epilogue included.

    `weights` is packed by `packing.pack_rows`; `y` and `residual` point at row 0 and the first
    of the columns.
    """
    taps = step[slots.KERNEL_D] * step[slots.KERNEL_H] * step[slots.KERNEL_W]
    depth = step[slots.CHANNELS] * taps
    block = step[slots.DEPTH_BLOCK]
    width = VECTORS * lanes(y)
    low = number(double_bits(step[slots.LOW]), y)
    high = number(double_bits(step[slots.HIGH]), y)
    nothing = pointer(0, y)
    height = blocks(step[slots.ROWS], ROWS) * ROWS
    first = 0
    while True:
        count = min(block, depth - first)
        last = first + count >= depth
        pack_patches(step, image, first, count, column, columns, panels, width)
        for left in range(0, columns, width):
            b = at(panels, left * count)
            for top in range(rows[0], rows[1], ROWS):
                call(
                    step[slots.TILE],
                    count,
                    at(weights, first * height + top * count),
                    ROWS,
                    b,
                    width,
                    at(y, top * stride + left),
                    stride,
                    min(ROWS, rows[1] - top),
                    min(width, columns - left),
                    at(bias, top) if first == 0 and step[slots.BIAS] != 0 else nothing,
                    at(residual, top * residual_stride + left)
                    if last and step[slots.RESIDUAL] != 0
                    else nothing,
                    residual_stride,
                    int(first > 0),
                    low if last else number(-1e400, y),
                    high if last else number(1e400, y),
                )
        first += count
        if last:
            break


def convolve(step: Any, like: Any, part: Any, parts: Any) -> None:
    """Kernel: one convolution with bias, residual and activation; see `slots` for the step."""
    rows, groups = step[slots.ROWS], step[slots.GROUPS]
    plane = step[slots.IN_D] * step[slots.IN_H] * step[slots.IN_W]
    out = step[slots.OUT_D] * step[slots.OUT_H] * step[slots.OUT_W]
    taps = step[slots.KERNEL_D] * step[slots.KERNEL_H] * step[slots.KERNEL_W]
    depth = step[slots.CHANNELS] * taps
    panel_rows = blocks(rows, ROWS)
    cuts = blocks(out, step[slots.COLUMN_BLOCK])
    units = share(step[slots.IMAGES] * groups * cuts, part, parts)
    mine = (0, rows)
    if step[slots.SPLIT_ROWS] != 0:
        units = share(step[slots.IMAGES] * groups * cuts, 0, 1)
        top, end = share(panel_rows, part, parts)
        mine = (top * ROWS, min(end * ROWS, rows))
    panels = at(pointer(step[slots.SCRATCH], like), part * step[slots.SCRATCH_EACH])
    for unit in range(units[0], units[1]):
        block = unit % cuts
        group = unit // cuts % groups
        image = unit // (cuts * groups)
        column = block * step[slots.COLUMN_BLOCK]
        columns = min(step[slots.COLUMN_BLOCK], out - column)
        offset = image * step[slots.Y_IMAGE] + group * rows * out + column
        residual = (image * groups + group) * rows * out + column
        source = image * step[slots.X_IMAGE] + group * step[slots.CHANNELS] * plane
        y = at(pointer(step[slots.Y], like), offset)
        convolve_columns(
            step,
            at(pointer(step[slots.WEIGHTS], like), group * panel_rows * ROWS * depth),
            at(pointer(step[slots.X], like), source),
            mine,
            column,
            columns,
            y,
            out,
            at(pointer(step[slots.RESIDUAL], like), residual),
            out,
            at(pointer(step[slots.BIAS], like), group * panel_rows * ROWS),
            panels,
        )
        if step[slots.FINISH] != 0:
            call(
                step[slots.FINISH],
                at(y, mine[0] * out),
                mine[1] - mine[0],
                columns,
                out,
                number(double_bits(step[slots.ALPHA]), like),
                number(double_bits(step[slots.BETA]), like),
            )
