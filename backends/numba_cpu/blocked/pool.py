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
    MOST_PIXELS,
    ORDERED,
    SUM,
    Fold,
    FoldStep,
    window_fold,
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

# The kernels' own numbers, behind the strides of both values; then the addresses of two folds.
(
    KERNEL_H, KERNEL_W, STRIDE_H, STRIDE_W, DILATION_H, DILATION_W, TOP, LEFT,
    IN_H, IN_W,
    INNER, INNER_END,               # the results of a line whose windows are inside, done together
    WIDE,                           # columns that the first fold takes of a window by itself, or 0
    FOLD_WINDOWS, FOLD_ONE,
) = range(STRIDES + 6, STRIDES + 21)  # fmt: skip
FLAG = 16  # elements behind the columns in the scratch, of which the first two hold an int64


@dataclass(frozen=True)
class PoolPlan:
    """What a kernel needs of a pool: its numbers, its folds, the divisors of an average."""

    numbers: tuple[int, ...]
    folds: tuple[Fold, Fold]
    divisors: tuple[Array, ...]
    scratch: int  # elements: the columns of a window, with a flag


def plan_pool(
    window: PoolWindow, image: tuple[int, int], out: tuple[int, int], block: int
) -> PoolPlan:
    """The plan for images of these lines and columns, and results of those."""
    kernel, strides, dilations, pads = _axes(window)
    inside = _inner(image[1], out[1], (kernel[1], strides[1], dilations[1], pads[1]))
    keeps = LARGEST if window.kind == slots.MAX else SUM
    together = window_fold(
        ORDERED if keeps == LARGEST else SUM,
        block,
        max(inside[1] - inside[0], 1),
        *((kernel[1], strides[1], dilations[1]) if kernel[1] > 1 else (1, 1, 1)),
    )
    wide = 0
    if together is None:  # no result with others, but some columns of its window
        together, wide = Fold(keeps, block, MOST_PIXELS), MOST_PIXELS
        inside = (out[1], out[1])
    numbers = (*kernel, *strides, *dilations, *pads[:2], *image, *inside, wide)
    divisors: tuple[Array, ...] = ()
    if keeps == SUM:
        counted = window.kind == slots.AVERAGE_INSIDE
        divisors = tuple(_counts(axis, counted, window, image, out[axis]) for axis in range(2))
    scratch = kernel[1] * block + FLAG
    return PoolPlan(numbers, (together, Fold(keeps, block, 1)), divisors, scratch)


