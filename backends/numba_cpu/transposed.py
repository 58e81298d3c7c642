"""Transposed convolution: a product per input pixel, added into the output."""

from __future__ import annotations

from typing import Any

from irconv.backends.numba_cpu import slots
from irconv.backends.numba_cpu.convolve import convolve_columns
from irconv.backends.numba_cpu.jit import compiled_part
from irconv.backends.numba_cpu.limits import clamp
from irconv.backends.numba_cpu.pointers import at, call, double_bits, number, pointer
from irconv.backends.numba_cpu.tiles import ROWS
from irconv.backends.numba_cpu.work import blocks, share


def convolve_transposed(step: Any, like: Any, part: Any, parts: Any) -> None:
    """Kernel: the transpose of a convolution, with bias, residual and activation.

    The step names the *forward* convolution's kernel, strides, dilations and pads; IN is the
    (small) input of this kernel, OUT its output, ROWS the output channels of one group. The step
    is followed by a second one for the product: a 1 x ... x 1 convolution of the input with
    ROWS * taps rows, (output channel, tap). Scratch: ROW_BLOCK * taps rows of prod(IN) columns,
    then the panels.
    """
    product = at(step, slots.COUNT)
    rows, groups, block = step[slots.ROWS], step[slots.GROUPS], step[slots.ROW_BLOCK]
    cuts = blocks(rows, block)
    taps = step[slots.KERNEL_D] * step[slots.KERNEL_H] * step[slots.KERNEL_W]
    pixels = step[slots.IN_D] * step[slots.IN_H] * step[slots.IN_W]
    padded = blocks(rows * taps, ROWS) * ROWS
    channels = step[slots.CHANNELS]
    scratch = at(pointer(step[slots.SCRATCH], like), part * step[slots.SCRATCH_EACH])
    panels = at(scratch, (block * taps * pixels + 15) // 16 * 16)
    first, end = share(step[slots.IMAGES] * groups * cuts, part, parts)
    for unit in range(first, end):
        top = unit % cuts * block
        group = unit // cuts % groups
        image = unit // (cuts * groups)
        bottom = min(top + block, rows)
        for i in range(blocks(pixels, step[slots.COLUMN_BLOCK])):
            left = i * step[slots.COLUMN_BLOCK]
            convolve_columns(
                product,
                at(pointer(step[slots.WEIGHTS], like), group * padded * channels),
                at(
                    pointer(step[slots.X], like),
                    image * step[slots.X_IMAGE] + group * channels * pixels,
                ),
                (top * taps, bottom * taps),
                left,
                min(step[slots.COLUMN_BLOCK], pixels - left),
                at(scratch, left - top * taps * pixels),
                pixels,
                scratch,
                0,
                scratch,
                panels,
            )
        for row in range(top, bottom):
            gather_channel(
                step, at(scratch, (row - top) * taps * pixels), image, group * rows + row
            )


@compiled_part
def gather_channel(step: Any, columns: Any, image: Any, channel: Any) -> None:
    """Add the products of one output channel into it, then its epilogue."""
    out = step[slots.OUT_D] * step[slots.OUT_H] * step[slots.OUT_W]
    y = at(pointer(step[slots.Y], columns), image * step[slots.Y_IMAGE] + channel * out)
    bias = number(0.0, columns)
    if step[slots.BIAS] != 0:
        bias = pointer(step[slots.BIAS], columns)[channel]
    for i in range(out):
        y[i] = bias
    kernel_h, kernel_w = step[slots.KERNEL_H], step[slots.KERNEL_W]
    pixels = step[slots.IN_D] * step[slots.IN_H] * step[slots.IN_W]
    for tap in range(step[slots.KERNEL_D] * kernel_h * kernel_w):
        line = tap // kernel_w
        tap_d = line // kernel_h
        offsets = (
            tap_d * step[slots.DILATION_D] - step[slots.PAD_D],
            (line - tap_d * kernel_h) * step[slots.DILATION_H] - step[slots.PAD_H],
            (tap - line * kernel_w) * step[slots.DILATION_W] - step[slots.PAD_W],
        )
        _add_tap(step, at(columns, tap * pixels), offsets, y)
    start = (image * step[slots.GROUPS] * step[slots.ROWS] + channel) * out
    _epilogue(step, y, out, start)


@compiled_part
def _add_tap(step: Any, source: Any, offsets: Any, y: Any) -> None:
    in_d, in_h, in_w = step[slots.IN_D], step[slots.IN_H], step[slots.IN_W]
    out_h, out_w, stride = step[slots.OUT_H], step[slots.OUT_W], step[slots.STRIDE_W]
    shift = offsets[2]
    first = max((-shift + stride - 1) // stride, 0)
    end = min((out_w - shift + stride - 1) // stride, in_w)
    for z in range(in_d):
        to_z = z * step[slots.STRIDE_D] + offsets[0]
        for row in range(in_h):
            to_y = row * step[slots.STRIDE_H] + offsets[1]
            if to_z < 0 or to_z >= step[slots.OUT_D] or to_y < 0 or to_y >= out_h:
                continue
            line = at(y, (to_z * out_h + to_y) * out_w + shift)
            start = at(source, (z * in_h + row) * in_w)
            for x in range(first, end):
                line[x * stride] += start[x]


@compiled_part
def _epilogue(step: Any, y: Any, out: Any, start: Any) -> None:
    low, high = number(double_bits(step[slots.LOW]), y), number(double_bits(step[slots.HIGH]), y)
    add = step[slots.RESIDUAL] != 0
    residual = at(pointer(step[slots.RESIDUAL], y), start)
    for i in range(out):
        value = y[i] + residual[i] if add else y[i]
        y[i] = clamp(value, low, high)
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
