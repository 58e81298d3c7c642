"""Max and average pools of values in blocks, global ones too."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from irconv.backends.numba_cpu import slots
from irconv.backends.numba_cpu.blocked.folds import CHECKED, GREATER, LARGEST, SUM, fold_line
from irconv.backends.numba_cpu.blocked.launches import (
    BLOCKS,
    F32,
    HEIGHT,
    IMAGES,
    LINE,
    STRIDES,
    WIDTH,
    Blocked,
    blocked_launch,
    lanes_of,
    lines_of,
    plane_start,
)
from irconv.backends.numba_cpu.blocked.vectors import div, first_lanes, kept, load, spread, store
from irconv.backends.numba_cpu.jit import compiled_part
from irconv.backends.numba_cpu.launch import Launch
from irconv.backends.numba_cpu.pointers import at, number, pointer
from irconv.backends.numba_cpu.step import PoolWindow
from irconv.backends.numba_cpu.work import blocks, share
from irconv.types import Array

# the kernels' own numbers, behind the strides of both values
(
    KERNEL_H, KERNEL_W, STRIDE_H, STRIDE_W, DILATION_H, DILATION_W, TOP, LEFT,
    IN_H, IN_W, COLUMNS,
) = range(STRIDES + 6, STRIDES + 17)  # fmt: skip


def pool(y: Blocked, x: Blocked, window: PoolWindow, parts: int) -> list[Launch]:
    """y = the pool of x; the halo of x is not read.

    Each line of y is made in two steps: the lines of its windows are folded into one line in the
    scratch, whose ends are filled up with what changes no result; then the columns are.
    """
    kernel, strides, dilations, pads = _axes(window)
    columns = (y.storage.width - 1) * strides[1] + (kernel[1] - 1) * dilations[1] + 1
    block, image = y.storage.block, (x.storage.height, x.storage.width)
    numbers = (*kernel, *strides, *dilations, *pads[:2], *image, columns)
    scratch = columns * block * F32.itemsize * parts
    if window.kind == slots.MAX:
        launch = blocked_launch("max_pool", _max_pool(block), [y, x], (), numbers, scratch)
        return [launch]
    counts = [
        _counts(axis, window.kind == slots.AVERAGE_INSIDE, window, image, size)
        for axis, size in enumerate((y.storage.height, y.storage.width))
    ]
    kernel_of = _average_pool(block)
    return [blocked_launch("average_pool", kernel_of, [y, x], counts, numbers, scratch)]


def _axes(window: PoolWindow) -> tuple[tuple[int, ...], ...]:
    """Kernel, strides, dilations of two axes, and their pads: of one axis, in front of it 1s."""
    lead = 2 - len(window.kernel)
    ones, rank = (1,) * lead, len(window.kernel)
    begins, ends = window.pads[:rank], window.pads[rank:]
    return (
        (*ones, *window.kernel),
        (*ones, *window.strides),
        (*ones, *window.dilations),
        (*(0,) * lead, *begins, *(0,) * lead, *ends),
    )


def _counts(axis: int, inside: bool, window: PoolWindow, image: tuple[int, int], out: int) -> Array:
    """By how many numbers the sum of each window is divided, as far as one axis goes.

    What hangs over the padding at the end (with `ceil_mode`) never counts.
    """
    kernel, strides, dilations, pads = _axes(window)
    places = np.arange(out)[:, None] * strides[axis] - pads[axis]
    places = places + np.arange(kernel[axis]) * dilations[axis]
    low, high = (0, image[axis]) if inside else (-pads[axis], image[axis] + pads[2 + axis])
    counts: Array = ((places >= low) & (places < high)).sum(1).astype(F32)
    return counts


@compiled_part
def _rows(line: Any, sizes: Any) -> Any:
    """The line of the image that the first tap of an output line reads, and how many taps do."""
    top = line * sizes[STRIDE_H] - sizes[TOP]
    dilation = sizes[DILATION_H]
    low = blocks(max(-top, 0), dilation)
    end = min(blocks(max(sizes[IN_H] - top, 0), dilation), sizes[KERNEL_H])
    return top + low * dilation, end - low


@cache
def _start_line(block: int) -> Callable[..., Any]:
    """The function `(line, value, sizes)`: fills a line of the scratch."""

    def start(line: Any, value: Any, sizes: Any) -> None:
        fill = spread(value, block)
        for i in range(sizes[COLUMNS]):
            store(at(line, i * block), fill)

    return compiled_part(start)


@cache
def _clear_lanes(block: int) -> Callable[..., Any]:
    """The function `(y, width, lanes)`: zeroes what fills up a block of `lanes` channels."""

    def clear(y: Any, width: Any, lanes: Any) -> None:
        if lanes < block:
            mask = first_lanes(lanes, block)
            for q in range(width):
                store(at(y, q * block), kept(load(at(y, q * block), block), mask))

    return compiled_part(clear)


@compiled_part
def _image_columns(sizes: Any) -> Any:
    """How many columns of the image are read: behind LEFT columns of padding."""
    return max(min(sizes[IN_W], sizes[COLUMNS] - sizes[LEFT]), 0)


@cache
def _max_pool(block: int) -> Callable[..., None]:
    """Kernel. Row: Y, X, their numbers, then those of the window; parts share the lines of y.

    Where a line of windows holds a NaN, it is done again by folds that keep it.
    """
    checked, largest = fold_line(CHECKED, block), fold_line(LARGEST, block)
    greater = fold_line(GREATER, block)
    start_line, clear_lanes = _start_line(block), _clear_lanes(block)

    @compiled_part
    def fold(y: Any, x: Any, middle: Any, sizes: Any, taps: Any, line: Any) -> None:
        columns, down = _image_columns(sizes), sizes[DILATION_H] * line
        inner = at(middle, sizes[LEFT] * block)
        width, step = sizes[WIDTH], sizes[STRIDE_W] * block
        across, reach = sizes[KERNEL_W], sizes[DILATION_W] * block
        if checked(inner, x, columns, block, taps, down) != 0:
            greater(y, middle, width, step, across, reach)
        else:
            largest(inner, x, columns, block, taps, down)
            largest(y, middle, width, step, across, reach)

    def kernel(step: Any, like: Any, part: Any, parts: Any) -> None:
        sizes = at(step, 4)
        to, of, height = at(sizes, STRIDES), at(sizes, STRIDES + 3), sizes[HEIGHT]
        middle = at(pointer(step[3], like), part * sizes[COLUMNS] * block)
        start_line(middle, number(-1e400, like), sizes)
        first, end = share(sizes[IMAGES] * sizes[BLOCKS] * height, part, parts)
        for plane in range(first // height, blocks(end, height)):
            y = at(pointer(step[1], like), plane_start(plane, sizes, to))
            x = at(pointer(step[2], like), plane_start(plane, sizes, of))
            lanes = lanes_of(plane, sizes, block)
            top, bottom = lines_of(plane, height, first, end)
            for line in range(top, bottom):
                row, taps = _rows(line, sizes)
                target = at(y, line * to[LINE])
                if taps > 0:
                    fold(target, at(x, row * of[LINE]), middle, sizes, taps, of[LINE])
                else:
                    _fill(target, sizes[WIDTH] * block, number(-1e400, like))
                clear_lanes(target, sizes[WIDTH], lanes)

    kernel.__qualname__ = f"max_pool_{block}"
    return kernel


@compiled_part
def _fill(y: Any, count: Any, value: Any) -> None:
    for i in range(count):
        y[i] = value


@cache
def _average_pool(block: int) -> Callable[..., None]:
    """Kernel. Row: Y, X, divisors of lines and of columns, the numbers of Y and X, those of the
    window; parts share the lines of y.
    """
    add = fold_line(SUM, block)
    start_line, clear_lanes = _start_line(block), _clear_lanes(block)

    @compiled_part
    def divide(y: Any, width: Any, factor: Any, divisors: Any) -> None:
        for q in range(width):
            place = at(y, q * block)
            store(place, div(load(place, block), spread(divisors[q] * factor, block)))

    @compiled_part
    def fold(y: Any, x: Any, middle: Any, sizes: Any, taps: Any, line: Any) -> None:
        inner = at(middle, sizes[LEFT] * block)
        if taps > 0:
            add(inner, x, _image_columns(sizes), block, taps, sizes[DILATION_H] * line)
        else:
            _fill(inner, _image_columns(sizes) * block, number(0.0, y))
        step, reach = sizes[STRIDE_W] * block, sizes[DILATION_W] * block
        add(y, middle, sizes[WIDTH], step, sizes[KERNEL_W], reach)

    def kernel(step: Any, like: Any, part: Any, parts: Any) -> None:
        sizes = at(step, 6)
        to, of, height = at(sizes, STRIDES), at(sizes, STRIDES + 3), sizes[HEIGHT]
        middle = at(pointer(step[5], like), part * sizes[COLUMNS] * block)
        start_line(middle, number(0.0, like), sizes)
        first, end = share(sizes[IMAGES] * sizes[BLOCKS] * height, part, parts)
        for plane in range(first // height, blocks(end, height)):
            y = at(pointer(step[1], like), plane_start(plane, sizes, to))
            x = at(pointer(step[2], like), plane_start(plane, sizes, of))
            lanes = lanes_of(plane, sizes, block)
            top, bottom = lines_of(plane, height, first, end)
            for line in range(top, bottom):
                row, taps = _rows(line, sizes)
                target = at(y, line * to[LINE])
                fold(target, at(x, row * of[LINE]), middle, sizes, taps, of[LINE])
                factor = pointer(step[3], like)[line]
                divide(target, sizes[WIDTH], factor, pointer(step[4], like))
                clear_lanes(target, sizes[WIDTH], lanes)

    kernel.__qualname__ = f"average_pool_{block}"
    return kernel
