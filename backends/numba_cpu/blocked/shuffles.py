"""Channels of several pixels side by side, from one vector a channel and back, in registers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba import types

from irconv.backends.numba_cpu.blocked.vectors import (
    I64,
    emit_load,
    emit_load_first,
    emit_store,
    emit_store_first,
    lane_numbers,
)
from irconv.backends.numba_cpu.jit import instruction


@instruction
def interleave(
    typing: Any,
    block: Any,
    count: Any,
    target: Any,
    source: Any,
    step: Any,
    channels: Any,
    pixels: Any,
) -> Any:
    """target[i * block + c] = source[c * step + i] for i < min(pixels, count), c < block.

    From channel `channels` on, zeros are written in place of what the source has. `block` and
    `count`, the pixels at a time, are literals.
    """
    size, lanes = block.literal_value, count.literal_value

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, _, to, start, stride, height, width = args
        places = _rows(builder, start, stride, size)
        full = _all(builder, (height, size), (width, lanes))
        columns = _either(
            builder,
            full,
            lambda: [emit_load(builder, place, lanes) for place in places],
            lambda: [
                emit_load_first(builder, place, _limit(builder, c, height, width), lanes)
                for c, place in enumerate(places)
            ],
        )
        vectors = interleaved(builder, columns)
        left = builder.mul(width, ir.Constant(I64, size))
        limits = [_less(builder, left, v * lanes) for v in range(size)]
        _store_each(builder, vectors, _run(builder, to, size, lanes), full, limits)
        return context.get_dummy_value()

    whole = types.int64
    return types.none(block, count, target, target, whole, whole, whole), generate


@instruction
def deinterleave(
    typing: Any,
    block: Any,
    count: Any,
    target: Any,
    source: Any,
    step: Any,
    channels: Any,
    pixels: Any,
) -> Any:
    """target[c * step + i] = source[i * block + c] for i < min(pixels, count), c < channels.

    `block` and `count`, the pixels at a time, are literals.
    """
    size, lanes = block.literal_value, count.literal_value

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, _, to, start, stride, height, width = args
        full = _all(builder, (height, size), (width, lanes))
        left = builder.mul(width, ir.Constant(I64, size))
        places = _run(builder, start, size, lanes)
        vectors = _either(
            builder,
            full,
            lambda: [emit_load(builder, place, lanes) for place in places],
            lambda: [
                emit_load_first(builder, place, _less(builder, left, v * lanes), lanes)
                for v, place in enumerate(places)
            ],
        )
        columns = deinterleaved(builder, vectors)
        targets = _rows(builder, to, stride, size)
        limits = [_limit(builder, c, height, width) for c in range(size)]
        _store_each(builder, columns, targets, full, limits)
        return context.get_dummy_value()

    whole = types.int64
    return types.none(block, count, target, target, whole, whole, whole), generate


def interleaved(builder: Any, columns: Sequence[Any]) -> list[Any]:
    """Emits the vectors c0[0] c1[0] ... c0[1] c1[1] ... of as many vectors as there are columns."""
    size, lanes = len(columns), columns[0].type.count
    if size == lanes:
        return _transposed(builder, columns)
    return [
        _picked(builder, columns, [((v * lanes + i) % size, (v * lanes + i) // size)
                                   for i in range(lanes)])
        for v in range(size)
    ]  # fmt: skip


def deinterleaved(builder: Any, vectors: Sequence[Any]) -> list[Any]:
    """Emits what `interleaved` began with."""
    size, lanes = len(vectors), vectors[0].type.count
    if size == lanes:
        return _transposed(builder, vectors)
    return [
        _picked(builder, vectors, [divmod(i * size + c, lanes) for i in range(lanes)])
        for c in range(size)
    ]


def _transposed(builder: Any, rows: Sequence[Any]) -> list[Any]:
    """A square transposed: the rows of both halves are interleaved, log2(size) times."""
    size = len(rows)
    low = lane_numbers(i // 2 + i % 2 * size for i in range(size))
    high = lane_numbers(size // 2 + i // 2 + i % 2 * size for i in range(size))
    listed = list(rows)
    for _ in range(size.bit_length() - 1):
        pairs = zip(listed[: size // 2], listed[size // 2 :], strict=True)
        listed = [builder.shuffle_vector(a, b, half) for a, b in pairs for half in (low, high)]
    return listed


def _picked(builder: Any, sources: Sequence[Any], picks: Sequence[tuple[int, int]]) -> Any:
    """The vector whose lanes are lanes (source, lane) of the sources."""
    lanes = sources[0].type.count
    used = sorted({source for source, _ in picks})
    result, other = sources[used[0]], sources[used[1 if len(used) > 1 else 0]]
    merged = {used[0]: 0} | ({used[1]: lanes} if len(used) > 1 else {})
    numbers = [merged.get(source, 0) + lane for source, lane in picks]
    result = builder.shuffle_vector(result, other, lane_numbers(numbers))
    for source in used[2:]:
        numbers = [lanes + lane if s == source else i for i, (s, lane) in enumerate(picks)]
        result = builder.shuffle_vector(result, sources[source], lane_numbers(numbers))
    return result


def _rows(builder: Any, base: Any, stride: Any, count: int) -> list[Any]:
    return [builder.gep(base, [builder.mul(stride, ir.Constant(I64, c))]) for c in range(count)]


def _run(builder: Any, base: Any, count: int, lanes: int) -> list[Any]:
    return [builder.gep(base, [ir.Constant(I64, v * lanes)]) for v in range(count)]


def _all(builder: Any, *limits: tuple[Any, int]) -> Any:
    """Whether each int64 is at least its number."""
    results = [builder.icmp_signed(">=", value, ir.Constant(I64, n)) for value, n in limits]
    return builder.and_(*results)


def _limit(builder: Any, channel: int, channels: Any, pixels: Any) -> Any:
    """How many pixels there are of a channel: none beyond `channels`."""
    given = builder.icmp_signed(">", channels, ir.Constant(I64, channel))
    return builder.select(given, pixels, ir.Constant(I64, 0))


def _less(builder: Any, value: Any, number: int) -> Any:
    return builder.sub(value, ir.Constant(I64, number))


def _either(builder: Any, condition: Any, first: Any, second: Any) -> list[Any]:
    """Emits both lists of values, each in a branch of its own: the one that was run."""
    ends = []
    with builder.if_else(condition) as (then, otherwise):
        for branch, values in ((then, first), (otherwise, second)):
            with branch:
                ends.append((values(), builder.block))
    (left, left_end), (right, right_end) = ends
    merged = []
    for a, b in zip(left, right, strict=True):
        phi = builder.phi(a.type)
        phi.add_incoming(a, left_end)
        phi.add_incoming(b, right_end)
        merged.append(phi)
    return merged


def _store_each(
    builder: Any, vectors: Sequence[Any], places: Sequence[Any], full: Any, limits: Sequence[Any]
) -> None:
    """Stores each vector at its place: whole where `full` holds, else its first lanes."""
    with builder.if_else(full) as (whole, part):
        with whole:
            for vector, place in zip(vectors, places, strict=True):
                emit_store(builder, vector, place)
        with part:
            for vector, place, limit in zip(vectors, places, limits, strict=True):
                emit_store_first(builder, vector, place, limit)
