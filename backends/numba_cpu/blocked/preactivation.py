"""1x1 convolutions of values in blocks whose input is scaled, shifted and bounded on the way."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from irconv.backends.numba_cpu.blocked import convolve as slot
from irconv.backends.numba_cpu.blocked.convolve import convolve_panel, part_of
from irconv.backends.numba_cpu.blocked.convolve_row import Operands, convolve_row
from irconv.backends.numba_cpu.blocked.halo import clear_halo
from irconv.backends.numba_cpu.blocked.launches import F32
from irconv.backends.numba_cpu.blocked.layer import Layer
from irconv.backends.numba_cpu.blocked.pointwise import filled_up
from irconv.backends.numba_cpu.blocked.storage import Storage
from irconv.backends.numba_cpu.blocked.tile import lanes
from irconv.backends.numba_cpu.blocked.tiling import Tiling
from irconv.backends.numba_cpu.blocked.vectors import at_least, at_most, fma, load, spread, store
from irconv.backends.numba_cpu.jit import compiled_part
from irconv.backends.numba_cpu.launch import Launch
from irconv.backends.numba_cpu.pointers import at, double_bits, number, pointer
from irconv.types import Array

# What the row holds behind that of a convolution, whose strides of x are those of the scratch.
# fmt: off
(
    SCALE, SHIFT, SCRATCH, SCRATCH_EACH, BLOCKS, ROOM,      # blocks of x, room for each of them
    S_IMAGE, S_PLANE, S_LINE, S_PIXEL,      # of x, from one pixel that is read to the next
    WIDTH, UNIT,                            # pixels of a line of the output, of a line of units
    BELOW, ABOVE,
    SIZE,
) = range(slot.ROW, slot.ROW + 15)
# fmt: on
_BLOCK = lanes()
_BAND_BYTES = 192 << 10  # of mapped input


@dataclass(frozen=True)
class Preactivation:
    """x becomes x * scale + shift, held in low .. high; scale and shift are `[channels]`."""

    scale: Array
    shift: Array
    low: float = -np.inf
    high: float = np.inf


def convolve_mapped(step: Any, like: Any, part: Any, parts: Any) -> None:
    """Kernel: band by band, the input is mapped into the scratch, then multiplied panel by panel.

    The parts share the units, so that each input is mapped once.
    """
    item, end = part_of(pointer(step[slot.SHARES], step), part, parts)
    scratch = at(pointer(step[SCRATCH], like), part * step[SCRATCH_EACH])
    while item < end:
        image = item // step[slot.UNITS]
        first = item - image * step[slot.UNITS]
        last = min(first + step[slot.BAND], step[slot.UNITS], first + end - item)
        start = unit_start(step, first)
        x = at(pointer(step[slot.X], like), image * step[S_IMAGE])
        _map(step, x, start * step[UNIT], unit_start(step, last) * step[UNIT], scratch)
        y = at(pointer(step[slot.Y], like), image * step[slot.Y_IMAGE])
        residual = pointer(step[slot.RESIDUAL], like)
        if step[slot.RESIDUAL] != 0:
            residual = at(residual, image * step[slot.R_IMAGE])
        mapped = at(scratch, -start * step[slot.X_UNIT])
        more = int(last < step[slot.UNITS])
        for panel in range(step[slot.PANELS]):
            convolve_panel(step, 0, (panel, more), (first, last), (mapped, part), y, residual)
        item += last - first


@compiled_part
def unit_start(step: Any, unit: Any) -> Any:
    """The first line of a unit (where images are flat: its first pixel)."""
    return unit * (step[slot.UNIT_SIZE] - 1) + min(unit, step[slot.UNIT_LONGER])


@compiled_part
def _map_line(to: Any, source: Any, jump: Any, count: Any, how: Any) -> None:
    """`count` pixels of one block; four at a time, all loads before the first store."""
    scale, shift, low, high = how
    done = count // 4 * 4
    for i in range(0, done, 4):
        a = fma(load(at(source, i * jump), _BLOCK), scale, shift)
        b = fma(load(at(source, (i + 1) * jump), _BLOCK), scale, shift)
        c = fma(load(at(source, (i + 2) * jump), _BLOCK), scale, shift)
        d = fma(load(at(source, (i + 3) * jump), _BLOCK), scale, shift)
        store(at(to, i * _BLOCK), at_most(high, at_least(low, a)))
        store(at(to, (i + 1) * _BLOCK), at_most(high, at_least(low, b)))
        store(at(to, (i + 2) * _BLOCK), at_most(high, at_least(low, c)))
        store(at(to, (i + 3) * _BLOCK), at_most(high, at_least(low, d)))
    for i in range(done, count):
        value = fma(load(at(source, i * jump), _BLOCK), scale, shift)
        store(at(to, i * _BLOCK), at_most(high, at_least(low, value)))


@compiled_part
def _map(step: Any, x: Any, first: Any, end: Any, scratch: Any) -> None:
    """Pixels first .. end of all blocks of the output's image, one after the other."""
    low = spread(number(double_bits(step[BELOW]), x), _BLOCK)
    high = spread(number(double_bits(step[ABOVE]), x), _BLOCK)
    jump = step[S_PIXEL]
    for block in range(step[BLOCKS]):
        scale = load(at(pointer(step[SCALE], x), block * _BLOCK), _BLOCK)
        shift = load(at(pointer(step[SHIFT], x), block * _BLOCK), _BLOCK)
        plane, target = at(x, block * step[S_PLANE]), at(scratch, block * step[ROOM])
        pixel = first
        while pixel < end:
            line = pixel // step[WIDTH]
            column = pixel - line * step[WIDTH]
            count = min(step[WIDTH] - column, end - pixel)
            source = at(plane, line * step[S_LINE] + column * jump)
            to = at(target, (pixel - first) * _BLOCK)
            _map_line(to, source, jump, count, (scale, shift, low, high))
            pixel += count


