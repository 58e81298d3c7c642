"""Products with the tap form of a convolution's matrix, from its index, on blocks of channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from irconv.backends.numba_cpu.blocked import convolve as slot
from irconv.backends.numba_cpu.blocked.convolve import kernel_of, panels_of, run_tiles
from irconv.backends.numba_cpu.blocked.convolve_row import Operands, Row, convolve_row
from irconv.backends.numba_cpu.blocked.halo import clear_halo
from irconv.backends.numba_cpu.blocked.launches import F32
from irconv.backends.numba_cpu.blocked.layer import Layer
from irconv.backends.numba_cpu.blocked.lookup import find_starts
from irconv.backends.numba_cpu.blocked.tile import lanes as vector_lanes
from irconv.backends.numba_cpu.blocked.tile import most_rows
from irconv.backends.numba_cpu.blocked.tiling import Tiling
from irconv.backends.numba_cpu.blocked.weights import block_starts, segments
from irconv.backends.numba_cpu.integers import int32_at
from irconv.backends.numba_cpu.jit import compiled_part
from irconv.backends.numba_cpu.launch import Launch
from irconv.backends.numba_cpu.memory import LINE, aligned
from irconv.backends.numba_cpu.pointers import at, lanes, number, pointer
from irconv.types import Array

# What the row holds behind that of a convolution.
# fmt: off
(
    INDEX, PATTERN, STARTS, SCRATCH,        # addresses: see `_Index`; where blocks of x begin
    SCRATCH_EACH, GATHERED,                 # bytes of a part; where its gathered pixels are
    PITCH, TAPS, JOINED, ELEMENT,           # of the index; taps of a segment, elements of a pixel
    WIDTH, UNIT,                            # pixels of a line of the output, of a line of units
    SIZE,
) = range(slot.ROW, slot.ROW + 13)
# fmt: on
_NONE = -1  # in the index: nothing is read


@compiled_part
def _look_up(step: Any, pixel: Any, rows: Any, scratch: Any) -> Any:
    """Whether `rows` output pixels from `pixel` on read pixels of x that lie as those of a tile.

    Then the scratch holds the segments of x that the first of them reads.
    """
    found = pointer(scratch, step)
    if not find_starts(
        step[INDEX] + 4 * pixel, step[PITCH], step[TAPS], step[JOINED], step[ELEMENT],
        step[PATTERN], rows, found,
    ):  # fmt: skip
        return False
    starts, taps = pointer(step[STARTS], step), step[TAPS]
    for block in range(1, step[slot.COUNT] // taps):
        line = at(found, block * taps)
        for tap in range(taps):
            line[tap] = found[tap] + starts[block]
    return True


@compiled_part
def _gather(step: Any, x: Any, pixel: Any, rows: Any, scratch: Any) -> Any:
    """Copies what `rows` output pixels from `pixel` on read, and writes the segments of the copy.

    What is absent from the index is 0.
    """
    found, starts = pointer(scratch, step), pointer(step[STARTS], step)
    copy, jump = pointer(scratch + step[GATHERED], x), step[slot.X_PIXEL]
    for segment in range(step[slot.COUNT]):
        block = segment // step[TAPS]
        index = step[INDEX] + 4 * ((segment - block * step[TAPS]) * step[PITCH] + pixel)
        found[segment] = segment * rows * jump
        for row in range(rows):
            place, to = int32_at(index, row), at(copy, (segment * rows + row) * jump)
            for i in range(step[slot.RUN]):
                to[i] = x[starts[block] + place + i] if place >= 0 else number(0.0, x)
    return copy


@compiled_part
def _tap_lines(
    step: Any, tiles: Any, place: Any, x: Any, constants: Any, y: Any, residual: Any, ahead: Any
) -> Any:
    """Some lines, as many as one tile has: the longer tiles, then the others.

    `place`: the number of their first output pixel, and the lines. `x`: where image and group
    begin, and the address of the part's scratch. The rest is as for `convolve.convolve_lines`.
    """
    pixels, codes = tiles
    first, lines = place
    image, scratch = x
    depth, wanted, ahead_step = ahead
    pixel = 0
    for short in range(2):
        count = pixels[0] - pixels[2] if short else pixels[2]
        size = pixels[1] - short
        # all at once if possible, else tile by tile
        left = count
        while left > 0:
            some, here = left, first + pixel
            source, line = image, step[slot.X_LINE]
            if not _look_up(step, here, left * lines * size, scratch):
                some = 1
                if left == 1 or not _look_up(step, here, lines * size, scratch):
                    source = _gather(step, image, here, lines * size, scratch)
                    line = size * step[slot.X_PIXEL]
            run_tiles(
                step,
                (codes[short], some),
                (source, line, scratch),
                constants,
                at(y, pixel * lanes(y)),
                at(residual, pixel * lanes(y)) if step[slot.RESIDUAL] != 0 else residual,
                (wanted, ahead_step),
            )
            wanted = at(wanted, depth * ahead_step * some)
            pixel += size * some
            left -= some
    return wanted


@compiled_part
def _tap_unit(
    step: Any, cut: Any, place: Any, weights: Any, bias: Any, y: Any, residual: Any, ahead: Any
) -> Any:
    """The tiles of a unit; the place of weights that the next tile asks for."""
    (x, part), start = place
    scratch = step[SCRATCH] + part * step[SCRATCH_EACH]
    depth, wanted, ahead_step = ahead
    line = 0
    for i in range(cut[slot.LINES]):
        short = int(i >= cut[slot.LINE_LONGER])
        lines = cut[slot.LINE_SIZE] - short
        added = residual
        if step[slot.RESIDUAL] != 0:
            added = at(residual, line * step[slot.R_LINE])
        wanted = _tap_lines(
            step,
            (at(cut, slot.PIXELS), at(cut, slot.CODES + 2 * short)),
            (start * step[UNIT] + line * step[WIDTH], lines),
            (x, scratch),
            (weights, bias),
            at(y, line * step[slot.Y_LINE]),
            added,
            (depth, wanted, ahead_step),
        )
        line += lines
    return wanted


# Kernel: as `convolve.convolve`, but each tile looks up in an index where its pixels read x.
tap_blocks = kernel_of("tap_blocks", panels_of(_tap_unit))


@dataclass(frozen=True)
class _Index:
    """Where x is read: `places` is [taps][output pixels] int32, in elements from the layer's first
    on, `_NONE` where nothing is. `is_own`: it is the index that the geometry makes.
    """

    places: Array
    is_own: bool

    @classmethod
    def of(cls, layer: Layer, table: Array) -> _Index:
        """From the input pixel that each (tap, output pixel) reads, -1 where none.

        What is absent from the geometry's own index reads the zeros around the image.
        """
        g, x = layer.geometry, layer.x
        pads = g.pads[:2]
        rows, columns = (
            np.arange(g.out[a]) * g.strides[a] + np.arange(g.kernel[a])[:, None] * g.dilations[a]
            for a in range(2)
        )
        shape = (*g.kernel, *g.out)
        down = np.broadcast_to(rows[:, None, :, None], shape).reshape(g.taps, -1)
        across = np.broadcast_to(columns[:, None, :], shape).reshape(g.taps, -1)
        inside = (down >= pads[0]) & (down < g.image[0] + pads[0])
        inside &= (across >= pads[1]) & (across < g.image[1] + pads[1])
        own = np.where(inside, (down - pads[0]) * g.image[1] + across - pads[1], _NONE)

        line, column = table // g.image[1] + pads[0], table % g.image[1] + pads[1]
        places = line * x.line + column * x.block
        zeros = np.where(inside, _NONE, down * x.line + across * x.block)
        places = np.where(table == _NONE, zeros, places)
        return cls(places.astype(np.int32), bool(np.array_equal(table, own)))


def tap_convolution(
    layer: Layer, operands: Operands, table: Array, parts: int
) -> list[Launch] | None:
    """y = activation(matrix x + bias + residual), and the halo of y; the index is `table`.

    `table` `[taps, output pixels]` is the input pixel that each tap reads, -1 where none; any such
    table will do. None where no kernel runs it: as `convolution.convolution`, and groups must be
    whole blocks.
    """
    if not layer.is_possible() or not layer.has_whole_groups() or layer.is_depthwise():
        return None
    index, tiling = _Index.of(layer, table), layer.tiling(parts)
    starts, run = block_starts(layer.x, layer.geometry)
    whole_run = segments(layer.x, layer.geometry)[1]
    # of another index, the taps of a line need not lie side by side
    joined = max(whole_run // run, 1) if index.is_own else 1
    taps = layer.geometry.taps // joined
    count = len(starts) * taps
    row = convolve_row(layer, tiling, operands, parts, (np.zeros(count, np.int64), run * joined))
    del row.sources[slot.SEGMENTS]
    pitch = (index.places.shape[1] // vector_lanes() + 2) * vector_lanes()
    held = aligned(layer.geometry.taps * pitch, index.places.dtype)
    held.reshape(-1, pitch)[:, : index.places.shape[1]] = index.places
    held.reshape(-1, pitch)[:, index.places.shape[1] :] = 0
    row.sources.update({INDEX: held, PATTERN: _pattern(layer, tiling, row), STARTS: starts})
    gathered = -(-count * 8 // LINE) * LINE
    step = int(row.numbers[slot.X_PIXEL])
    copied = 0 if index.is_own else count * most_rows(1) * step * F32.itemsize
    each = -(-(gathered + copied) // LINE) * LINE
    row.numbers.update(
        {
            SCRATCH_EACH: each,
            GATHERED: gathered,
            PITCH: pitch,
            TAPS: taps,
            JOINED: joined,
            ELEMENT: layer.x.block,
            WIDTH: layer.y.width,
            UNIT: 1 if tiling.flat else layer.y.width,
        }
    )
    scratch = (SCRATCH, parts * each)
    launch = row.launch("tap_blocks", tap_blocks, layer.ending.activation, SIZE, scratch)
    return [*clear_halo(operands.y), launch]


def _pattern(layer: Layer, tiling: Tiling, row: Row) -> Array:
    """Where the pixels of tiles that follow each other are, from the first of them on."""
    line, pixel = int(row.numbers[slot.X_LINE]), int(row.numbers[slot.X_PIXEL])
    width = tiling.units.size if tiling.flat else layer.y.width
    numbers = np.arange(max(width, most_rows(1)) + vector_lanes())
    return (numbers // width * line + numbers % width * pixel).astype(np.int32)
