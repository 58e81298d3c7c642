"""Element by element on values in blocks: activations, pairs, scale and shift per channel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from math import inf
from typing import Any

import numpy as np

from irconv.backends.numba_cpu.blocked import vectors
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
from irconv.backends.numba_cpu.blocked.storage import Storage
from irconv.backends.numba_cpu.blocked.vectors import (
    at_least,
    at_most,
    first_lanes,
    fma,
    kept,
    load,
    spread,
    store,
)
from irconv.backends.numba_cpu.jit import compiled_part
from irconv.backends.numba_cpu.launch import Launch
from irconv.backends.numba_cpu.pointers import at, double_bits, number, pointer
from irconv.backends.numba_cpu.pointwise import FUNCTIONS
from irconv.backends.numba_cpu.step import Epilogue
from irconv.backends.numba_cpu.work import blocks, share
from irconv.types import Array

# Every kernel here writes zeros where the last block is filled up: what the operands hold there
# means nothing, and its quotient or exponential might not be finite.

PAIRS: dict[str, Any] = {
    name: getattr(vectors, name)
    for name in ("add", "sub", "mul", "div", "largest", "smallest", "sloped")
}


def activate(y: Blocked, x: Blocked, activation: Epilogue) -> list[Launch]:
    """y = the activation of x; y may be x."""
    if activation.activation is None:
        numbers = (activation.low, activation.high)
        return [blocked_launch("clamp", _clamp(y.storage.block), [y, x], (), numbers)]
    return unary(activation.activation, y, x, activation.alpha, activation.beta)


def unary(name: str, y: Blocked, x: Blocked, alpha: float = 0.0, beta: float = 0.0) -> list[Launch]:
    """y = a function of `pointwise.FUNCTIONS` of x; y may be x."""
    kernel = _unary(name, y.storage.block)
    return [blocked_launch(name, kernel, [y, x], (), (float(alpha), float(beta)))]


def binary(
    name: str, y: Blocked, a: Blocked, b: Blocked, low: float = -inf, high: float = inf
) -> list[Launch]:
    """y = a pair of PAIRS of a and b, held in low .. high; y may be a or b.

    Images, height and width of an operand may be 1: it is broadcast along them.
    """
    operands = [_broadcast(v, y.storage) for v in (a, b)]
    steps = [step for _, step in operands]
    values = [y, *(value for value, _ in operands)]
    numbers = (*steps, float(low), float(high))
    return [blocked_launch(name, _binary(name, y.storage.block), values, (), numbers)]


def scale_shift(
    y: Blocked, x: Blocked, scale: Array, shift: Array, low: float = -inf, high: float = inf
) -> list[Launch]:
    """y[n, c] = x[n, c] * scale[c] + shift[c], held in low .. high; y may be x."""
    held = y.storage
    others = [filled_up(values, held.block, held.order) for values in (scale, shift)]
    kernel = _scale_shift(held.block)
    return [blocked_launch("scale_shift", kernel, [y, x], others, (float(low), float(high)))]


def per_channel(values: Array, block: int, order: tuple[int, ...] | None = None) -> Blocked:
    """One constant a channel as an operand of `binary`: an image of one pixel.

    `order` is that of the channels of the result: see `Storage`.
    """
    held, plane = filled_up(values, block, order), block
    size = (1, len(values), 1, 1)
    return Blocked(held, Storage(*size, block, (0,) * 4, held.size, plane, block, 0, order))


def filled_up(values: Array, block: int, order: tuple[int, ...] | None = None) -> Array:
    """`[C]` float32, channel c at place order[c], with zeros up to whole blocks."""
    held = np.zeros(-(-len(values) // block) * block, F32)
    held[list(order) if order is not None else slice(len(values))] = values
    return held


def _broadcast(value: Blocked, whole: Storage) -> tuple[Blocked, int]:
    """The value with strides of 0 where it is broadcast, and its stride from pixel to pixel."""
    held = value.storage
    image = 0 if held.images == 1 else held.image
    line = 0 if held.height == 1 else held.line
    step = 0 if held.width == 1 < whole.width else held.block
    return Blocked(value.source, replace(held, image=image, line=line)), step


@cache
def _clamp(block: int) -> Callable[..., None]:
    """Kernel: y = x held in low .. high, a NaN stays. Row: Y, X, their numbers, low, high."""

    def kernel(step: Any, like: Any, part: Any, parts: Any) -> None:
        sizes = at(step, 4)
        to, of, height = at(sizes, STRIDES), at(sizes, STRIDES + 3), sizes[HEIGHT]
        low = spread(number(double_bits(sizes[STRIDES + 6]), like), block)
        high = spread(number(double_bits(sizes[STRIDES + 7]), like), block)
        first, end = share(sizes[IMAGES] * sizes[BLOCKS] * height, part, parts)
        for plane in range(first // height, blocks(end, height)):
            y = at(pointer(step[1], like), plane_start(plane, sizes, to))
            x = at(pointer(step[2], like), plane_start(plane, sizes, of))
            mask = first_lanes(lanes_of(plane, sizes, block), block)
            top, bottom = lines_of(plane, height, first, end)
            for line in range(top, bottom):
                target, source = at(y, line * to[LINE]), at(x, line * of[LINE])
                for i in range(0, sizes[WIDTH] * block, block):
                    value = at_most(high, at_least(low, load(at(source, i), block)))
                    store(at(target, i), kept(value, mask))

    kernel.__qualname__ = f"clamp_{block}"
    return kernel


@cache
def _unary(name: str, block: int) -> Callable[..., None]:
    """Kernel: y = f(x, alpha, beta). Row: Y, X, their numbers, alpha, beta."""
    function = compiled_part(FUNCTIONS[name])

    @compiled_part
    def in_place(y: Any, width: Any, alpha: Any, beta: Any, one: Any) -> None:
        for i in range(width * block):
            y[i] = function(y[i], alpha, beta, one)

    def kernel(step: Any, like: Any, part: Any, parts: Any) -> None:
        sizes = at(step, 4)
        to, of, height = at(sizes, STRIDES), at(sizes, STRIDES + 3), sizes[HEIGHT]
        alpha = number(double_bits(sizes[STRIDES + 6]), like)
        beta, one = number(double_bits(sizes[STRIDES + 7]), like), number(1.0, like)
        first, end = share(sizes[IMAGES] * sizes[BLOCKS] * height, part, parts)
        for plane in range(first // height, blocks(end, height)):
            y = at(pointer(step[1], like), plane_start(plane, sizes, to))
            x = at(pointer(step[2], like), plane_start(plane, sizes, of))
            lanes = lanes_of(plane, sizes, block)
            mask = first_lanes(lanes, block)
            top, bottom = lines_of(plane, height, first, end)
            for line in range(top, bottom):
                target, source = at(y, line * to[LINE]), at(x, line * of[LINE])
                # One pointer in the loop of the function: LLVM need not ask whether two overlap.
                for i in range(0, sizes[WIDTH] * block, block):
                    store(at(target, i), load(at(source, i), block))
                in_place(target, sizes[WIDTH], alpha, beta, one)
                if lanes < block:
                    for i in range(0, sizes[WIDTH] * block, block):
                        store(at(target, i), kept(load(at(target, i), block), mask))

    kernel.__qualname__ = f"unary_{name}_{block}"
    return kernel


@cache
def _binary(name: str, block: int) -> Callable[..., None]:
    """Kernel: y = f(a, b) held in low .. high. Row: Y, A, B, their numbers, strides from pixel to
    pixel of a and b, low, high.
    """
    function = PAIRS[name]

    def kernel(step: Any, like: Any, part: Any, parts: Any) -> None:
        sizes = at(step, 5)
        to, height = at(sizes, STRIDES), sizes[HEIGHT]
        from_a, from_b, own = at(to, 3), at(to, 6), at(to, 9)
        step_a, step_b = own[0], own[1]
        low = spread(number(double_bits(own[2]), like), block)
        high = spread(number(double_bits(own[3]), like), block)
        first, end = share(sizes[IMAGES] * sizes[BLOCKS] * height, part, parts)
        for plane in range(first // height, blocks(end, height)):
            y = at(pointer(step[1], like), plane_start(plane, sizes, to))
            a = at(pointer(step[2], like), plane_start(plane, sizes, from_a))
            b = at(pointer(step[3], like), plane_start(plane, sizes, from_b))
            mask = first_lanes(lanes_of(plane, sizes, block), block)
            top, bottom = lines_of(plane, height, first, end)
            for line in range(top, bottom):
                target = at(y, line * to[LINE])
                left, right = at(a, line * from_a[LINE]), at(b, line * from_b[LINE])
                for i in range(sizes[WIDTH]):
                    value = function(
                        load(at(left, i * step_a), block), load(at(right, i * step_b), block)
                    )
                    value = at_most(high, at_least(low, value))
                    store(at(target, i * block), kept(value, mask))

    kernel.__qualname__ = f"binary_{name}_{block}"
    return kernel


@cache
def _scale_shift(block: int) -> Callable[..., None]:
    """Kernel. Row: Y, X, scale, shift, the numbers of Y and X, low, high."""

    def kernel(step: Any, like: Any, part: Any, parts: Any) -> None:
        sizes = at(step, 6)
        to, of, height = at(sizes, STRIDES), at(sizes, STRIDES + 3), sizes[HEIGHT]
        low = spread(number(double_bits(sizes[STRIDES + 6]), like), block)
        high = spread(number(double_bits(sizes[STRIDES + 7]), like), block)
        first, end = share(sizes[IMAGES] * sizes[BLOCKS] * height, part, parts)
        for plane in range(first // height, blocks(end, height)):
            y = at(pointer(step[1], like), plane_start(plane, sizes, to))
            x = at(pointer(step[2], like), plane_start(plane, sizes, of))
            channel = plane % sizes[BLOCKS] * block
            scale = load(at(pointer(step[3], like), channel), block)
            shift = load(at(pointer(step[4], like), channel), block)
            mask = first_lanes(lanes_of(plane, sizes, block), block)
            top, bottom = lines_of(plane, height, first, end)
            for line in range(top, bottom):
                target, source = at(y, line * to[LINE]), at(x, line * of[LINE])
                for i in range(0, sizes[WIDTH] * block, block):
                    value = fma(load(at(source, i), block), scale, shift)
                    value = at_most(high, at_least(low, value))
                    store(at(target, i), kept(value, mask))

    kernel.__qualname__ = f"scale_shift_{block}"
    return kernel
