"""Packs patches of a convolution whose output lines are as long as the image's."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from irconv.backends.numba_cpu import machine, slots
from irconv.backends.numba_cpu.emitter import TileEmitter
from irconv.backends.numba_cpu.jit import compiled_part, instruction
from irconv.backends.numba_cpu.pointers import at, lanes
from irconv.backends.numba_cpu.work import blocks

MOST_PIXELS = 1 << 20  # of an output, so that float32 finds the line of each

# Pixels of a plane from which on few sets of a cache hold one place of all channels; then all taps
# of TOGETHER channels are read before the next ones.
FAR, TOGETHER = 8192, 8

_I32, _I64 = ir.IntType(32), ir.IntType(64)


@compiled_part
def pack_same_lines(
    step: Any,
    image: Any,
    first: Any,
    depth: Any,
    column: Any,
    columns: Any,
    panels: Any,
    width: Any,
) -> None:
    """`pack_patches` where a tap is one shift of the whole (flat) image, but for its edges."""
    size = lanes(panels)
    in_h, in_w, channels = step[slots.IN_H], step[slots.IN_W], step[slots.CHANNELS]
    plane, kernel_w = in_h * in_w, step[slots.KERNEL_W]
    end = first + depth
    together = TOGETHER if plane >= FAR else channels
    for part in range(blocks(channels, together)):
        low = part * together
        high = min(low + together, channels)
        for tap in range(first // channels, (end - 1) // channels + 1):
            start = max(tap * channels + low, first)
            copies = min(tap * channels + high, end) - start
            if copies <= 0:
                continue
            line = tap // kernel_w
            dy = line * step[slots.DILATION_H] - step[slots.PAD_H]
            dx = (tap - line * kernel_w) * step[slots.DILATION_W] - step[slots.PAD_W]
            source = at(image, (start - tap * channels) * plane + column + dy * in_w + dx)
            for v in range(0, columns, size):
                lane = v % width
                target = at(panels, (v - lane) * depth + (start - first) * width + lane)
                shifted_copies(
                    target, width, at(source, v), plane, copies,
                    (column + v, columns - v), (in_h, in_w), (dy, dx),
                )  # fmt: skip


@instruction
def shifted_copies(
    typing: Any,
    target: Any,
    target_step: Any,
    source: Any,
    source_step: Any,
    copies: Any,
    pixels: Any,
    image: Any,
    shift: Any,
) -> Any:
    """One vector of each of `copies` planes: target[i] = source[i], 0 where a pixel is outside.

    Lane i is pixel pixels[0] + i of an image of sizes (lines, line length), seen from `shift`
    (lines, places) away; the first pixels[1] lanes count. Nothing outside the planes is read; a
    whole vector is written. `copies` is at least 1.
    """
    scalar = target.dtype
    count = machine.vector_bits() // scalar.bitwidth

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        to, to_step, start, start_step, length, *pairs = args
        emitter = TileEmitter(builder, context.get_value_type(scalar), 1, 1, count)
        numbers = [
            [builder.trunc(builder.extract_value(pair, i), _I32) for i in range(2)]
            for pair in pairs
        ]
        mask = _inside(emitter, *numbers)
        before = builder.block
        head, after = builder.append_basic_block("copy"), builder.append_basic_block("copy.end")
        builder.branch(head)
        builder.position_at_end(head)
        i, here, there = builder.phi(_I64), builder.phi(to.type), builder.phi(start.type)
        emitter.store(emitter.load(there, mask), here)
        following = builder.add(i, ir.Constant(_I64, 1))
        for phi, old, new in (
            (i, ir.Constant(_I64, 0), following),
            (here, to, builder.gep(here, [to_step])),
            (there, start, builder.gep(there, [start_step])),
        ):
            phi.add_incoming(old, before)
            phi.add_incoming(new, head)
        builder.cbranch(builder.icmp_signed("<", following, length), head, after)
        builder.position_at_end(after)
        return context.get_dummy_value()

    whole, pair = types.int64, types.UniTuple(types.int64, 2)
    signature = types.none(target, whole, target, whole, whole, pair, pair, pair)
    return signature, generate


def _inside(emitter: TileEmitter, pixels: Any, image: Any, shift: Any) -> Any:
    """The mask of the lanes that count and whose pixel lies inside the image."""
    builder, count = emitter.builder, emitter.lanes
    whole = ir.VectorType(_I32, count)
    floats = ir.VectorType(ir.FloatType(), count)
    iota = ir.Constant(whole, list(range(count)))
    pixel = builder.add(emitter.splat(pixels[0]), iota)
    # (pixel + 1/2) / length is at least 1/2 / length away from a whole number.
    half = ir.Constant(floats, [0.5] * count)
    middle = builder.fadd(builder.sitofp(pixel, floats), half)
    one = ir.Constant(ir.FloatType(), 1.0)
    inverse = builder.fdiv(one, builder.sitofp(image[1], ir.FloatType()))
    line = builder.fptosi(builder.fmul(middle, emitter.splat(inverse)), whole)
    place = builder.sub(pixel, builder.mul(line, emitter.splat(image[1])))
    mask = builder.icmp_signed("<", iota, emitter.splat(pixels[1]))
    for value, moved, size in ((line, shift[0], image[0]), (place, shift[1], image[1])):
        shifted = builder.add(value, emitter.splat(moved))
        mask = builder.and_(mask, builder.icmp_unsigned("<", shifted, emitter.splat(size)))
    return mask
