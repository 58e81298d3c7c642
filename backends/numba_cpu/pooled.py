"""Convolution, bias, residual, activation and pooling in one kernel, band by band."""

from __future__ import annotations

from typing import Any

from irconv.backends.numba_cpu import slots
from irconv.backends.numba_cpu.convolve import convolve_columns
from irconv.backends.numba_cpu.jit import compiled_part
from irconv.backends.numba_cpu.lines import clear, fold_lines
from irconv.backends.numba_cpu.phases import phase_sizes, split_phases, write_shifts
from irconv.backends.numba_cpu.pointers import (
    address,
    at,
    call,
    double_bits,
    fold_run,
    lanes,
    number,
    pointer,
)
from irconv.backends.numba_cpu.shifted import HALF, WIDE, shifted_fold
from irconv.backends.numba_cpu.tiles import ROWS
from irconv.backends.numba_cpu.work import blocks, share


def convolve_pool(step: Any, like: Any, part: Any, parts: Any) -> None:
    """Kernel: one convolution with its epilogue, and the pool after it.

    A band of BAND rows of ROW_BLOCK channels before the pool lies in the part's scratch; each
    of its rows is pooled at once into every output row that reads it, so overlapping windows
    cost no second convolution. Where a part's rows begin, the overlap is computed again. In 3-D,
    so is it where windows overlap along the first axis.
    """
    rows, groups = step[slots.ROWS], step[slots.GROUPS]
    planes, segments = step[slots.POOLED_D], step[slots.SEGMENTS]
    block = step[slots.ROW_BLOCK]
    cuts = blocks(rows, block)
    count = step[slots.IMAGES] * groups * cuts * planes * segments
    scratch = at(pointer(step[slots.SCRATCH], like), part * step[slots.SCRATCH_EACH])
    first, end = share(count, part, parts)
    for unit in range(first, end):
        segment = unit % segments
        plane = unit // segments % planes
        above = unit // (segments * planes)
        top = above % cuts * block
        pooled_rows = share(step[slots.POOLED_H], segment, segments)
        _pool_segment(
            step,
            above // (cuts * groups),
            above // cuts % groups,
            (top, min(top + block, rows)),
            plane,
            pooled_rows,
            scratch,
        )


@compiled_part
def _pool_segment(
    step: Any, image: Any, group: Any, channels: Any, plane: Any, pooled_rows: Any, scratch: Any
) -> None:
    """Some output rows of one output plane, for some channels of one group."""
    height, width = step[slots.POOLED_H], step[slots.POOLED_W]
    size = step[slots.POOLED_D] * height * width
    rows = step[slots.ROWS]
    y = at(
        pointer(step[slots.Y], scratch),
        image * step[slots.Y_IMAGE] + (group * rows + channels[0]) * size + plane * height * width,
    )
    planes = channels[1] - channels[0]
    behind = at(scratch, step[slots.POOL_SCRATCH])
    start_pool(step, y, size, planes, pooled_rows)
    stride, dilation = step[slots.POOL_STRIDE_H], step[slots.POOL_DILATION_H]
    top = pooled_rows[0] * stride - step[slots.POOL_PAD_H]
    bottom = (
        (pooled_rows[1] - 1) * stride
        - step[slots.POOL_PAD_H]
        + (step[slots.POOL_H] - 1) * dilation
        + 1
    )
    top, bottom = max(top, 0), min(bottom, step[slots.OUT_H])
    for tap in range(step[slots.POOL_D]):
        z = (
            plane * step[slots.POOL_STRIDE_D]
            - step[slots.POOL_PAD_D]
            + tap * step[slots.POOL_DILATION_D]
        )
        if z < 0 or z >= step[slots.OUT_D]:
            continue
        for i in range(blocks(bottom - top, step[slots.BAND])):
            row = top + i * step[slots.BAND]
            band = (row, min(row + step[slots.BAND], bottom))
            _convolve_band(step, image, group, channels, z, band, scratch)
            columns = (band[1] - band[0]) * step[slots.OUT_W]
            pool_rows(step, scratch, columns, band, y, size, planes, pooled_rows, behind)
    if step[slots.POOL_KIND] != slots.MAX:
        divide_pool(step, y, size, planes, plane, pooled_rows, behind)


