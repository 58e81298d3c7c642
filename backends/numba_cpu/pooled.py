"""Convolution, bias, residual, activation and pooling in one kernel, band by band."""

from __future__ import annotations

from typing import Any

from irconv.backends.numba_cpu import slots
from irconv.backends.numba_cpu.convolve import convolve_columns
from irconv.backends.numba_cpu.jit import compiled_part
from irconv.backends.numba_cpu.lines import reached
from irconv.backends.numba_cpu.pointers import (
    address,
    at,
    call,
    double_bits,
    fold_lanes,
    lanes,
    number,
    pointer,
)
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
        image * step[slots.Y_IMAGE] + group * rows * size + plane * height * width,
    )
    start_pool(step, y, size, channels, pooled_rows)
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
            for channel in range(channels[0], channels[1]):
                source = at(
                    scratch,
                    (channel - channels[0]) * (band[1] - band[0]) * step[slots.OUT_W],
                )
                pool_band(step, source, band, at(y, channel * size), pooled_rows)
    if step[slots.POOL_KIND] != slots.MAX:
        divide_pool(step, y, size, channels, plane, pooled_rows)


@compiled_part
def start_pool(step: Any, y: Any, size: Any, channels: Any, pooled_rows: Any) -> None:
    """Put what the pool folds into where it begins: -inf, or 0 for a sum."""
    width = step[slots.POOLED_W]
    zero = number(-1e400, y) if step[slots.POOL_KIND] == slots.MAX else number(0.0, y)
    for channel in range(channels[0], channels[1]):
        for q in range(pooled_rows[0] * width, pooled_rows[1] * width):
            y[channel * size + q] = zero


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
def pool_band(step: Any, source: Any, band: Any, y: Any, pooled_rows: Any) -> None:
    """One channel of a band into all output rows that read it."""
    stride, dilation = step[slots.POOL_STRIDE_H], step[slots.POOL_DILATION_H]
    pad, out_w, width = step[slots.POOL_PAD_H], step[slots.OUT_W], step[slots.POOLED_W]
    span = (step[slots.POOL_H] - 1) * dilation
    top = max(pooled_rows[0], blocks(band[0] + pad - span, stride))
    bottom = min(pooled_rows[1], blocks(band[1] + pad, stride))
    for tap_w in range(step[slots.POOL_W]):
        shift = tap_w * step[slots.POOL_DILATION_W] - step[slots.POOL_PAD_W]
        reach = reached(shift, step[slots.POOL_STRIDE_W], out_w, width)
        for p in range(top, bottom):
            for tap_h in range(step[slots.POOL_H]):
                row = p * stride - pad + tap_h * dilation - band[0]
                if row >= 0 and row < band[1] - band[0]:
                    _pool_row(step, at(source, row * out_w + shift), at(y, p * width), reach)


@compiled_part
def _pool_row(step: Any, line: Any, y: Any, reach: Any) -> None:
    """One tap of one row before the pool into one row after it."""
    if step[slots.POOL_KIND] == slots.MAX:
        _take_largest(y, line, step[slots.POOL_STRIDE_W], reach[0], reach[1])
    else:
        _add(y, line, step[slots.POOL_STRIDE_W], reach[0], reach[1])


@compiled_part
def _take_largest(y: Any, line: Any, stride: Any, first: Any, end: Any) -> None:
    if stride == 1:
        for v in range(0, end, lanes(y)):
            fold_lanes(0, 1, at(y, v), at(line, v), first - v, end - v)
    elif stride == 2:
        for v in range(0, end, lanes(y)):
            fold_lanes(0, 2, at(y, v), at(line, 2 * v), first - v, end - v)
    else:
        for q in range(first, end):
            value, best = line[q * stride], y[q]
            # A NaN of either side stays.
            y[q] = value if value > best or value != value else best


@compiled_part
def _add(y: Any, line: Any, stride: Any, first: Any, end: Any) -> None:
    if stride == 1:
        for v in range(0, end, lanes(y)):
            fold_lanes(1, 1, at(y, v), at(line, v), first - v, end - v)
    elif stride == 2:
        for v in range(0, end, lanes(y)):
            fold_lanes(1, 2, at(y, v), at(line, 2 * v), first - v, end - v)
    else:
        for q in range(first, end):
            y[q] += line[q * stride]


@compiled_part
def divide_pool(step: Any, y: Any, size: Any, channels: Any, plane: Any, pooled_rows: Any) -> None:
    """Turn the sums into averages over the window, or over what of it lies inside."""
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
    for p in range(pooled_rows[0], pooled_rows[1]):
        high = deep * _window(
            p * step[slots.POOL_STRIDE_H] - step[slots.POOL_PAD_H],
            step[slots.POOL_H],
            step[slots.POOL_DILATION_H],
            step[slots.OUT_H],
            step[slots.POOL_END_H],
            inside,
        )
        for q in range(width):
            count = high * _window(
                q * step[slots.POOL_STRIDE_W] - step[slots.POOL_PAD_W],
                step[slots.POOL_W],
                step[slots.POOL_DILATION_W],
                step[slots.OUT_W],
                step[slots.POOL_END_W],
                inside,
            )
            divisor = number(float(count), y)
            for channel in range(channels[0], channels[1]):
                y[channel * size + p * width + q] /= divisor


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
