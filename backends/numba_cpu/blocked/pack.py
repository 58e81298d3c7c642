"""Between tensors that lie row by row and values in blocks."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from irconv.backends.numba_cpu import machine
from irconv.backends.numba_cpu.blocked.halo import clear_halo
from irconv.backends.numba_cpu.blocked.launches import (
    BLOCKS,
    F32,
    HEIGHT,
    IMAGES,
    LINE,
    REST,
    STRIDES,
    WIDTH,
    Blocked,
    blocked_launch,
    lanes_of,
    lines_of,
    plane_start,
)
from irconv.backends.numba_cpu.blocked.shuffles import deinterleave, interleave
from irconv.backends.numba_cpu.blocked.vectors import load, load_first, store, store_first
from irconv.backends.numba_cpu.jit import compiled_part
from irconv.backends.numba_cpu.launch import Launch, Source
from irconv.backends.numba_cpu.pointers import at, pointer
from irconv.backends.numba_cpu.work import share


def pack(y: Blocked, x: Source) -> list[Launch]:
    """y = x, `[N, C, H, W]` row by row; and the halo of y."""
    assert y.storage.order is None
    block, pixels = y.storage.block, y.storage.height * y.storage.width
    if pixels == 1:
        return [*clear_halo(y), blocked_launch("pack", _pack_pixels(block), [y], [x])]
    return [*clear_halo(y), blocked_launch("pack", _pack_lines(block), [y], [x])]


def unpack(y: Source, x: Blocked) -> list[Launch]:
    """y = x, as `[N, C, H, W]` row by row."""
    assert x.storage.order is None
    block, pixels = x.storage.block, x.storage.height * x.storage.width
    kernel = _unpack_pixels(block) if pixels == 1 else _unpack_lines(block)
    return [blocked_launch("unpack", kernel, [x], [y])]


def _pixels_at_once(block: int) -> int:
    """As many as a block has channels where that is a vector's size: a square."""
    return block if block in (4, 8, 16) else machine.vector_bits() // (8 * F32.itemsize)


@compiled_part
def _plain_start(plane: Any, sizes: Any, block: Any) -> Any:
    """The offset of the first channel of plane `plane` in the tensor that lies row by row."""
    image = plane // sizes[BLOCKS]
    channels = (sizes[BLOCKS] - 1) * block + sizes[REST]
    channel = image * channels + (plane - image * sizes[BLOCKS]) * block
    return channel * sizes[HEIGHT] * sizes[WIDTH]


@cache
def _pack_lines(block: int) -> Callable[..., None]:
    """Kernel. Row: Y in blocks, X row by row; parts share the lines."""
    count = _pixels_at_once(block)

    def kernel(step: Any, like: Any, part: Any, parts: Any) -> None:
        sizes = at(step, 4)
        strides, height, width = at(sizes, STRIDES), sizes[HEIGHT], sizes[WIDTH]
        first, end = share(sizes[IMAGES] * sizes[BLOCKS] * height, part, parts)
        for plane in range(first // height, (end + height - 1) // height):
            y = at(pointer(step[1], like), plane_start(plane, sizes, strides))
            x = at(pointer(step[2], like), _plain_start(plane, sizes, block))
            channels = lanes_of(plane, sizes, block)
            top, bottom = lines_of(plane, height, first, end)
            for line in range(top, bottom):
                to, start = at(y, line * strides[LINE]), at(x, line * width)
                for i in range(0, width, count):
                    interleave(
                        block, count, at(to, i * block), at(start, i), height * width,
                        channels, width - i,
                    )  # fmt: skip

    kernel.__qualname__ = f"pack_lines_{block}"
    return kernel


@cache
def _unpack_lines(block: int) -> Callable[..., None]:
    """Kernel. Row: X in blocks, Y row by row; parts share the lines."""
    count = _pixels_at_once(block)

    def kernel(step: Any, like: Any, part: Any, parts: Any) -> None:
        sizes = at(step, 4)
        strides, height, width = at(sizes, STRIDES), sizes[HEIGHT], sizes[WIDTH]
        first, end = share(sizes[IMAGES] * sizes[BLOCKS] * height, part, parts)
        for plane in range(first // height, (end + height - 1) // height):
            x = at(pointer(step[1], like), plane_start(plane, sizes, strides))
            y = at(pointer(step[2], like), _plain_start(plane, sizes, block))
            channels = lanes_of(plane, sizes, block)
            top, bottom = lines_of(plane, height, first, end)
            for line in range(top, bottom):
                to, start = at(y, line * width), at(x, line * strides[LINE])
                for i in range(0, width, count):
                    deinterleave(
                        block, count, at(to, i), at(start, i * block), height * width,
                        channels, width - i,
                    )  # fmt: skip

    kernel.__qualname__ = f"unpack_lines_{block}"
    return kernel


@cache
def _pack_pixels(block: int) -> Callable[..., None]:
    """Kernel for images of one pixel. Row: Y in blocks, X row by row; parts share the blocks."""

    def kernel(step: Any, like: Any, part: Any, parts: Any) -> None:
        sizes = at(step, 4)
        first, end = share(sizes[IMAGES] * sizes[BLOCKS], part, parts)
        for plane in range(first, end):
            y = at(pointer(step[1], like), plane_start(plane, sizes, at(sizes, STRIDES)))
            x = at(pointer(step[2], like), _plain_start(plane, sizes, block))
            store(y, load_first(x, lanes_of(plane, sizes, block), block))

    kernel.__qualname__ = f"pack_pixels_{block}"
    return kernel


@cache
def _unpack_pixels(block: int) -> Callable[..., None]:
    """Kernel for images of one pixel. Row: X in blocks, Y row by row; parts share the blocks."""

    def kernel(step: Any, like: Any, part: Any, parts: Any) -> None:
        sizes = at(step, 4)
        first, end = share(sizes[IMAGES] * sizes[BLOCKS], part, parts)
        for plane in range(first, end):
            x = at(pointer(step[1], like), plane_start(plane, sizes, at(sizes, STRIDES)))
            y = at(pointer(step[2], like), _plain_start(plane, sizes, block))
            store_first(y, lanes_of(plane, sizes, block), load(x, block))

    kernel.__qualname__ = f"unpack_pixels_{block}"
    return kernel
