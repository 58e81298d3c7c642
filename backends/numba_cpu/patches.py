"""Packs columns of the patch matrix straight from the image into panels for the micro-kernel."""

from __future__ import annotations

from typing import Any

from numba import njit

from irconv.backends.numba_cpu import slots
from irconv.backends.numba_cpu.pointers import at, lanes, move_lanes, number


@njit(error_model="numpy")
def pack_patches(
    step: Any, image: Any, first: Any, depth: Any, column: Any, columns: Any, panels: Any, width: Any
) -> None:
    """Rows first .. first + depth and columns column .. column + columns of the patch matrix.

    `image` is one group of one image, [channels, *in]. `panels` receives [panel][depth][width];
    lanes past the last column keep what they held.
    """
    out_w, out_h = step[slots.OUT_W], step[slots.OUT_H]
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


@njit(error_model="numpy")
def _pack_run(
    step: Any, image: Any, first: Any, depth: Any, place: Any, count: Any, target: Any, width: Any
) -> None:
    """All taps and channels of `count` neighbouring outputs of one output row."""
    in_d, in_h, in_w = step[slots.IN_D], step[slots.IN_H], step[slots.IN_W]
    kernel_h, kernel_w = step[slots.KERNEL_H], step[slots.KERNEL_W]
    taps = step[slots.KERNEL_D] * kernel_h * kernel_w
    stride = step[slots.STRIDE_W]
    plane = in_d * in_h * in_w
    for tap in range(min(taps, depth)):
        k = first + tap
        channel = k // taps
        t = k - channel * taps
        tap_d = t // (kernel_h * kernel_w)
        tap_h = t // kernel_w - tap_d * kernel_h
        tap_w = t % kernel_w
        z = place[0] * step[slots.STRIDE_D] + tap_d * step[slots.DILATION_D] - step[slots.PAD_D]
        y = place[1] * step[slots.STRIDE_H] + tap_h * step[slots.DILATION_H] - step[slots.PAD_H]
        x = place[2] * stride + tap_w * step[slots.DILATION_W] - step[slots.PAD_W]
        low, high = (-x + stride - 1) // stride, (in_w - x + stride - 1) // stride
        if z < 0 or z >= in_d or y < 0 or y >= in_h:
            low, high = 0, 0
        source = at(image, channel * plane + (z * in_h + y) * in_w + x)
        copies = (depth - tap + taps - 1) // taps
        _copy_lanes(at(target, tap * width), taps * width, source, plane, copies, stride,
                    max(low, 0), min(high, count), count)


@njit(error_model="numpy")
def _copy_lanes(
    target: Any, target_step: Any, source: Any, source_step: Any, copies: Any, stride: Any,
    low: Any, high: Any, count: Any,
) -> None:
    """For each of `copies` channels: `count` lanes, of which low .. high come from the source."""
    size = lanes(target)
    for v in range(0, count, size):
        to, start = at(target, v), at(source, v * stride)
        if stride == 1:
            for _ in range(copies):
                move_lanes(1, to, start, low - v, high - v, count - v)
                to, start = at(to, target_step), at(start, source_step)
        elif stride == 2:
            for _ in range(copies):
                move_lanes(2, to, start, low - v, high - v, count - v)
                to, start = at(to, target_step), at(start, source_step)
        else:
            for _ in range(copies):
                for i in range(min(size, count - v)):
                    to[i] = start[i * stride] if low <= v + i < high else number(0.0, to)
                to, start = at(to, target_step), at(start, source_step)
