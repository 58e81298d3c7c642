"""A 1x1 convolution of values in blocks and the depthwise convolution of its result, by bands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from irconv.backends.numba_cpu.blocked import convolve as slot
from irconv.backends.numba_cpu.blocked.convolve import convolve_panel
from irconv.backends.numba_cpu.blocked.convolve_row import Operands, convolve_row
from irconv.backends.numba_cpu.blocked.depthwise import (
    bias_by_slot,
    by_slot,
    multiply_channels,
    tile_width,
)
from irconv.backends.numba_cpu.blocked.halo import clear_halo
from irconv.backends.numba_cpu.blocked.launches import F32
from irconv.backends.numba_cpu.blocked.layer import Layer
from irconv.backends.numba_cpu.blocked.pointwise import activate
from irconv.backends.numba_cpu.blocked.storage import Storage
from irconv.backends.numba_cpu.blocked.tile import lanes
from irconv.backends.numba_cpu.blocked.tiling import Pieces, Tiling
from irconv.backends.numba_cpu.blocked.vectors import spread, store
from irconv.backends.numba_cpu.jit import compiled_part
from irconv.backends.numba_cpu.launch import Launch, Source
from irconv.backends.numba_cpu.pointers import at, double_bits, number, pointer
from irconv.backends.numba_cpu.pointers import lanes as lanes_of
from irconv.backends.numba_cpu.step import Epilogue
from irconv.backends.numba_cpu.work import share
from irconv.geometry import ConvGeometry
from irconv.types import Array

# What the row holds behind that of the first convolution, whose result is the scratch.
# fmt: off
(
    TARGET, ADDED, KERNEL, KERNEL_BIAS, SCRATCH, SCRATCH_EACH,
    IMAGES, BANDS, BAND_SIZE, BAND_LONGER,      # bands of lines of the result
    IN_H, IN_W, OUT_W,
    TOP, LEFT, RIGHT,                           # lines above the image, pixels beside it
    ROWS, LINE_STEP,                            # taps of a column, lines from one to the next
    ROW_STEP,                                   # lines from one line of the result to the next
    T_IMAGE, T_PLANE, T_LINE, A_IMAGE, A_PLANE, A_LINE,
    BELOW, ABOVE, ZERO,
    SIZE,
) = range(slot.ROW, slot.ROW + 29)
# fmt: on
_ROOM = 384 << 10  # bytes of scratch for a band of a panel: a part of the second cache


@dataclass(frozen=True)
class Pair:
    """Beside the operands of the first convolution: the second, its weights and its bias.

    y = ending(conv(between, kernel) + kernel_bias + r), between = first_ending(conv(x, w) + b). The
    first is 1x1 without pads, the second has a group for each channel.
    """

    first: ConvGeometry
    second: ConvGeometry
    kernel: Array
    kernel_bias: Array | None
    first_ending: Epilogue
    ending: Epilogue


def convolution_pair(pair: Pair, operands: Operands, parts: int) -> list[Launch] | None:
    """The launches of a pair of two axes, and the halo of y; None where no kernel does it.

    The residual of the operands is added to the second convolution. `parts` is the most threads.
    """
    x, y, r = operands.x, operands.y, operands.residual
    g = pair.second
    between = _between(g, y.storage.images)
    layer = Layer(pair.first, x.storage, between, None, pair.first_ending)
    written = [y.storage, *([r.storage] if r is not None else [])]
    in_order = all(v.block == lanes() and v.order is None for v in written)
    if not layer.is_possible() or not in_order or x.storage.block != lanes():
        return None
    panels = layer.panels
    bands = _bands(g, max(panels.vectors, panels.last) * between.line, panels.count, parts)
    height = (bands.size - 1) * g.strides[0] + (g.kernel[0] - 1) * g.dilations[0] + 1
    # of the scratch only a band is there: its lines are those of a plane
    plane = height * between.line
    held = replace(between, plane=plane)
    layer = replace(layer, y=held)
    units = Pieces(pair.first.out[0], pair.first.out[0])
    tiling = Tiling(units, pair.first.out[1], False, units.count, panels, layer.depth)
    row = convolve_row(layer, tiling, operands, 1)
    each = max(panels.vectors, panels.last) * plane
    row.numbers.update(_numbers(pair, held, y.storage, r.storage if r is not None else y.storage))
    row.numbers.update({BANDS: bands.count, BAND_SIZE: bands.size, BAND_LONGER: bands.longer})
    row.numbers[SCRATCH_EACH] = each
    for place in (slot.Y, slot.RESIDUAL):
        row.sources.pop(place, None)
        row.offsets.pop(place, None)
    row.sources.update(_sources(pair, operands, held))
    row.offsets[TARGET] = y.storage.origin
    if r is not None:
        row.offsets[ADDED] = r.storage.origin
    width = tile_width(y.storage.width, g.kernel[1])
    kernel = _kernel(g.kernel[0], g.kernel[1], g.strides[1], g.dilations[1], width)
    scratch = (SCRATCH, each * F32.itemsize * parts)
    launch = row.launch("convolve_pair", kernel, pair.first_ending.activation, SIZE, scratch)
    rest = activate(y, y, pair.ending) if pair.ending.activation is not None else []
    return [*clear_halo(y), launch, *rest]


def _between(g: ConvGeometry, images: int) -> Storage:
    """The image between the convolutions as lines of the scratch: beside it the padding."""
    (height, width), block = g.image, lanes()
    left = g.pads[1]
    reach = (g.out[1] - 1) * g.strides[1] + (g.kernel[1] - 1) * g.dilations[1] + 1
    right = max(reach - left - width, 0)
    line = (left + width + right) * block
    halo = (0, left, 0, right)
    return Storage(images, g.in_channels, height, width, block, halo, 0, 0, line, left * block)


def _bands(g: ConvGeometry, line: int, panels: int, parts: int) -> Pieces:
    """Bands of lines of the result whose input fits the scratch; enough of them for all parts."""
    overlap = (g.kernel[0] - 1) * g.dilations[0] + 1 - g.strides[0]
    most = max((_ROOM // (line * F32.itemsize) - overlap) // g.strides[0], 1)
    wanted = -(-4 * parts // panels) if parts > 1 else 1
    height = g.out[0]
    return Pieces(height, min(max(-(-height // most), wanted), height))


def _numbers(pair: Pair, between: Storage, y: Storage, added: Storage) -> dict[int, int | float]:
    g = pair.second
    return {
        IMAGES: y.images,
        IN_H: between.height,
        IN_W: between.width,
        OUT_W: y.width,
        TOP: g.pads[0],
        LEFT: between.halo[1],
        RIGHT: between.halo[3],
        ROWS: g.kernel[0],
        LINE_STEP: g.dilations[0],
        ROW_STEP: g.strides[0],
        T_IMAGE: y.image,
        T_PLANE: y.plane,
        T_LINE: y.line,
        A_IMAGE: added.image,
        A_PLANE: added.plane,
        A_LINE: added.line,
        BELOW: float(pair.ending.low),
        ABOVE: float(pair.ending.high),
        ZERO: 0.0,
    }


def _sources(pair: Pair, operands: Operands, between: Storage) -> dict[int, Source]:
    taps = pair.second.taps
    sources: dict[int, Source] = {
        TARGET: operands.y.source,
        KERNEL: by_slot(pair.kernel.reshape(-1, taps), between),
        KERNEL_BIAS: bias_by_slot(pair.kernel_bias, between),
    }
    if operands.residual is not None:
        sources[ADDED] = operands.residual.source
    return sources


@cache
def _clear_around(block: int) -> Callable[..., Any]:
    """The function `(step, scratch, lines)`: zeros around the image.

    Of the scratch, which begins with line lines[0], the lines before lines[1] that are not of the
    image are cleared, and what is beside the others.
    """

    @compiled_part
    def clear(y: Any, count: Any, zero: Any) -> None:
        fill = spread(zero, block)
        for i in range(0, count, block):
            store(at(y, i), fill)

    def clear_around(step: Any, scratch: Any, lines: Any) -> None:
        zero = number(double_bits(step[ZERO]), scratch)
        line = step[slot.Y_LINE]
        for n in range(lines[0], lines[1]):
            start = at(scratch, (n - lines[0]) * line)
            if n < 0 or n >= step[IN_H]:
                clear(start, line, zero)
            else:
                clear(start, step[LEFT] * block, zero)
                beside = (step[LEFT] + step[IN_W]) * block
                clear(at(start, beside), step[RIGHT] * block, zero)

    return compiled_part(clear_around)


@compiled_part
def _first(step: Any, image: Any, panel: Any, lines: Any, scratch: Any) -> None:
    """The first convolution: lines lines[0] .. lines[1] of a panel, those outside left out."""
    before = step[LEFT] * lanes_of(scratch) - lines[0] * step[slot.Y_LINE]
    inside = (max(lines[0], 0), min(lines[1], step[IN_H]))
    x = at(pointer(step[slot.X], scratch), image * step[slot.X_IMAGE])
    y = at(scratch, before - panel * step[slot.VECTORS] * step[slot.Y_PLANE])
    convolve_panel(step, 0, (panel, 0), inside, (x, 0), y, pointer(0, scratch))


@cache
def _second(height: int, width: int, stride: int, dilation: int, pixels: int) -> Callable[..., Any]:
    """The function `(step, channel, lines, scratch, y, added)`: the second convolution.

    It makes lines[0] .. lines[1] of the block of y that begins with a channel.
    """
    block = lanes()

    def second(step: Any, channel: Any, lines: Any, scratch: Any, y: Any, added: Any) -> None:
        low, high = number(double_bits(step[BELOW]), y), number(double_bits(step[ABOVE]), y)
        weights = at(pointer(step[KERNEL], y), channel * (height * width))
        bias = at(pointer(step[KERNEL_BIAS], y), channel)
        across = step[LINE_STEP] * step[slot.Y_LINE]
        for line in range(lines[0], lines[1]):
            source = at(scratch, (line - lines[0]) * step[ROW_STEP] * step[slot.Y_LINE])
            target = at(y, line * step[T_LINE])
            for i in range(0, step[OUT_W], pixels):
                # the last tile begins earlier: it writes some pixels a second time
                q = min(i, step[OUT_W] - pixels)
                other = added
                if step[ADDED] != 0:
                    other = at(added, line * step[A_LINE] + q * block)
                multiply_channels(
                    height, width, stride, dilation, pixels, at(target, q * block),
                    at(source, q * (stride * block)), across, weights, bias, other, low, high,
                )  # fmt: skip

    return compiled_part(second)


@cache
def _kernel(height: int, width: int, stride: int, dilation: int, pixels: int) -> Callable[..., Any]:
    """Kernel: band by band, the blocks of a panel are made in the scratch, then convolved."""
    second, clear_around = _second(height, width, stride, dilation, pixels), _clear_around(lanes())

    def convolve_pair(step: Any, like: Any, part: Any, parts: Any) -> None:
        panels, bands = step[slot.PANELS], step[BANDS]
        scratch = at(pointer(step[SCRATCH], like), part * step[SCRATCH_EACH])
        item, end = share(step[IMAGES] * bands * panels, part, parts)
        for i in range(item, end):
            rest = i // panels
            panel, image = i - rest * panels, rest // bands
            band = rest - image * bands
            first = band * (step[BAND_SIZE] - 1) + min(band, step[BAND_LONGER])
            last = first + step[BAND_SIZE] - int(band >= step[BAND_LONGER])
            top = first * step[ROW_STEP] - step[TOP]
            reach = (last - 1 - first) * step[ROW_STEP] + (step[ROWS] - 1) * step[LINE_STEP]
            lines, plane = (top, top + reach + 1), step[slot.Y_PLANE]
            vectors = step[slot.LAST] if panel == panels - 1 else step[slot.VECTORS]
            for b in range(vectors):
                clear_around(step, at(scratch, b * plane), lines)
            _first(step, image, panel, lines, scratch)
            for b in range(vectors):
                block = panel * step[slot.VECTORS] + b
                y = pointer(step[TARGET], like)
                added = pointer(step[ADDED], like)
                if step[ADDED] != 0:
                    added = at(added, image * step[A_IMAGE] + block * step[A_PLANE])
                second(
                    step, block * lanes_of(like), (first, last), at(scratch, b * plane),
                    at(y, image * step[T_IMAGE] + block * step[T_PLANE]), added,
                )  # fmt: skip

    name = f"convolve_pair_{height}_{width}_{stride}_{dilation}_{pixels}"
    convolve_pair.__qualname__ = name
    return convolve_pair
