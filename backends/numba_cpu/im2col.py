"""Writes the patch matrix of a convolution."""

from __future__ import annotations

from typing import Any

from irconv.backends.numba_cpu import slots
from irconv.backends.numba_cpu.jit import compiled_part
from irconv.backends.numba_cpu.lines import clear, copy_lines, reached
from irconv.backends.numba_cpu.pointers import at, number, pointer
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
    in_h, in_w = step[slots.IN_H], step[slots.IN_W]
    out_h, out_w = step[slots.OUT_H], step[slots.OUT_W]
    stride, stride_h = step[slots.STRIDE_W], step[slots.STRIDE_H]
    zero = number(0.0, target)
    low, high = reached(offsets[2], stride, in_w, out_w)
    top, bottom = reached(offsets[1], stride_h, in_h, out_h)
    for z in range(step[slots.OUT_D]):
        from_z = z * step[slots.STRIDE_D] + offsets[0]
        plane = at(target, z * out_h * out_w)
        if from_z < 0 or from_z >= step[slots.IN_D]:
            clear(plane, out_h * out_w, zero)
            continue
        clear(plane, top * out_w, zero)
        line = (from_z * in_h + top * stride_h + offsets[1]) * in_w + offsets[2]
        copy_lines(
            at(plane, top * out_w), out_w, at(source, line), stride_h * in_w, bottom - top,
            stride, low, high, out_w, zero,
        )  # fmt: skip
        clear(at(plane, bottom * out_w), (out_h - bottom) * out_w, zero)
