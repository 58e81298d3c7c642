"""Writes the patch matrix of a convolution."""

from __future__ import annotations

from typing import Any

from irconv.backends.numba_cpu import slots
from irconv.backends.numba_cpu.jit import compiled_part
from irconv.backends.numba_cpu.pointers import at, lanes, move_lanes, number, pointer
from irconv.backends.numba_cpu.work import share


def im2col(step: Any, like: Any, part: Any, parts: Any) -> None:
    """Kernel: [N, C, *in] to [N, groups, C / groups * taps, prod(out)], zeros in the padding.

    A row of the matrix is (channel, tap), the tap running faster.
    """
    in_d, in_h, in_w = step[slots.IN_D], step[slots.IN_H], step[slots.IN_W]
    kernel_h, kernel_w = step[slots.KERNEL_H], step[slots.KERNEL_W]
    taps = step[slots.KERNEL_D] * kernel_h * kernel_w
    channels = step[slots.GROUPS] * step[slots.CHANNELS]
    out = step[slots.OUT_D] * step[slots.OUT_H] * step[slots.OUT_W]
    first, end = share(step[slots.IMAGES] * channels * taps, part, parts)
    for unit in range(first, end):
        tap = unit % taps
        channel = unit // taps % channels
        image = unit // (taps * channels)
        line = tap // kernel_w
        source = at(
            pointer(step[slots.X], like),
            image * step[slots.X_IMAGE] + channel * in_d * in_h * in_w,
        )
        place = image * step[slots.Y_IMAGE] + (channel * taps + tap) * out
        tap_d = line // kernel_h
        offsets = (
            tap_d * step[slots.DILATION_D] - step[slots.PAD_D],
            (line - tap_d * kernel_h) * step[slots.DILATION_H] - step[slots.PAD_H],
            (tap - line * kernel_w) * step[slots.DILATION_W] - step[slots.PAD_W],
        )
        _write_row(step, source, offsets, at(pointer(step[slots.Y], like), place))


@compiled_part
def _write_row(step: Any, source: Any, offsets: Any, target: Any) -> None:
    """One channel of an image, shifted by one tap."""
    in_d, in_h, in_w = step[slots.IN_D], step[slots.IN_H], step[slots.IN_W]
    out_h, out_w, stride = step[slots.OUT_H], step[slots.OUT_W], step[slots.STRIDE_W]
    shift = offsets[2]
    low, high = max((-shift + stride - 1) // stride, 0), (in_w - shift + stride - 1) // stride
    high = min(high, out_w)
    for z in range(step[slots.OUT_D]):
        from_z = z * step[slots.STRIDE_D] + offsets[0]
        for y in range(out_h):
            from_y = y * step[slots.STRIDE_H] + offsets[1]
            line = at(target, (z * out_h + y) * out_w)
            if from_z < 0 or from_z >= in_d or from_y < 0 or from_y >= in_h:
                for x in range(out_w):
                    line[x] = number(0.0, line)
            else:
                start = at(source, (from_z * in_h + from_y) * in_w + shift)
                copy_line(line, start, stride, low, high, out_w)


@compiled_part
def copy_line(target: Any, source: Any, stride: Any, low: Any, high: Any, count: Any) -> None:
    """target[i] = source[i * stride] for low <= i < high, else 0, for i < count."""
    size = lanes(target)
    if stride == 1:
        for v in range(0, count, size):
            move_lanes(1, at(target, v), at(source, v), low - v, high - v, count - v)
    elif stride == 2:
        for v in range(0, count, size):
            move_lanes(2, at(target, v), at(source, 2 * v), low - v, high - v, count - v)
    else:
        for i in range(count):
            target[i] = source[i * stride] if low <= i < high else number(0.0, target)
