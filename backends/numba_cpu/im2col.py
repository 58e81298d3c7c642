"""Writes the patch matrix of a convolution."""

from __future__ import annotations

from typing import Any

from irconv.backends.numba_cpu import slots
from irconv.backends.numba_cpu.jit import compiled_part
from irconv.backends.numba_cpu.lines import clear, copy_lines, copy_run, reached
from irconv.backends.numba_cpu.pointers import at, fence, number, pointer
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
    plain = _keeps_lines(step)
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
        target = at(pointer(step[slots.Y], like), place)
        if plain:
            _shift_plane(step, source, offsets, target)
        else:
            _write_row(step, source, offsets, target)
    if step[slots.STREAMS] != 0:
        fence()


@compiled_part
def _keeps_lines(step: Any) -> Any:
    """Whether a line of the output is a line of the image, shifted."""
    return (
        step[slots.STRIDE_H] == 1
        and step[slots.STRIDE_W] == 1
        and step[slots.OUT_W] == step[slots.IN_W]
    )


@compiled_part
def _shift_plane(step: Any, source: Any, offsets: Any, target: Any) -> None:
    """`_write_row` where `_keeps_lines`: a copy in one run, then zeros in its edges."""
    in_h, width, out_h = step[slots.IN_H], step[slots.IN_W], step[slots.OUT_H]
    zero = number(0.0, target)
    top, bottom = reached(offsets[1], 1, in_h, out_h)
    low, high = reached(offsets[2], 1, width, width)
    for z in range(step[slots.OUT_D]):
        from_z = z * step[slots.STRIDE_D] + offsets[0]
        plane = at(target, z * out_h * width)
        if from_z < 0 or from_z >= step[slots.IN_D] or bottom <= top or high <= low:
            clear(plane, out_h * width, zero)
            continue
        clear(plane, top * width, zero)
        start = top * width + low
        line = (from_z * in_h + offsets[1]) * width + offsets[2]
        count = (bottom - top) * width - low - (width - high)
        copy_run(at(plane, start), at(source, line + start), count, step[slots.STREAMS] != 0)
        for x in range(low):
            for row in range(top, bottom):
                plane[row * width + x] = zero
        for x in range(high, width):
            for row in range(top, bottom):
                plane[row * width + x] = zero
        clear(at(plane, bottom * width), (out_h - bottom) * width, zero)


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
