"""Depthwise convolution: one input channel per group, read through shifted views of one plane."""

from __future__ import annotations

from typing import Any

from irconv.backends.numba_cpu import slots
from irconv.backends.numba_cpu.jit import compiled_part
from irconv.backends.numba_cpu.limits import clamp
from irconv.backends.numba_cpu.lines import clear, copy_lines, reached
from irconv.backends.numba_cpu.pointers import (
    address,
    at,
    call,
    double_bits,
    lanes,
    number,
    pointer,
)
from irconv.backends.numba_cpu.shifted import WIDE, shifted_sum
from irconv.backends.numba_cpu.work import share


@compiled_part
def _phases(step: Any) -> Any:
    """Sizes (planes, lines, pitch) of one phase of the padded image; see `depthwise`."""
    reach = (
        (step[slots.KERNEL_D] - 1) * step[slots.DILATION_D] // step[slots.STRIDE_D],
        (step[slots.KERNEL_H] - 1) * step[slots.DILATION_H] // step[slots.STRIDE_H],
        (step[slots.KERNEL_W] - 1) * step[slots.DILATION_W] // step[slots.STRIDE_W],
    )
    return (
        step[slots.OUT_D] + reach[0],
        step[slots.OUT_H] + reach[1],
        step[slots.OUT_W] + reach[2],
    )


def depthwise(step: Any, like: Any, part: Any, parts: Any) -> None:
    """Kernel: a convolution with CHANNELS == 1, bias, residual and activation.

    The zero-padded plane of a channel is split by the strides into phases: phase (a, b, c) holds
    the places (z, y, x) with z % stride_d == a, and so on. Then every tap of every output is one
    phase shifted by a constant, whatever the stride, and the outputs are one long run of vectors
    with no edges. WEIGHTS is the plain [groups * ROWS, taps]. Scratch of a part:
    `depthwise_scratch`.
    """
    groups, rows = step[slots.GROUPS], step[slots.ROWS]
    plane = step[slots.IN_D] * step[slots.IN_H] * step[slots.IN_W]
    taps = step[slots.KERNEL_D] * step[slots.KERNEL_H] * step[slots.KERNEL_W]
    size = _phases(step)
    scratch = at(pointer(step[slots.SCRATCH], like), part * step[slots.SCRATCH_EACH])
    strides = step[slots.STRIDE_D] * step[slots.STRIDE_H] * step[slots.STRIDE_W]
    run = size[0] * size[1] * size[2]
    phases = at(scratch, run + WIDE * lanes(like))
    behind = address(at(phases, strides * run + WIDE * lanes(like)))
    table = pointer((behind + 7) // 8 * 8, step)
    _write_table(step, size, table)
    first, end = share(step[slots.IMAGES] * groups, part, parts)
    for unit in range(first, end):
        image, group = unit // groups, unit % groups
        source = at(pointer(step[slots.X], like), image * step[slots.X_IMAGE] + group * plane)
        _split(step, source, size, phases)
        for row in range(rows):
            channel = group * rows + row
            weights = at(pointer(step[slots.WEIGHTS], like), channel * taps)
            _convolve_plane(step, size, taps, weights, table, phases, scratch, image, channel)


@compiled_part
def _write_table(step: Any, size: Any, table: Any) -> None:
    """The shift of every tap in the phases."""
    run = size[0] * size[1] * size[2]
    stride = (step[slots.STRIDE_D], step[slots.STRIDE_H], step[slots.STRIDE_W])
    tap = 0
    for kd in range(step[slots.KERNEL_D]):
        z = kd * step[slots.DILATION_D]
        for kh in range(step[slots.KERNEL_H]):
            y = kh * step[slots.DILATION_H]
            for kw in range(step[slots.KERNEL_W]):
                x = kw * step[slots.DILATION_W]
                phase = (z % stride[0] * stride[1] + y % stride[1]) * stride[2] + x % stride[2]
                shift = (z // stride[0] * size[1] + y // stride[1]) * size[2] + x // stride[2]
                table[tap] = phase * run + shift
                tap += 1


@compiled_part
def _split(step: Any, source: Any, size: Any, phases: Any) -> None:
    """Write the phases of one padded channel."""
    in_h, in_w = step[slots.IN_H], step[slots.IN_W]
    stride_h, stride_w = step[slots.STRIDE_H], step[slots.STRIDE_W]
    lines, pitch = size[1], size[2]
    for phase in range(step[slots.STRIDE_D] * stride_h * stride_w):
        shift_h = phase // stride_w % stride_h - step[slots.PAD_H]
        shift_w = phase % stride_w - step[slots.PAD_W]
        top, bottom = reached(shift_h, stride_h, in_h, lines)
        low, high = reached(shift_w, stride_w, in_w, pitch)
        for z in range(size[0]):
            deep = z * step[slots.STRIDE_D] + phase // (stride_h * stride_w) - step[slots.PAD_D]
            target = at(phases, (phase * size[0] + z) * lines * pitch)
            if deep < 0 or deep >= step[slots.IN_D]:
                clear(target, lines * pitch)
                continue
            clear(target, top * pitch)
            start = (deep * in_h + top * stride_h + shift_h) * in_w + shift_w
            copy_lines(
                at(target, top * pitch), pitch, at(source, start), stride_h * in_w, bottom - top,
                stride_w, low, high, pitch,
            )  # fmt: skip
            clear(at(target, bottom * pitch), (lines - bottom) * pitch)


@compiled_part
def _convolve_plane(
    step: Any,
    size: Any,
    taps: Any,
    weights: Any,
    table: Any,
    phases: Any,
    sums: Any,
    image: Any,
    channel: Any,
) -> None:
    """One output channel: the sums of all its pixels, then the epilogue into y."""
    out_d, out_h, out_w = step[slots.OUT_D], step[slots.OUT_H], step[slots.OUT_W]
    low, high = (
        number(double_bits(step[slots.LOW]), sums),
        number(double_bits(step[slots.HIGH]), sums),
    )
    bias = number(0.0, sums)
    if step[slots.BIAS] != 0:
        bias = pointer(step[slots.BIAS], sums)[channel]
    bounds = (low, high)
    if step[slots.RESIDUAL] != 0:
        bounds = (number(-1e400, sums), number(1e400, sums))
    used = ((out_d - 1) * size[1] + out_h - 1) * size[2] + out_w
    for i in range(0, used, WIDE * lanes(sums)):
        shifted_sum(at(sums, i), at(phases, i), weights, table, taps, bias, bounds[0], bounds[1])
    out = out_d * out_h * out_w
    y = at(pointer(step[slots.Y], sums), image * step[slots.Y_IMAGE] + channel * out)
    for z in range(out_d):
        copy_lines(
            at(y, z * out_h * out_w), out_w, at(sums, z * size[1] * size[2]), size[2], out_h,
            1, 0, out_w, out_w,
        )  # fmt: skip
    if step[slots.RESIDUAL] != 0:
        start = (image * step[slots.GROUPS] * step[slots.ROWS] + channel) * out
        residual = at(pointer(step[slots.RESIDUAL], sums), start)
        for i in range(out):
            y[i] = clamp(y[i] + residual[i], low, high)
    if step[slots.FINISH] != 0:
        call(
            step[slots.FINISH],
            y,
            1,
            out,
            out,
            number(double_bits(step[slots.ALPHA]), y),
            number(double_bits(step[slots.BETA]), y),
        )