@compiled_part
def start_pool(step: Any, y: Any, y_step: Any, planes: Any, pooled_rows: Any) -> None:
    """Put what the pool folds into where it begins: -inf, or 0 for a sum."""
    width = step[slots.POOLED_W]
    zero = number(-1e400, y) if step[slots.POOL_KIND] == slots.MAX else number(0.0, y)
    for c in range(planes):
        clear(
            at(y, c * y_step + pooled_rows[0] * width),
            (pooled_rows[1] - pooled_rows[0]) * width,
            zero,
        )


@compiled_part
def _convolve_band(
    step: Any, image: Any, group: Any, channels: Any, z: Any, band: Any, scratch: Any
) -> None:
    """Convolution and epilogue for some rows of one plane, into the front of the scratch."""
    taps = step[slots.KERNEL_D] * step[slots.KERNEL_H] * step[slots.KERNEL_W]
    depth = step[slots.CHANNELS] * taps
    plane = step[slots.IN_D] * step[slots.IN_H] * step[slots.IN_W]
    out_w, rows = step[slots.OUT_W], step[slots.ROWS]
    out = step[slots.OUT_D] * step[slots.OUT_H] * out_w
    padded = blocks(rows, ROWS) * ROWS
    first = (z * step[slots.OUT_H] + band[0]) * out_w
    columns = (band[1] - band[0]) * out_w
    panels = at(scratch, step[slots.ROW_BLOCK] * step[slots.BAND] * out_w)
    panels = pointer((address(panels) + 63) // 64 * 64, scratch)
    x = at(
        pointer(step[slots.X], scratch),
        image * step[slots.X_IMAGE] + group * step[slots.CHANNELS] * plane,
    )
    residual = pointer(step[slots.RESIDUAL], scratch)
    start = (image * step[slots.GROUPS] + group) * rows * out + first
    for i in range(blocks(columns, step[slots.COLUMN_BLOCK])):
        left = i * step[slots.COLUMN_BLOCK]
        convolve_columns(
            step,
            at(pointer(step[slots.WEIGHTS], scratch), group * padded * depth),
            x,
            channels,
            first + left,
            min(step[slots.COLUMN_BLOCK], columns - left),
            at(scratch, left - channels[0] * columns),
            columns,
            at(residual, start + left),
            out,
            at(pointer(step[slots.BIAS], scratch), group * padded),
            panels,
        )
    if step[slots.FINISH] != 0:
        call(
            step[slots.FINISH],
            scratch,
            channels[1] - channels[0],
            columns,
            columns,
            number(double_bits(step[slots.ALPHA]), scratch),
            number(double_bits(step[slots.BETA]), scratch),
        )


@compiled_part
def pool_rows(
    step: Any,
    source: Any,
    source_step: Any,
    band: Any,
    y: Any,
    y_step: Any,
    planes: Any,
    pooled_rows: Any,
    scratch: Any,
) -> None:
    """Fold rows band[0] .. band[1] of `planes` images into the output rows that read them.

    `source_step` and `y_step` lead from one image, and from one output, to the next. Scratch:
    see `blocking.pool_scratch`.
    """
    adds = int(step[slots.POOL_KIND] != slots.MAX)
    stride, dilation = step[slots.POOL_STRIDE_H], step[slots.POOL_DILATION_H]
    pad, out_w, width = step[slots.POOL_PAD_H], step[slots.OUT_W], step[slots.POOLED_W]
    if step[slots.POOL_WHOLE] != 0:
        count = (band[1] - band[0]) * out_w
        for c in range(planes):
            if adds != 0:
                fold_run(1, at(y, c * y_step), at(source, c * source_step), count)
            else:
                fold_run(0, at(y, c * y_step), at(source, c * source_step), count)
        return
    top = max(pooled_rows[0], blocks(band[0] + pad - (step[slots.POOL_H] - 1) * dilation, stride))
    bottom = min(pooled_rows[1], blocks(band[1] + pad, stride))
    if bottom <= top:
        return
    image = (1, band[1] - band[0], out_w)
    kernel = (1, step[slots.POOL_H], step[slots.POOL_W])
    strides = (1, stride, step[slots.POOL_STRIDE_W])
    dilations = (1, dilation, step[slots.POOL_DILATION_W])
    pads = (0, pad + band[0] - top * stride, step[slots.POOL_PAD_W])
    size = phase_sizes((1, bottom - top, width), kernel, strides, dilations)
    run, room = size[1] * size[2], WIDE * lanes(y)
    phases = at(scratch, run + room)
    behind = address(at(phases, strides[1] * strides[2] * run + room))
    table = pointer((behind + 7) // 8 * 8, step)
    write_shifts(size, kernel, strides, dilations, table)
    taps = kernel[1] * kernel[2]
    used = (bottom - top - 1) * size[2] + width
    start = number(0.0, y) if adds != 0 else number(-1e400, y)
    for c in range(planes):
        split_phases(at(source, c * source_step), image, size, strides, pads, start, phases)
        _fold_taps(adds, scratch, phases, table, taps, used, start)
        to = at(y, c * y_step + top * width)
        fold_lines(adds, to, width, scratch, size[2], bottom - top, width)


@compiled_part
def _fold_taps(
    adds: Any, sums: Any, phases: Any, table: Any, taps: Any, used: Any, start: Any
) -> None:
    """The first `used` of the sums (or extremes) of all taps."""
    for i in range(0, used, WIDE * lanes(sums)):
        to, source = at(sums, i), at(phases, i)
        if used - i > HALF * lanes(sums):
            if adds != 0:
                shifted_fold(1, WIDE, to, source, table, taps, start)
            else:
                shifted_fold(0, WIDE, to, source, table, taps, start)
        elif adds != 0:
            shifted_fold(1, HALF, to, source, table, taps, start)
        else:
            shifted_fold(0, HALF, to, source, table, taps, start)


@compiled_part
def divide_pool(
    step: Any, y: Any, y_step: Any, planes: Any, plane: Any, pooled_rows: Any, scratch: Any
) -> None:
    """Turn the sums of output plane `plane` of `planes` images into averages.

    Over the window, or over what of it lies inside. Scratch: POOLED_W values.
    """
    inside = step[slots.POOL_KIND] == slots.AVERAGE_INSIDE
    deep = _window(
        plane * step[slots.POOL_STRIDE_D] - step[slots.POOL_PAD_D],
        step[slots.POOL_D],
        step[slots.POOL_DILATION_D],
        step[slots.OUT_D],
        step[slots.POOL_END_D],
        inside,
    )
    width = step[slots.POOLED_W]
    for q in range(width):
        count = _window(
            q * step[slots.POOL_STRIDE_W] - step[slots.POOL_PAD_W],
            step[slots.POOL_W],
            step[slots.POOL_DILATION_W],
            step[slots.OUT_W],
            step[slots.POOL_END_W],
            inside,
        )
        scratch[q] = number(float(count), y)
    for p in range(pooled_rows[0], pooled_rows[1]):
        high = deep * _window(
            p * step[slots.POOL_STRIDE_H] - step[slots.POOL_PAD_H],
            step[slots.POOL_H],
            step[slots.POOL_DILATION_H],
            step[slots.OUT_H],
            step[slots.POOL_END_H],
            inside,
        )
        factor = number(float(high), y)
        for c in range(planes):
            line = at(y, c * y_step + p * width)
            for q in range(width):
                line[q] /= scratch[q] * factor


@compiled_part
def _window(start: Any, taps: Any, dilation: Any, size: Any, end: Any, inside: Any) -> Any:
    """How many taps of a window count: those in the image, or in it and its padding."""
    count = 0
    for tap in range(taps):
        place = start + tap * dilation
        if inside:
            count += int(place >= 0 and place < size)
        else:
            count += int(place < size + end)
    return count
