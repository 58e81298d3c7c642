"""Products with the matrix of a convolution, executed from its index."""

from __future__ import annotations

from typing import Any

from irconv.backends.numba_cpu import slots
from irconv.backends.numba_cpu.convolve import VECTORS
from irconv.backends.numba_cpu.integers import int32_at
from irconv.backends.numba_cpu.jit import compiled_part
from irconv.backends.numba_cpu.pointers import (
    at,
    call,
    double_bits,
    lanes,
    move_lanes,
    number,
    pointer,
)
from irconv.backends.numba_cpu.tiles import ROWS
from irconv.backends.numba_cpu.work import blocks, share

# Slots of the engine's step that a product from an index uses otherwise.
TABLE, TAPS, PIXELS, OUT = slots.KERNEL_D, slots.KERNEL_H, slots.IN_W, slots.OUT_W


def tap_product(step: Any, like: Any, part: Any, parts: Any) -> None:
    """Kernel: the tap form. TABLE[tap][row] is the input pixel of each (row, tap), or -1.

    X is [IMAGES, GROUPS * CHANNELS, PIXELS], Y [IMAGES, GROUPS * ROWS, OUT]; WEIGHTS are packed
    rows of depth (tap, channel). Each panel of columns is gathered through the table.
    """
    rows, groups, channels = step[slots.ROWS], step[slots.GROUPS], step[slots.CHANNELS]
    out, pixels, taps = step[OUT], step[PIXELS], step[TAPS]
    width = VECTORS * lanes(like)
    cuts, panels = blocks(out, width), blocks(rows, ROWS)
    scratch = at(pointer(step[slots.SCRATCH], like), part * step[slots.SCRATCH_EACH])
    first, end = share(step[slots.IMAGES] * groups * cuts, part, parts)
    for unit in range(first, end):
        column = unit % cuts * width
        group = unit // cuts % groups
        image = unit // (cuts * groups)
        columns = min(width, out - column)
        plane = image * groups + group
        x = at(pointer(step[slots.X], like), plane * channels * pixels)
        weights = at(pointer(step[slots.WEIGHTS], like), group * panels * ROWS * taps * channels)
        bias = at(pointer(step[slots.BIAS], like), group * panels * ROWS)
        place = plane * rows * out + column
        y = at(pointer(step[slots.Y], like), place)
        residual = at(pointer(step[slots.RESIDUAL], like), place)
        _columns(step, x, weights, bias, column, columns, y, residual, scratch)
        if step[slots.FINISH] != 0:
            call(
                step[slots.FINISH],
                y,
                rows,
                columns,
                out,
                number(double_bits(step[slots.ALPHA]), like),
                number(double_bits(step[slots.BETA]), like),
            )


@compiled_part
def _columns(
    step: Any,
    x: Any,
    weights: Any,
    bias: Any,
    column: Any,
    columns: Any,
    y: Any,
    residual: Any,
    panel: Any,
) -> None:
    """All rows of one group at up to three vectors of columns, depth block by depth block."""
    rows, channels, out = step[slots.ROWS], step[slots.CHANNELS], step[OUT]
    width, depth = VECTORS * lanes(y), step[TAPS] * channels
    height = blocks(rows, ROWS) * ROWS
    nothing = pointer(0, y)
    low = number(double_bits(step[slots.LOW]), y)
    high = number(double_bits(step[slots.HIGH]), y)
    for i in range(blocks(depth, step[slots.DEPTH_BLOCK])):
        first = i * step[slots.DEPTH_BLOCK]
        count = min(step[slots.DEPTH_BLOCK], depth - first)
        last = first + count >= depth
        for k in range(count):
            tap = (first + k) // channels
            source = at(x, (first + k - tap * channels) * step[PIXELS])
            index = step[TABLE] + 4 * (tap * out + column)
            _gather_line(at(panel, k * width), source, index, columns)
        for top in range(0, rows, ROWS):
            call(
                step[slots.TILE],
                count,
                at(weights, first * height + top * count),
                ROWS,
                panel,
                width,
                at(y, top * out),
                out,
                min(ROWS, rows - top),
                columns,
                at(bias, top) if first == 0 and step[slots.BIAS] != 0 else nothing,
                at(residual, top * out) if last and step[slots.RESIDUAL] != 0 else nothing,
                out,
                int(first > 0),
                low if last else number(-1e400, y),
                high if last else number(1e400, y),
            )


@compiled_part
def _gather_line(line: Any, source: Any, index: Any, columns: Any) -> None:
    """line[i] = source[index[i]], 0 where the index is -1; whole vectors where it runs on."""
    size = lanes(line)
    for vector in range(blocks(columns, size)):
        v = vector * size
        count = min(size, columns - v)
        start = int32_at(index, v)
        if start >= 0 and _runs_on(index, v, count):
            move_lanes(1, at(line, v), at(source, start), 0, count, count, number(0.0, line))
        else:
            for i in range(v, v + count):
                place = int32_at(index, i)
                line[i] = source[place] if place >= 0 else number(0.0, line)


@compiled_part
def _runs_on(index: Any, first: Any, count: Any) -> Any:
    """Whether the index goes on by one from element `first`."""
    same, start = 0, int32_at(index, first)
    for i in range(count):
        same += int(int32_at(index, first + i) == start + i)
    return same == count


def literal_product(step: Any, like: Any, part: Any, parts: Any) -> None:
    """Kernel: the literal form, y[n, r] = sum over r's entries of w[entry] * x[n, column].

    Row: Y, X, W, BIAS, RESIDUAL, INDPTR, COLUMNS, ENTRIES (int32), FINISH, images, rows,
    columns, rows of one channel (they share a bias), low, high, alpha, beta.
    """
    x, w, y = pointer(step[2], like), pointer(step[3], like), pointer(step[1], like)
    rows = step[11]
    low, high = number(double_bits(step[14]), like), number(double_bits(step[15]), like)
    first, end = share(rows, part, parts)
    for image in range(step[10]):
        source = at(x, image * step[12])
        for r in range(first, end):
            total = number(0.0, like)
            for e in range(int32_at(step[6], r), int32_at(step[6], r + 1)):
                total += w[int32_at(step[8], e)] * source[int32_at(step[7], e)]
            if step[4] != 0:
                total += pointer(step[4], like)[r // step[13]]
            if step[5] != 0:
                total += pointer(step[5], like)[image * rows + r]
            total = low if total < low else total
            y[image * rows + r] = high if total > high else total
        if step[9] != 0:
            call(
                step[9],
                at(y, image * rows + first),
                1,
                end - first,
                end - first,
                number(double_bits(step[16]), like),
                number(double_bits(step[17]), like),
            )
