"""Packs columns of the patch matrix straight from the image into panels for the micro-kernel."""

from __future__ import annotations

from typing import Any

from irconv.backends.numba_cpu import slots
from irconv.backends.numba_cpu.jit import compiled_part
from irconv.backends.numba_cpu.lines import copy_lines, reached
from irconv.backends.numba_cpu.pointers import at, copy_lanes, lanes, move_lanes, number, prefetch
from irconv.backends.numba_cpu.same_lines import pack_same_lines

AHEAD = 8  # rows of a matrix that prefetches run ahead


@compiled_part
def pack_patches(
    step: Any,
    image: Any,
    first: Any,
    depth: Any,
    column: Any,
    columns: Any,
    panels: Any,
    width: Any,
) -> None:
    """Rows first .. first + depth and columns column .. column + columns of the patch matrix.

    `image` is one group of one image, [channels, *in]. `panels` receives [panel][depth][width];
    lanes past the last column hold anything.
    """
    out_w, out_h = step[slots.OUT_W], step[slots.OUT_H]
    if step[slots.IS_PRODUCT] != 0:
        pack_matrix(at(image, first * out_w + column), out_w, depth, columns, panels, width)
        return
    if step[slots.SAME_LINES] != 0:
        pack_same_lines(step, image, first, depth, column, columns, panels, width)
        return
    done = 0
    while done < columns:
        row = (column + done) // out_w
        x = column + done - row * out_w
        lane = done % width
        count = min(out_w - x, columns - done, width - lane)
        target = at(panels, (done - lane) * depth + lane)
        z = row // out_h
        _pack_run(step, image, first, depth, (z, row - z * out_h, x), count, target, width)
        done += count


@compiled_part
def pack_matrix(source: Any, step: Any, depth: Any, columns: Any, panels: Any, width: Any) -> None:
    """Rows source[k * step ...] of a matrix; all panels of a row together, as memory likes it."""
    size, whole = lanes(panels), columns // width * width
    zero = number(0.0, panels)
    for k in range(depth):
        row = at(source, k * step)
        for v in range(0, columns, 64 // 4):
            prefetch(at(row, AHEAD * step + v))
        for left in range(0, whole, width):
            copy_lanes(3, 0, at(panels, left * depth + k * width), at(row, left))
        for v in range(whole, columns, size):
            place = whole * depth + k * width + v - whole
            count = columns - v
            move_lanes(1, at(panels, place), at(row, v), 0, count, count, zero)


@compiled_part
def _pack_run(
    step: Any, image: Any, first: Any, depth: Any, place: Any, count: Any, target: Any, width: Any
) -> None:
    """All taps and channels of `count` neighbouring outputs of one output row.

    A row of the patch matrix is (tap, channel), the channel running faster: then one tap's
    bounds serve all channels, and the panel is written from front to back.
    """
    in_d, in_h, in_w = step[slots.IN_D], step[slots.IN_H], step[slots.IN_W]
    kernel_h, kernel_w = step[slots.KERNEL_H], step[slots.KERNEL_W]
    channels, stride = step[slots.CHANNELS], step[slots.STRIDE_W]
    plane = in_d * in_h * in_w
    done = 0
    while done < depth:
        tap = (first + done) // channels
        channel = first + done - tap * channels
        copies = min(channels - channel, depth - done)
        line = tap // kernel_w
        tap_d = line // kernel_h
        z = place[0] * step[slots.STRIDE_D] + tap_d * step[slots.DILATION_D] - step[slots.PAD_D]
        y = (
            place[1] * step[slots.STRIDE_H]
            + (line - tap_d * kernel_h) * step[slots.DILATION_H]
            - step[slots.PAD_H]
        )
        x = place[2] * stride + (tap - line * kernel_w) * step[slots.DILATION_W] - step[slots.PAD_W]
        low, high = reached(x, stride, in_w, count)
        if z < 0 or z >= in_d or y < 0 or y >= in_h:
            low, high = 0, 0
        source = at(image, channel * plane + (z * in_h + y) * in_w + x)
        copy_lines(
            at(target, done * width), width, source, plane, copies, stride, low, high, count,
            number(0.0, target),
        )  # fmt: skip
        done += copies
