"""Depthwise convolution: one input channel per group, read through shifted views of one plane."""

from __future__ import annotations

from typing import Any

from irconv.backends.numba_cpu import slots
from irconv.backends.numba_cpu.jit import compiled_part
from irconv.backends.numba_cpu.limits import clamp
from irconv.backends.numba_cpu.lines import copy_lines
from irconv.backends.numba_cpu.phases import phase_sizes, split_phases, write_shifts
from irconv.backends.numba_cpu.pointers import (
    address,
    at,
    call,
    double_bits,
    lanes,
    number,
    pointer,
)
from irconv.backends.numba_cpu.shifted import HALF, WIDE, shifted_sum
from irconv.backends.numba_cpu.work import share


@compiled_part
def _window(step: Any) -> Any:
    """(kernel, strides, dilations, pads)."""
    return (
        (step[slots.KERNEL_D], step[slots.KERNEL_H], step[slots.KERNEL_W]),
        (step[slots.STRIDE_D], step[slots.STRIDE_H], step[slots.STRIDE_W]),
        (step[slots.DILATION_D], step[slots.DILATION_H], step[slots.DILATION_W]),
        (step[slots.PAD_D], step[slots.PAD_H], step[slots.PAD_W]),
    )


def depthwise(step: Any, like: Any, part: Any, parts: Any) -> None:
    """Kernel: a convolution with CHANNELS == 1, bias, residual and activation.

    Each channel is split into phases, see `phases`. WEIGHTS is the plain [groups * ROWS, taps].
    Scratch of a part: the sums of one channel, its phases, the table of shifts.
    """
    groups, rows = step[slots.GROUPS], step[slots.ROWS]
    image = (step[slots.IN_D], step[slots.IN_H], step[slots.IN_W])
    plane = image[0] * image[1] * image[2]
    kernel, stride, dilation, pad = _window(step)
    taps = kernel[0] * kernel[1] * kernel[2]
    out = (step[slots.OUT_D], step[slots.OUT_H], step[slots.OUT_W])
    size = phase_sizes(out, kernel, stride, dilation)
    scratch = at(pointer(step[slots.SCRATCH], like), part * step[slots.SCRATCH_EACH])
    run = size[0] * size[1] * size[2]
    phases = at(scratch, run + WIDE * lanes(like))
    behind = address(at(phases, stride[0] * stride[1] * stride[2] * run + WIDE * lanes(like)))
    table = pointer((behind + 7) // 8 * 8, step)
    write_shifts(size, kernel, stride, dilation, table)
    first, end = share(step[slots.IMAGES] * groups, part, parts)
    for unit in range(first, end):
        number_of_image, group = unit // groups, unit % groups
        place = number_of_image * step[slots.X_IMAGE] + group * plane
        source = at(pointer(step[slots.X], like), place)
        split_phases(source, image, size, stride, pad, number(0.0, like), phases)
        for row in range(rows):
            channel = group * rows + row
            weights = at(pointer(step[slots.WEIGHTS], like), channel * taps)
            _convolve_plane(
                step, size, taps, weights, table, phases, scratch, number_of_image, channel
            )


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
        to, source = at(sums, i), at(phases, i)
        if used - i > HALF * lanes(sums):
            shifted_sum(WIDE, to, source, weights, table, taps, bias, bounds[0], bounds[1])
        else:
            shifted_sum(HALF, to, source, weights, table, taps, bias, bounds[0], bounds[1])
    out = out_d * out_h * out_w
    y = at(pointer(step[slots.Y], sums), image * step[slots.Y_IMAGE] + channel * out)
    for z in range(out_d):
        copy_lines(
            at(y, z * out_h * out_w), out_w, at(sums, z * size[1] * size[2]), size[2], out_h,
            1, 0, out_w, out_w, number(0.0, y),
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
