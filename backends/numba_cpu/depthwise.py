"""Depthwise convolution: one input channel per group, read through shifted views of one plane."""

from __future__ import annotations

from typing import Any

from irconv.backends.numba_cpu import slots
from irconv.backends.numba_cpu.im2col import copy_line
from irconv.backends.numba_cpu.jit import compiled_part
from irconv.backends.numba_cpu.limits import clamp
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
    stride_h, stride_w = step[slots.STRIDE_H], step[slots.STRIDE_W]
    run = size[0] * size[1] * size[2]
    for phase in range(step[slots.STRIDE_D] * stride_h * stride_w):
        a = phase // (stride_h * stride_w)
        b = phase // stride_w % stride_h
        for z in range(size[0]):
            for y in range(size[1]):
                _split_line(
                    step,
                    source,
                    (
                        z * step[slots.STRIDE_D] + a - step[slots.PAD_D],
                        y * stride_h + b - step[slots.PAD_H],
                        phase % stride_w - step[slots.PAD_W],
                    ),
                    at(phases, phase * run + (z * size[1] + y) * size[2]),
                    size[2],
                )


@compiled_part
def _split_line(step: Any, source: Any, place: Any, target: Any, count: Any) -> None:
    in_h, in_w, stride = step[slots.IN_H], step[slots.IN_W], step[slots.STRIDE_W]
    if place[0] < 0 or place[0] >= step[slots.IN_D] or place[1] < 0 or place[1] >= in_h:
        for x in range(count):
            target[x] = number(0.0, target)
        return
    start = at(source, (place[0] * in_h + place[1]) * in_w + place[2])
    low = max((-place[2] + stride - 1) // stride, 0)
    high = min((in_w - place[2] + stride - 1) // stride, count)
    copy_line(target, start, stride, low, high, count)


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
    bias = number(0.0, sums)
    if step[slots.BIAS] != 0:
        bias = pointer(step[slots.BIAS], sums)[channel]
    used = ((out_d - 1) * size[1] + out_h - 1) * size[2] + out_w
    for i in range(0, used, WIDE * lanes(sums)):
        shifted_sum(at(sums, i), at(phases, i), weights, table, taps, bias)
    out = out_d * out_h * out_w
    y = at(pointer(step[slots.Y], sums), image * step[slots.Y_IMAGE] + channel * out)
    start = (image * step[slots.GROUPS] * step[slots.ROWS] + channel) * out
    residual = at(pointer(step[slots.RESIDUAL], sums), start)
    for z in range(out_d):
        for row in range(out_h):
            line = (z * out_h + row) * out_w
            _finish_line(
                step,
                at(sums, (z * size[1] + row) * size[2]),
                at(y, line),
                at(residual, line),
                out_w,
            )
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


@compiled_part
def _finish_line(step: Any, sums: Any, y: Any, residual: Any, count: Any) -> None:
    low, high = number(double_bits(step[slots.LOW]), y), number(double_bits(step[slots.HIGH]), y)
    if step[slots.RESIDUAL] != 0:
        for x in range(count):
            sums[x] += residual[x]
    for x in range(count):
        y[x] = clamp(sums[x], low, high)
