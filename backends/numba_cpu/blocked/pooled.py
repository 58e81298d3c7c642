"""Convolution, bias, residual, activation and pool of values in blocks in one kernel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

from irconv.backends.numba_cpu.blocked import convolve as slot
from irconv.backends.numba_cpu.blocked.convolve import convolve_lines, part_of
from irconv.backends.numba_cpu.blocked.convolve_row import Operands, convolve_row
from irconv.backends.numba_cpu.blocked.halo import clear_halo
from irconv.backends.numba_cpu.blocked.launches import F32, HEIGHT, WIDTH
from irconv.backends.numba_cpu.blocked.layer import Layer
from irconv.backends.numba_cpu.blocked.pool import (
    DILATION_H,
    FOLD_ONE,
    FOLD_WINDOWS,
    IN_H,
    IN_W,
    KERNEL_H,
    STRIDE_H,
    TOP,
    PoolPlan,
    plan_pool,
    pool_line,
    window_rows,
)
from irconv.backends.numba_cpu.blocked.storage import Storage
from irconv.backends.numba_cpu.blocked.tile import TileShape, lanes
from irconv.backends.numba_cpu.blocked.tiling import LINES, Panels, Rectangle, Tiling, shares
from irconv.backends.numba_cpu.blocked.vectors import load, spread, store
from irconv.backends.numba_cpu.jit import compiled_part
from irconv.backends.numba_cpu.launch import Launch
from irconv.backends.numba_cpu.pointers import at, call, double_bits, number, pointer
from irconv.backends.numba_cpu.step import PoolWindow
from irconv.backends.numba_cpu.work import blocks
from irconv.types import Array

# What the row holds behind that of a convolution, whose strides of y are those of the lines before
# the pool in the scratch.
# fmt: off
(
    SCRATCH, FACTORS, DIVISORS,             # addresses
    SCRATCH_EACH, COLUMNS,                  # elements of a part; where its columns of a window are
    CHUNKS, CHUNK, BY_CHUNKS,               # of an image, their lines of y; before the panels
    BEGIN, IMAGE_WIDTH,                     # elements, pixels: of a line in the scratch
    P_IMAGE, P_GROUP, P_PLANE, P_LINE,      # of y
    CUTS,                                   # for panels of VECTORS, then for the last one
) = range(slot.ROW, slot.ROW + 15)
# How a line is cut into tiles, of up to STACK lines.
(STACK, PIXELS, PIXEL_SIZE, PIXEL_LONGER, CODES) = range(5)
# fmt: on
CUT = CODES + 2 * LINES
POOL = CUTS + 2 * CUT  # what the functions of `pool` read
SIZE = POOL + FOLD_ONE + 1
_BLOCK = lanes()
_BUFFER_BYTES = 160 << 10  # of the lines before the pool


@cache
def _kernel(averages: bool) -> Callable[..., None]:
    """Kernel: for each panel, some lines before the pool at a time lie in the scratch.

    Lines that two chunks read are kept from one to the next; only where the share of a part begins
    are they made again.
    """
    pool_lines, neutral = _pool_lines(averages), 0.0 if averages else -1e400

    def kernel(step: Any, like: Any, part: Any, parts: Any) -> None:
        item, end = part_of(pointer(step[slot.SHARES], step), part, parts)
        scratch = at(pointer(step[SCRATCH], like), part * step[SCRATCH_EACH])
        nothing = spread(number(neutral, like), _BLOCK)
        for i in range(0, step[COLUMNS], _BLOCK):  # the padding of the lines keeps it
            store(at(scratch, i), nothing)
        while item < end:
            repeat, panel, chunk, count = _place(step, item, end)
            line = chunk * step[CHUNK]
            last = min(line + count * step[CHUNK], step[POOL + HEIGHT])
            has, ahead = (0, 0), line - line  # for a literal 0 all would be compiled once more
            while line < last:
                bottom = min(line + step[CHUNK], last)
                has, ahead = _convolve_lines(
                    step, repeat, panel, (line, bottom), has, ahead, scratch
                )
                pool_lines(step, repeat, panel, (line, bottom), has[0], scratch)
                line = bottom
            item += count

    kernel.__qualname__ = "convolve_average_pool" if averages else "convolve_max_pool"
    return kernel


@compiled_part
def _place(step: Any, item: Any, end: Any) -> Any:
    """The image and group, the panel and the chunk of an item, and how many chunks follow."""
    if step[BY_CHUNKS] != 0:
        rest = item // step[slot.PANELS]
        repeat = rest // step[CHUNKS]
        return repeat, item - rest * step[slot.PANELS], rest - repeat * step[CHUNKS], 1
    rest = item // step[CHUNKS]
    chunk = item - rest * step[CHUNKS]
    repeat = rest // step[slot.PANELS]
    panel = rest - repeat * step[slot.PANELS]
    return repeat, panel, chunk, min(step[CHUNKS] - chunk, end - item)


@compiled_part
def _convolve_lines(
    step: Any, repeat: Any, panel: Any, lines: Any, has: Any, done: Any, scratch: Any
) -> Any:
    """What lines lines[0] .. lines[1] of y read, to the front of the scratch.

    The scratch has lines has[0] .. has[1] of before; `done` tiles of the panel were made. Returned:
    the lines that it has now, and the tiles.
    """
    image = repeat // step[slot.GROUPS]
    group = repeat - image * step[slot.GROUPS]
    stride, above = step[POOL + STRIDE_H], step[POOL + TOP]
    top = max(lines[0] * stride - above, 0)
    reach = (step[POOL + KERNEL_H] - 1) * step[POOL + DILATION_H] + 1
    bottom = max(min((lines[1] - 1) * stride - above + reach, step[POOL + IN_H]), top)
    kept = 0
    if has[0] <= top < has[1]:
        kept = min(has[1], bottom) - top
        _move_lines(step, top - has[0], kept, scratch)
    x = at(
        pointer(step[slot.X], scratch),
        image * step[slot.X_IMAGE] + group * step[slot.X_GROUP] + (top + kept) * step[slot.X_LINE],
    )
    before = panel * step[slot.VECTORS]
    residual = pointer(step[slot.RESIDUAL], scratch)
    if step[slot.RESIDUAL] != 0:
        place = (
            image * step[slot.R_IMAGE] + group * step[slot.R_GROUP] + before * step[slot.R_PLANE]
        )
        residual = at(residual, place + (top + kept) * step[slot.R_LINE])
    y = at(scratch, step[BEGIN] + kept * step[slot.Y_LINE])
    count = bottom - top - kept
    done = _tiles(step, group, panel, count, x, residual, y, done)
    if step[slot.FINISH] != 0:
        for v in range(step[slot.VECTORS] if panel < step[slot.PANELS] - 1 else step[slot.LAST]):
            call(
                step[slot.FINISH],
                at(y, v * step[slot.Y_PLANE]),
                count,
                step[IMAGE_WIDTH] * _BLOCK,
                step[slot.Y_LINE],
                number(double_bits(step[slot.ALPHA]), y),
                number(double_bits(step[slot.BETA]), y),
            )
    return (top, bottom), done


@compiled_part
def _move_lines(step: Any, first: Any, count: Any, scratch: Any) -> None:
    """Lines first .. first + count of every block to the front."""
    if first > 0:
        for v in range(max(step[slot.VECTORS], step[slot.LAST])):
            plane = at(scratch, v * step[slot.Y_PLANE])
            source = at(plane, first * step[slot.Y_LINE])
            for i in range(0, count * step[slot.Y_LINE], _BLOCK):
                store(at(plane, i), load(at(source, i), _BLOCK))


@compiled_part
def _tiles(
    step: Any, group: Any, panel: Any, count: Any, x: Any, residual: Any, y: Any, done: Any
) -> Any:
    """`count` lines before the pool from the tiles; how many tiles of the panel were made."""
    last = panel == step[slot.PANELS] - 1
    vectors = step[slot.LAST] if last else step[slot.VECTORS]
    all_blocks = (step[slot.PANELS] - 1) * step[slot.VECTORS] + step[slot.LAST]
    first = group * all_blocks + panel * step[slot.VECTORS]
    depth = step[slot.COUNT] * step[slot.RUN]
    weights = at(pointer(step[slot.WEIGHTS], y), first * depth * _BLOCK)
    bias = pointer(step[slot.BIAS], y)
    if step[slot.BIAS] != 0:
        bias = at(bias, first * _BLOCK)
    cut = at(step, CUTS + CUT) if last else at(step, CUTS)
    # Each tile asks for some of the next panel's weights.
    all_tiles = blocks(step[POOL + IN_H], cut[STACK]) * cut[PIXELS]
    ahead_step = 0 if last else blocks(step[slot.VECTORS] * _BLOCK, all_tiles)
    following = weights if last else at(weights, vectors * depth * _BLOCK)
    line = 0
    while line < count:
        stacked = min(cut[STACK], count - line)
        added = residual
        if step[slot.RESIDUAL] != 0:
            added = at(residual, line * step[slot.R_LINE])
        convolve_lines(
            step,
            (at(cut, PIXELS), at(cut, CODES + 2 * (stacked - 1))),
            at(x, line * step[slot.X_LINE]),
            (weights, bias),
            at(y, line * step[slot.Y_LINE]),
            added,
            (depth, at(following, done * depth * ahead_step), ahead_step),
        )
        done += cut[PIXELS]
        line += stacked
    return done


@compiled_part
def _y_lines(step: Any, repeat: Any, panel: Any) -> Any:
    """The first line of y of a panel, and its blocks."""
    image = repeat // step[slot.GROUPS]
    group = repeat - image * step[slot.GROUPS]
    place = image * step[P_IMAGE] + group * step[P_GROUP]
    vectors = step[slot.LAST] if panel == step[slot.PANELS] - 1 else step[slot.VECTORS]
    return place + panel * step[slot.VECTORS] * step[P_PLANE], vectors


def _pool_lines(averages: bool) -> Callable[..., Any]:
    """The function that makes lines lines[0] .. lines[1] of y from the scratch, which begins with
    line `top`.
    """
    make_line = pool_line(_BLOCK, averages)

    def pool_lines(step: Any, repeat: Any, panel: Any, lines: Any, top: Any, scratch: Any) -> None:
        sizes, columns = at(step, POOL), at(scratch, step[COLUMNS])
        down = sizes[DILATION_H] * step[slot.Y_LINE]
        place, vectors = _y_lines(step, repeat, panel)
        factors, divisors = pointer(step[FACTORS], scratch), pointer(step[DIVISORS], scratch)
        for line in range(lines[0], lines[1]):
            row, taps = window_rows(line, sizes)
            factor = number(1.0, scratch)
            if averages:
                factor = factors[line]
            for v in range(vectors):
                to = place + v * step[P_PLANE] + line * step[P_LINE]
                y = at(pointer(step[slot.Y], scratch), to)
                x = at(scratch, v * step[slot.Y_PLANE] + (row - top) * step[slot.Y_LINE])
                make_line(sizes, y, x, taps, down, columns, factor, divisors)

    return compiled_part(pool_lines)


def pooled_convolution(
    layer: Layer, operands: Operands, window: PoolWindow, parts: int
) -> list[Launch]:
    """The launches of a layer whose `y` is that after the pool; see `convolution`."""
    y, (height, width) = layer.y, layer.geometry.out
    plan, left = _padded_plan(window, (height, width), (y.height, y.width))
    line = plan.numbers[IN_W - KERNEL_H] * _BLOCK
    before = Storage(1, y.channels, height, width, _BLOCK, (0,) * 4, 0, 0, line, 0)
    tiling = replace(layer, y=before).tiling(parts)
    chunk = _chunk(plan, tiling.panels, y, layer.geometry.group, line, parts)
    room = min(_reach(plan, chunk), height) * line
    inner = replace(layer, y=replace(before, plane=room))
    row = convolve_row(inner, tiling, operands, parts)
    row.tiles.clear()
    for place, count in ((CUTS, tiling.panels.vectors), (CUTS + CUT, tiling.panels.last)):
        cut = Rectangle.of(height, width, count)
        row.numbers.update(_cut_numbers(cut, place))
        row.tiles.update(_cut_tiles(cut, layer, row.numbers, place))
    columns = max(tiling.panels.each()) * room
    each = columns + -(-plan.scratch // _BLOCK) * _BLOCK
    row.numbers.update(
        {
            SCRATCH_EACH: each,
            COLUMNS: columns,
            CHUNKS: -(-y.height // chunk),
            CHUNK: chunk,
            BY_CHUNKS: int(_goes_by_chunks(plan)),
            BEGIN: left * _BLOCK,
            IMAGE_WIDTH: width,
            P_IMAGE: y.image,
            P_GROUP: tiling.panels.blocks * y.plane,
            P_PLANE: y.plane,
            P_LINE: y.line,
            POOL + HEIGHT: y.height,
            POOL + WIDTH: y.width,
        }
        | dict(enumerate(plan.numbers, POOL + KERNEL_H))
    )
    row.folds.update(enumerate(plan.folds, POOL + FOLD_WINDOWS))
    row.sources.update(zip((FACTORS, DIVISORS), plan.divisors, strict=False))
    row.sources[slot.SHARES] = _shares(layer, tiling, plan, chunk, parts)
    row.offsets[slot.Y] = y.origin
    kernel, activation = _kernel(bool(plan.divisors)), layer.ending.activation
    name, scratch = "convolve_pool_blocks", (SCRATCH, each * parts * F32.itemsize)
    return [*clear_halo(operands.y), row.launch(name, kernel, activation, SIZE, scratch)]


def _padded_plan(
    window: PoolWindow, image: tuple[int, int], out: tuple[int, int]
) -> tuple[PoolPlan, int]:
    """The plan for lines that hold their padding, and how much of it stands in front."""
    plan = plan_pool(window, image, out, _BLOCK)
    rank = len(window.pads) // 2
    left = window.pads[rank - 1]
    reach = (out[1] - 1) * window.strides[-1] + (window.kernel[-1] - 1) * window.dilations[-1] + 1
    pads = (*window.pads[: rank - 1], 0, *window.pads[rank:-1], 0)
    width = max(reach, left + image[1])
    padded = plan_pool(replace(window, pads=pads), (image[0], width), out, _BLOCK)
    return replace(padded, divisors=plan.divisors), left


def _reach(plan: PoolPlan, lines: int) -> int:
    """How many lines of the image the windows of some lines read, at most."""
    kernel, stride, dilation = (
        plan.numbers[i - KERNEL_H] for i in (KERNEL_H, STRIDE_H, DILATION_H)
    )
    return (lines - 1) * stride + (kernel - 1) * dilation + 1


def _goes_by_chunks(plan: PoolPlan) -> bool:
    """Whether chunks share no lines: then all panels of one come first, while its input is near."""
    return _reach(plan, 1) <= plan.numbers[STRIDE_H - KERNEL_H]


def _chunk(plan: PoolPlan, panels: Panels, y: Storage, group: int, line: int, parts: int) -> int:
    """Lines of y that are made at a time: their input fits the buffer, and all parts have some."""
    room = _BUFFER_BYTES // (max(panels.each()) * line * F32.itemsize)
    fitting = max(sum(_reach(plan, n) <= room for n in range(1, y.height + 1)), 1)
    wanted = -(-4 * parts // (y.images * group * panels.count)) if parts > 1 else 1
    most = min(fitting, max(y.height // wanted, 1))
    return -(-y.height // -(-y.height // most))


def _shares(layer: Layer, tiling: Tiling, plan: PoolPlan, chunk: int, parts: int) -> Array:
    """`tiling.shares` of the panels and chunks of all images and groups."""
    y, (height, width) = layer.y, layer.geometry.out
    lines = [
        min(_reach(plan, min(chunk, y.height - first)), height)
        for first in range(0, y.height, chunk)
    ]
    pairs = [(count, vectors) for vectors in tiling.panels.each() for count in lines]
    if _goes_by_chunks(plan):
        pairs = [(count, vectors) for count in lines for vectors in tiling.panels.each()]
    costs = [Rectangle.of(count, width, vectors).cost(tiling.depth) for count, vectors in pairs]
    return shares(costs, y.images * layer.geometry.group, parts)


def _cut_numbers(cut: Rectangle, place: int) -> dict[int, int | float]:
    pixels = cut.pixels
    values = (cut.lines.size, pixels.count, pixels.size, pixels.longer)
    return dict(enumerate(values, place))


def _cut_tiles(
    cut: Rectangle, layer: Layer, numbers: dict[int, int | float], place: int
) -> dict[int, TileShape]:
    step, run = layer.geometry.strides[1] * layer.x.block, int(numbers[slot.RUN])
    shapes = [
        TileShape(width, lines, cut.vectors, step, run)
        for lines in range(1, cut.lines.size + 1)
        for width in cut.pixels.sizes
    ]
    return dict(enumerate(shapes, place + CODES))