def mapped_convolution(
    layer: Layer, operands: Operands, before: Preactivation, parts: int
) -> list[Launch]:
    """The launches of a layer of 1x1 kernels without padding or groups; see `convolution`."""
    x, g = layer.x, layer.geometry
    (height, width), block = g.out, x.block
    inner = replace(g, image=g.out, strides=(1, 1))
    line = width * block
    scratch = Storage(1, x.channels, height, width, block, (0,) * 4, 0, height * line, line, 0)
    tiling = _in_small_bands(replace(layer, geometry=inner, x=scratch).tiling(parts))
    room = tiling.band * tiling.units.size * (block if tiling.flat else line)
    mapped = replace(layer, geometry=inner, x=replace(scratch, plane=room))
    row = convolve_row(mapped, tiling, operands, parts)
    row.sources[slot.SHARES] = tiling.unit_shares(layer.y.images, parts)
    for place, values in ((SCALE, before.scale), (SHIFT, before.shift)):
        row.sources[place] = filled_up(values, block, x.order)
    row.offsets[slot.X] = x.origin
    row.numbers.update(
        {
            SCRATCH_EACH: x.blocks * room,
            BLOCKS: x.blocks,
            ROOM: room,
            S_IMAGE: x.image,
            S_PLANE: x.plane,
            S_LINE: g.strides[0] * x.line,
            S_PIXEL: g.strides[1] * block,
            WIDTH: width,
            UNIT: 1 if tiling.flat else width,
            BELOW: float(before.low),
            ABOVE: float(before.high),
        }
    )
    nbytes = parts * x.blocks * room * F32.itemsize
    name, activation = "convolve_mapped_blocks", layer.ending.activation
    launch = row.launch(name, convolve_mapped, activation, SIZE, (SCRATCH, nbytes))
    return [*clear_halo(operands.y), launch]


def _in_small_bands(tiling: Tiling) -> Tiling:
    """The same in bands whose mapped input leaves room in the cache for what is being mapped."""
    pixels = tiling.units.size * (1 if tiling.flat else tiling.width)
    most = max(_BAND_BYTES // (pixels * tiling.depth * F32.itemsize), 1)
    bands = -(-tiling.units.count // min(tiling.band, most))
    return replace(tiling, band=-(-tiling.units.count // bands))
