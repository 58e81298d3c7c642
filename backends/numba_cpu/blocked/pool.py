"""Max and average pools of values in blocks, global ones too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from irconv.backends.numba_cpu import slots
from irconv.backends.numba_cpu.blocked.folds import (
    LARGEST,
    ORDERED,
    SUM,
    Fold,
    FoldStep,
    tile_of,
)
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
from irconv.backends.numba_cpu.launch import Launch, PlainStep
from irconv.backends.numba_cpu.pointers import address, at, call, number, pointer
from irconv.backends.numba_cpu.step import PoolWindow
from irconv.backends.numba_cpu.work import blocks, share
from irconv.types import Array

# The kernels' own numbers, behind the strides of both values; then the addresses of the folds: of
# the lines of a window, of its columns, and of both one by one.
(
    KERNEL_H, KERNEL_W, STRIDE_H, STRIDE_W, DILATION_H, DILATION_W, TOP, LEFT,
    IN_H, IN_W, COLUMNS, FOLD_LINES, FOLD_COLUMNS, FOLD_NAN,
) = range(STRIDES + 6, STRIDES + 20)  # fmt: skip
FLAG = 16  # elements behind the line in the scratch, of which the first two hold an int64


@dataclass(frozen=True)
class PoolPlan:
    """What a kernel needs of a pool: its numbers, its folds, the divisors of an average."""

    numbers: tuple[int, ...]
    folds: tuple[Fold, ...]
    divisors: tuple[Array, ...]
    columns: int  # of a line of windows

    @property
    def scratch(self) -> int:
        """Elements of a line of windows, with its flag."""
        return self.columns * self.folds[0].block + FLAG


def plan_pool(
    window: PoolWindow, image: tuple[int, int], out: tuple[int, int], block: int
) -> PoolPlan:
    """The plan for images of these lines and columns, and results of those."""
    kernel, strides, dilations, pads = _axes(window)
    columns = (out[1] - 1) * strides[1] + (kernel[1] - 1) * dilations[1] + 1
    numbers = (*kernel, *strides, *dilations, *pads[:2], *image, columns)
    # of the image's columns some at the right may be left over
    widths = (max(min(image[1], columns - pads[1]), 1), out[1])
    is_max = window.kind == slots.MAX
    folds = [Fold(ORDERED if is_max else SUM, block, tile_of(width)) for width in widths]
    if is_max:
        return PoolPlan(numbers, (*folds, Fold(LARGEST, block, 1)), (), columns)
    inside = window.kind == slots.AVERAGE_INSIDE
    divisors = tuple(_counts(axis, inside, window, image, out[axis]) for axis in range(2))
    return PoolPlan(numbers, tuple(folds), divisors, columns)


def pool(y: Blocked, x: Blocked, window: PoolWindow, parts: int) -> list[Launch]:
    """y = the pool of x; the halo of x is not read.

    Each line of y is made in two steps: the lines of its windows are folded into one line in the
    scratch, whose ends are filled up with what changes no result; then the columns are.
    """
    image, out = ((value.storage.height, value.storage.width) for value in (x, y))
    block = y.storage.block
    plan = plan_pool(window, image, out, block)
    name, kernel = ("average_pool", _average_pool) if plan.divisors else ("max_pool", _max_pool)
    scratch = plan.scratch * F32.itemsize * parts
    launch = blocked_launch(name, kernel(block), [y, x], plan.divisors, plan.numbers, scratch)
    assert isinstance(launch.step, PlainStep)
    return [replace(launch, step=FoldStep(launch.step, plan.folds))]


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
def window_rows(line: Any, sizes: Any) -> Any:
    """The line of the image that the first tap of an output line reads, and how many taps do."""
    top = line * sizes[STRIDE_H] - sizes[TOP]
    dilation = sizes[DILATION_H]
    low = blocks(max(-top, 0), dilation)
    end = min(blocks(max(sizes[IN_H] - top, 0), dilation), sizes[KERNEL_H])
    return top + low * dilation, end - low


@cache
def start_of(block: int) -> Callable[..., Any]:
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
def image_columns(sizes: Any) -> Any:
    """How many columns of the image are read: behind LEFT columns of padding."""
    return max(min(sizes[IN_W], sizes[COLUMNS] - sizes[LEFT]), 0)


@cache
def max_line(block: int) -> Callable[..., Any]:
    """The function `(sizes, y, x, taps, down, middle)`: a line of y of `taps` lines of x.

    Where a line of windows holds a NaN, it is done again by folds that keep it. `down` elements
    lie between the lines; `middle` is a line that was started with -inf, and its flag.
    """

    def line(sizes: Any, y: Any, x: Any, taps: Any, down: Any, middle: Any) -> None:
        inner, columns = at(middle, sizes[LEFT] * block), image_columns(sizes)
        ordered = pointer(address(at(middle, sizes[COLUMNS] * block)), sizes)
        step, across, fold = sizes[STRIDE_W] * block, sizes[DILATION_W] * block, sizes[FOLD_COLUMNS]
        ordered[0] = 1
        if taps > 0 and columns > 0:
            call(sizes[FOLD_LINES], inner, x, columns, block, taps, down, ordered)
            if ordered[0] == 0:
                fold = sizes[FOLD_NAN]
                call(fold, inner, x, columns, block, taps, down, ordered)
        else:
            _fill(inner, columns * block, number(-1e400, y))
        call(fold, y, middle, sizes[WIDTH], step, sizes[KERNEL_W], across, ordered)

    return compiled_part(line)


@cache
def _max_pool(block: int) -> Callable[..., None]:
    """Kernel. Row: Y, X, their numbers, then those of the window; parts share the lines of y."""
    start_line, clear_lanes, pool_line = start_of(block), _clear_lanes(block), max_line(block)

    def kernel(step: Any, like: Any, part: Any, parts: Any) -> None:
        sizes = at(step, 4)
        to, of, height = at(sizes, STRIDES), at(sizes, STRIDES + 3), sizes[HEIGHT]
        middle = at(pointer(step[3], like), part * (sizes[COLUMNS] * block + FLAG))
        start_line(middle, number(-1e400, like), sizes)
        first, end = share(sizes[IMAGES] * sizes[BLOCKS] * height, part, parts)
        for plane in range(first // height, blocks(end, height)):
            y = at(pointer(step[1], like), plane_start(plane, sizes, to))
            x = at(pointer(step[2], like), plane_start(plane, sizes, of))
            top, bottom = lines_of(plane, height, first, end)
            for line in range(top, bottom):
                row, taps = window_rows(line, sizes)
                target, source = at(y, line * to[LINE]), at(x, row * of[LINE])
                pool_line(sizes, target, source, taps, sizes[DILATION_H] * of[LINE], middle)
                clear_lanes(target, sizes[WIDTH], lanes_of(plane, sizes, block))

    kernel.__qualname__ = f"max_pool_{block}"
    return kernel


@compiled_part
def _fill(y: Any, count: Any, value: Any) -> None:
    for i in range(count):
        y[i] = value


@cache
def average_line(block: int) -> Callable[..., Any]:
    """The function `(sizes, y, x, taps, down, middle, factor, divisors)`: a line of averages.

    As `max_line`, but the middle was started with 0; sums are divided by the factor, that of the
    lines, times the divisor of their column.
    """

    def line(
        sizes: Any, y: Any, x: Any, taps: Any, down: Any, middle: Any, factor: Any, divisors: Any
    ) -> None:
        inner, columns = at(middle, sizes[LEFT] * block), image_columns(sizes)
        step, across = sizes[STRIDE_W] * block, sizes[DILATION_W] * block
        if taps > 0 and columns > 0:
            call(sizes[FOLD_LINES], inner, x, columns, block, taps, down, sizes)
        else:
            _fill(inner, columns * block, number(0.0, y))
        fold, taps_across = sizes[FOLD_COLUMNS], sizes[KERNEL_W]
        call(fold, y, middle, sizes[WIDTH], step, taps_across, across, sizes)
        for q in range(sizes[WIDTH]):
            place = at(y, q * block)
            store(place, div(load(place, block), spread(divisors[q] * factor, block)))

    return compiled_part(line)


@cache
def _average_pool(block: int) -> Callable[..., None]:
    """Kernel. Row: Y, X, divisors of lines and of columns, the numbers of Y and X, those of the
    window; parts share the lines of y.
    """
    start_line, clear_lanes, pool_line = start_of(block), _clear_lanes(block), average_line(block)

    def kernel(step: Any, like: Any, part: Any, parts: Any) -> None:
        sizes = at(step, 6)
        to, of, height = at(sizes, STRIDES), at(sizes, STRIDES + 3), sizes[HEIGHT]
        middle = at(pointer(step[5], like), part * (sizes[COLUMNS] * block + FLAG))
        factors, divisors = pointer(step[3], like), pointer(step[4], like)
        start_line(middle, number(0.0, like), sizes)
        first, end = share(sizes[IMAGES] * sizes[BLOCKS] * height, part, parts)
        for plane in range(first // height, blocks(end, height)):
            y = at(pointer(step[1], like), plane_start(plane, sizes, to))
            x = at(pointer(step[2], like), plane_start(plane, sizes, of))
            top, bottom = lines_of(plane, height, first, end)
            for line in range(top, bottom):
                row, taps = window_rows(line, sizes)
                target, source = at(y, line * to[LINE]), at(x, row * of[LINE])
                down = sizes[DILATION_H] * of[LINE]
                pool_line(sizes, target, source, taps, down, middle, factors[line], divisors)
                clear_lanes(target, sizes[WIDTH], lanes_of(plane, sizes, block))

    kernel.__qualname__ = f"average_pool_{block}"
    return kernel