def _inner(size: int, out: int, window: tuple[int, int, int, int]) -> tuple[int, int]:
    """The first result along an axis whose window is inside, and the end of these."""
    kernel, stride, dilation, pad = window
    first = min(-(-pad // stride), out)
    last = (size - 1 - (kernel - 1) * dilation + pad) // stride + 1
    return (first, min(last, out)) if last > first else (out, out)


def pool(y: Blocked, x: Blocked, window: PoolWindow, parts: int) -> list[Launch]:
    """y = the pool of x; the halo of x is not read."""
    image, out = ((value.storage.height, value.storage.width) for value in (x, y))
    block = y.storage.block
    plan = plan_pool(window, image, out, block)
    averages = bool(plan.divisors)
    name, scratch = "average_pool" if averages else "max_pool", plan.scratch * F32.itemsize * parts
    kernel = _pool_kernel(block, averages)
    launch = blocked_launch(name, kernel, [y, x], plan.divisors, plan.numbers, scratch)
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
def _clear_lanes(block: int) -> Callable[..., Any]:
    """The function `(y, width, lanes)`: zeroes what fills up a block of `lanes` channels."""

    def clear(y: Any, width: Any, lanes: Any) -> None:
        if lanes < block:
            mask = first_lanes(lanes, block)
            for q in range(width):
                store(at(y, q * block), kept(load(at(y, q * block), block), mask))

    return compiled_part(clear)


@cache
def pool_line(block: int, averages: bool) -> Callable[..., Any]:
    """The function `(sizes, y, x, taps, down, scratch, factor, divisors)`: a line of y.

    `taps` lines of x, `down` elements apart, are read. The results whose windows lie inside are
    folded together; the others one by one, and all of them where a maximum met a NaN. The sums of
    an average are divided by the factor, that of the lines, times the divisor of their column.
    """
    neutral = 0.0 if averages else -1e400

    @compiled_part
    def one(sizes: Any, q: Any, y: Any, x: Any, taps: Any, down: Any, middle: Any) -> None:
        left, apart = q * sizes[STRIDE_W] - sizes[LEFT], sizes[DILATION_W]
        first = blocks(max(-left, 0), apart)
        count = min(blocks(max(sizes[IN_W] - left, 0), apart), sizes[KERNEL_W]) - first
        if taps <= 0 or count <= 0:
            store(y, spread(number(neutral, y), block))
            return
        source, flag = at(x, (left + first * apart) * block), pointer(address(middle), sizes)
        fold = sizes[FOLD_WINDOWS] if 0 < sizes[WIDE] <= count else sizes[FOLD_ONE]
        call(fold, middle, source, count, apart * block, taps, down, flag)
        call(sizes[FOLD_ONE], y, middle, 1, block, count, block, flag)

    def line(
        sizes: Any, y: Any, x: Any, taps: Any, down: Any, scratch: Any, factor: Any, divisors: Any
    ) -> None:
        first, last, step = sizes[INNER], sizes[INNER_END], sizes[STRIDE_W] * block
        ordered = pointer(address(at(scratch, sizes[KERNEL_W] * block)), sizes)
        ordered[0] = int(taps > 0)
        if taps > 0 and first < last:
            start = at(x, first * step - sizes[LEFT] * block)
            count = last - first
            call(sizes[FOLD_WINDOWS], at(y, first * block), start, count, step, taps, down, ordered)
        if ordered[0] == 0:
            first, last = sizes[WIDTH], sizes[WIDTH]
        for q in range(first):
            one(sizes, q, at(y, q * block), x, taps, down, scratch)
        for q in range(last, sizes[WIDTH]):
            one(sizes, q, at(y, q * block), x, taps, down, scratch)
        if averages:
            for q in range(sizes[WIDTH]):
                place = at(y, q * block)
                store(place, div(load(place, block), spread(divisors[q] * factor, block)))

    return compiled_part(line)


@cache
def _pool_kernel(block: int, averages: bool) -> Callable[..., None]:
    """Kernel. Row: Y, X, the divisors of lines and of columns of averages, the scratch, the numbers
    of Y and X, those of the window; parts share the lines of y.
    """
    clear_lanes, make_line = _clear_lanes(block), pool_line(block, averages)
    own = 5 if averages else 3

    def kernel(step: Any, like: Any, part: Any, parts: Any) -> None:
        sizes = at(step, own + 1)
        to, of, height = at(sizes, STRIDES), at(sizes, STRIDES + 3), sizes[HEIGHT]
        scratch = at(pointer(step[own], like), part * (sizes[KERNEL_W] * block + FLAG))
        factors, divisors = pointer(step[3], like), pointer(step[4], like)
        first, end = share(sizes[IMAGES] * sizes[BLOCKS] * height, part, parts)
        for plane in range(first // height, blocks(end, height)):
            y = at(pointer(step[1], like), plane_start(plane, sizes, to))
            x = at(pointer(step[2], like), plane_start(plane, sizes, of))
            top, bottom = lines_of(plane, height, first, end)
            for line in range(top, bottom):
                row, taps = window_rows(line, sizes)
                target, source = at(y, line * to[LINE]), at(x, row * of[LINE])
                down, factor = sizes[DILATION_H] * of[LINE], number(1.0, like)
                if averages:
                    factor = factors[line]
                make_line(sizes, target, source, taps, down, scratch, factor, divisors)
                clear_lanes(target, sizes[WIDTH], lanes_of(plane, sizes, block))

    kernel.__qualname__ = f"{'average' if averages else 'max'}_pool_{block}"
    return kernel
