"""Normalisation across neighbouring channels of values in blocks, in one pass."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from llvmlite import ir
from numba import types

from irconv.backends.numba_cpu.blocked.launches import (
    BLOCKS,
    HEIGHT,
    IMAGE,
    IMAGES,
    LINE,
    PLANE,
    REST,
    STRIDES,
    WIDTH,
    Blocked,
    blocked_launch,
    lanes_of,
)
from irconv.backends.numba_cpu.blocked.vectors import (
    I64,
    Vector,
    div,
    emit_fma,
    emit_load_first,
    first_lanes,
    fma,
    kept,
    lane_numbers,
    load,
    mul,
    root,
    spread,
    store,
)
from irconv.backends.numba_cpu.jit import compiled_part, instruction
from irconv.backends.numba_cpu.launch import Launch
from irconv.backends.numba_cpu.pointers import at, double_bits, number, pointer
from irconv.backends.numba_cpu.work import share


def lrn(y: Blocked, x: Blocked, size: int, alpha: float, beta: float, bias: float) -> list[Launch]:
    """y = x / (bias + alpha / size * the sum of squares over `size` neighbouring channels)^beta.

    The middle one of the `size` channels is the element's own, of an even number the last before.
    """
    assert x.storage.order is None
    before = (size - 1) // 2
    channels = x.storage.channels
    before, after = min(before, channels - 1), min(size - 1 - before, channels - 1)
    kernel = _kernel(y.storage.block, before, after, beta)
    numbers = (float(alpha / size), float(bias), float(-beta))
    return [blocked_launch("lrn", kernel, [y, x], (), numbers)]


@cache
def _kernel(block: int, before: int, after: int, beta: float) -> Callable[..., None]:
    """Kernel. Row: Y, X, their numbers, the factor of the sum, the bias, the exponent.

    Parts share the blocks of all lines; all blocks of a line are done before the next, so that
    their neighbours are still in the first cache.
    """
    divided, finish = _divided(beta), _finish(block, beta)

    def kernel(step: Any, like: Any, part: Any, parts: Any) -> None:
        sizes = at(step, 4)
        to, of, height = at(sizes, STRIDES), at(sizes, STRIDES + 3), sizes[HEIGHT]
        count, plane = sizes[BLOCKS], of[PLANE]
        alpha = spread(number(double_bits(of[3]), like), block)
        bias = spread(number(double_bits(of[4]), like), block)
        exponent = number(double_bits(of[5]), like)
        first, end = share(sizes[IMAGES] * height * count, part, parts)
        for unit in range(first, end):
            above, own = unit // count, unit % count
            image, line = above // height, above % height
            y = at(pointer(step[1], like), image * to[IMAGE] + own * to[PLANE] + line * to[LINE])
            x = at(pointer(step[2], like), image * of[IMAGE] + own * plane + line * of[LINE])
            lanes = lanes_of(own, sizes, block)
            mask = first_lanes(lanes, block)
            for i in range(0, sizes[WIDTH] * block, block):
                total = _sum_of_squares(
                    before, after, block, at(x, i), plane, own, count, sizes[REST]
                )
                value = divided(load(at(x, i), block), fma(total, alpha, bias))
                store(at(y, i), kept(value, mask))
            finish(y, x, sizes[WIDTH] * block, exponent, lanes)

    kernel.__qualname__ = f"lrn_{block}_{before}_{after}_{beta if beta in ROOTS else 'any'}"
    return kernel


ROOTS = (0.5, 0.75, 1.0)  # exponents that square roots and divisions give


def _divided(beta: float) -> Callable[..., Any]:
    """The function `(x, v)`: x / v^beta; v for an exponent that is not in ROOTS."""

    def divided(x: Any, v: Any) -> Any:
        if beta == 0.75:
            half = root(v)
            return div(x, mul(half, root(half)))
        if beta == 0.5:
            return div(x, root(v))
        return div(x, v) if beta == 1.0 else v

    return compiled_part(divided)


@cache
def _finish(block: int, beta: float) -> Callable[..., Any]:
    """The function `(y, x, count, exponent, lanes)` for exponents not in ROOTS: y = x * y^exponent.

    Zeros fill up a block of `lanes` channels.
    """

    def finish(y: Any, x: Any, count: Any, exponent: Any, lanes: Any) -> None:
        if beta not in ROOTS:
            mask = first_lanes(lanes, block)
            for i in range(count):
                y[i] = x[i] * y[i] ** exponent
            for i in range(0, count, block):
                store(at(y, i), kept(load(at(y, i), block), mask))

    return compiled_part(finish)


@instruction
def _sum_of_squares(
    typing: Any,
    before: Any,
    after: Any,
    block: Any,
    place: Any,
    plane: Any,
    own: Any,
    count: Any,
    rest: Any,
) -> Any:
    """For each channel of block `own`, at `place`, the sum of the squares of its neighbours:
    `before` channels before it, itself, and `after` behind it, all three literals.

    Blocks are `plane` elements apart; there are `count`, of which the last has `rest` channels.
    """
    low, high, lanes = before.literal_value, after.literal_value, block.literal_value

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        channels = _Channels(builder, lanes, *args[3:])
        own = channels.shifted(0)
        total = builder.fmul(own, own)
        for shift in (*range(-low, 0), *range(1, high + 1)):
            other = channels.shifted(shift)
            total = emit_fma(builder, other, other, total)
        return total

    whole = types.int64
    signature = Vector(place.dtype, lanes)(before, after, block, place, whole, whole, whole, whole)
    return signature, generate


class _Channels:
    """Emits the channels near those of a block, each block once; 0 where there is no channel."""

    def __init__(
        self, builder: Any, lanes: int, place: Any, plane: Any, own: Any, count: Any, rest: Any
    ) -> None:
        self.builder, self.lanes = builder, lanes
        self.place, self.plane = place, plane
        self.own, self.count, self.rest = own, count, rest
        self._found: dict[int, Any] = {}

    def shifted(self, shift: int) -> Any:
        """The channels `shift` behind those of the block."""
        block, lane = divmod(shift, self.lanes)
        if lane == 0:
            return self._of(block)
        numbers = lane_numbers(range(lane, lane + self.lanes))
        return self.builder.shuffle_vector(self._of(block), self._of(block + 1), numbers)

    def _of(self, block: int) -> Any:
        if block not in self._found:
            builder, distance = self.builder, ir.Constant(I64, block)
            place = builder.gep(self.place, [builder.mul(self.plane, distance)])
            limit = self._count(builder.add(self.own, distance))
            self._found[block] = emit_load_first(builder, place, limit, self.lanes)
        return self._found[block]

    def _count(self, block: Any) -> Any:
        """How many channels a block has: none outside the image's."""
        builder = self.builder
        inside = builder.icmp_unsigned("<", block, self.count)
        last = builder.icmp_signed("==", builder.add(block, ir.Constant(I64, 1)), self.count)
        full = builder.select(last, self.rest, ir.Constant(I64, self.lanes))
        return builder.select(inside, full, ir.Constant(I64, 0))
