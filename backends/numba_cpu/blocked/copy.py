"""Copies of values in blocks: whole, stretched, or channel by channel in another order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from irconv.backends.numba_cpu.blocked.launches import (
    BLOCKS,
    HEIGHT,
    IMAGE,
    IMAGES,
    LINE,
    STRIDES,
    WIDTH,
    Blocked,
    blocked_launch,
    lines_of,
    plane_start,
)
from irconv.backends.numba_cpu.blocked.storage import Storage
from irconv.backends.numba_cpu.blocked.vectors import load, load_first, store, store_first
from irconv.backends.numba_cpu.jit import compiled_part
from irconv.backends.numba_cpu.launch import Launch
from irconv.backends.numba_cpu.pointers import at, number, pointer
from irconv.backends.numba_cpu.work import blocks, share

ZEROS = -1  # in an order of channels: not one of the operand, but zeros


def copy(y: Blocked, x: Blocked) -> list[Launch]:
    """y = x, all of their last blocks too."""
    if x.storage.slots != y.storage.slots:
        return copy_channels(y, x, range(x.storage.channels))
    return stretch(y, x, (1, 1))


def stretch(y: Blocked, x: Blocked, factors: tuple[int, int]) -> list[Launch]:
    """y[n, c, h, w] = x[n, c, h // factors[0], w // factors[1]]."""
    kernel = _stretch(y.storage.block)
    return [blocked_launch("copy", kernel, [y, x], (), (*factors, x.storage.width))]


def concat(y: Blocked, operands: Sequence[Blocked]) -> list[Launch]:
    """y = the operands behind each other along the channels.

    An operand that is in its place already, as `Storage.within` puts it, is left out.
    """
    launches: list[Launch] = []
    first, block = 0, y.storage.block
    for x in operands:
        channels, last = x.storage.channels, first + x.storage.channels == y.storage.channels
        if first % block == 0 and (last or channels % block == 0):
            target = channels_of(y, first, channels)
            if (target.source is not x.source) or target.storage != x.storage:
                launches += copy(target, x)
        else:
            launches += copy_channels(y, x, range(channels), first)
        first += channels
    return launches


def copy_channels(y: Blocked, x: Blocked, order: Sequence[int], first: int = 0) -> list[Launch]:
    """Channel first + i of y = channel order[i] of x, or zeros where that is ZEROS.

    If the last channel of y is among them, zeros fill up its last block.
    """
    size = first + len(order)
    beyond = -size % y.storage.block if size == y.storage.channels else 0
    runs = _runs(y.storage, x.storage, [*order, *(ZEROS,) * beyond], first)
    kernel = _copy_runs(y.storage.block)
    # the runs know where channels are: the kernel needs the strides only
    values = [Blocked(v.source, replace(v.storage, channels=1, order=None)) for v in (y, x)]
    return [blocked_launch("copy_channels", kernel, values, [runs], (len(runs),))]


def channels_of(x: Blocked, first: int, count: int) -> Blocked:
    """Channels first .. first + count of x, where they begin a block, as a value."""
    assert first % x.storage.block == 0
    assert x.storage.order is None
    place = x.storage.origin + first // x.storage.block * x.storage.plane
    return Blocked(x.source, replace(x.storage, channels=count, origin=place))


def _runs(y: Storage, x: Storage, order: Sequence[int], first: int) -> np.ndarray:
    """[runs, 3] int64: offsets in an image of y and of x (or ZEROS), and the number of channels.

    The channels of a run lie side by side in one block of either.
    """
    runs: list[list[int]] = []
    for i, channel in enumerate(order):
        to = _offset(y, first + i)
        at_x = ZEROS if channel == ZEROS else _offset(x, channel)
        if runs and _goes_on(runs[-1], to, at_x, y.block, x.block):
            runs[-1][2] += 1
        else:
            runs.append([to, at_x, 1])
    return np.array(runs, np.int64).reshape(-1, 3)


def _offset(held: Storage, channel: int) -> int:
    slot = held.order[channel] if held.order and channel < held.channels else channel
    return slot // held.block * held.plane + slot % held.block


def _goes_on(run: list[int], to: int, at_x: int, block: int, block_x: int) -> bool:
    place, start, count = run
    if to != place + count or to % block == 0:
        return False
    if ZEROS in (start, at_x):
        return start == at_x
    return at_x == start + count and at_x % block_x != 0


@cache
def _stretch(block: int) -> Callable[..., None]:
    """Kernel. Row: Y, X, their numbers, factors of lines and pixels, pixels of a line of x."""

    def kernel(step: Any, like: Any, part: Any, parts: Any) -> None:
        sizes = at(step, 4)
        to, of, height = at(sizes, STRIDES), at(sizes, STRIDES + 3), sizes[HEIGHT]
        down, across, width = of[3], of[4], of[5]
        first, end = share(sizes[IMAGES] * sizes[BLOCKS] * height, part, parts)
        for plane in range(first // height, blocks(end, height)):
            y = at(pointer(step[1], like), plane_start(plane, sizes, to))
            x = at(pointer(step[2], like), plane_start(plane, sizes, of))
            top, bottom = lines_of(plane, height, first, end)
            for line in range(top, bottom):
                target, source = at(y, line * to[LINE]), at(x, line // down * of[LINE])
                if across == 1:
                    for i in range(0, width * block, block):
                        store(at(target, i), load(at(source, i), block))
                else:
                    for w in range(width):
                        value = load(at(source, w * block), block)
                        for i in range(w * across, (w + 1) * across):
                            store(at(target, i * block), value)

    kernel.__qualname__ = f"stretch_{block}"
    return kernel


@cache
def _copy_run(block: int) -> Callable[..., Any]:
    """The function `(y, x, run, width)`: one run of channels in a line of `width` pixels."""

    def copy_run(y: Any, x: Any, run: Any, width: Any) -> None:
        count = run[2]
        target = at(y, run[0])
        if run[1] < 0:
            zero = number(0.0, y)
            for w in range(width):
                for i in range(count):
                    target[w * block + i] = zero
        elif count == 1:
            source = at(x, run[1])
            for w in range(width):
                target[w * block] = source[w * block]
        else:
            source = at(x, run[1])
            for i in range(0, width * block, block):
                store_first(at(target, i), count, load_first(at(source, i), count, block))

    return compiled_part(copy_run)


@cache
def _copy_runs(block: int) -> Callable[..., None]:
    """Kernel. Row: Y, X, the runs, the numbers of Y and X, the number of runs.

    Parts share the runs of all lines. All channels of a line are done before the next: it stays
    in the first cache.
    """

    copy_run = _copy_run(block)

    def kernel(step: Any, like: Any, part: Any, parts: Any) -> None:
        sizes, table = at(step, 5), pointer(step[3], step)
        to, of, height = at(sizes, STRIDES), at(sizes, STRIDES + 3), sizes[HEIGHT]
        count = of[3]
        first, end = share(sizes[IMAGES] * height * count, part, parts)
        for unit in range(first // count, blocks(end, count)):
            image, line = unit // height, unit % height
            y = at(pointer(step[1], like), image * to[IMAGE] + line * to[LINE])
            x = at(pointer(step[2], like), image * of[IMAGE] + line * of[LINE])
            low, high = lines_of(unit, count, first, end)
            for run in range(low, high):
                copy_run(y, x, at(table, run * 3), sizes[WIDTH])

    kernel.__qualname__ = f"copy_runs_{block}"
    return kernel
