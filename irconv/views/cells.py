"""Cells of a picture: the squares of an image, a filter or a matrix, and what they stand for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

import numpy as np

from irconv.views import names, svg
from irconv.views.blocks import Block, block, headed, wrapped
from irconv.views.colours import ink, weight_colours
from irconv.views.layer import ConvLayer
from irconv.views.svg import Element

TAPS = 400  # of a kernel that is drawn whole

Colours: TypeAlias = "Mapping[int, str]"


def colours_of(layer: ConvLayer) -> Colours:
    """The colour of each free weight that the part may show."""
    return weight_colours(layer.shown_weights, layer.per_filter)


def letter_size(cell: float, longest: float) -> int:
    """The size of letters with which `longest` of them fit into a cell; 0 where none is legible."""
    size = int(min(0.42 * cell, 0.86 * cell / (0.6 * max(longest, 1))))
    return min(size, 16) if size >= 7 else 0


def name_letters(found: list[tuple[str, str]], cell: float) -> int:
    """The size of letters in which all these names fit into cells of this width."""
    return letter_size(cell, max(len(n[0]) + 0.7 * len(n[1]) for n in found))


def weight_letters(layer: ConvLayer, cell: float, values: bool) -> int:
    """The size of letters in which all weights of the part fit into cells of this width."""
    if not layer.shown_weights:
        return 0
    if not values:
        return name_letters([names.weight_name(layer, w) for w in layer.shown_weights], cell)
    flat = layer.flat_weights
    longest = max(len(names.short(float(flat[w]))) for w in layer.shown_weights)
    return letter_size(cell, longest)


def weight_text(
    layer: ConvLayer, weight: int, x: float, y: float, size: int, fill: str, values: bool
) -> Element:
    """A weight's name or value, centred at x, y on a cell filled with its colour."""
    base = y + 0.35 * size
    class_ = f"{ink(fill)} middle"
    if not values:
        return svg.name_text(x, base, names.weight_name(layer, weight), size, class_)
    shown = names.short(float(layer.flat_weights[weight]))
    return svg.text(x, base, shown, f"number s{size} {class_}")


def weight_marks(layer: ConvLayer, weight: int) -> dict[str, object]:
    """The attributes by which a page and a test know a weight: its index and its exact value."""
    return {"data_w": weight, "data_v": names.exact(layer.flat_weights[weight])}


def kernel_block(
    layer: ConvLayer, kernel: tuple[int, int, int], cell: float, colours: Colours, values: bool
) -> Block:
    """One kernel (output channel, input channel, number) as a grid, with its channels named."""
    out, in_, number = kernel
    shape = layer.geometry.kernel
    rows, columns = grid_size(shape)
    cells = _kernel_cells(layer, number * layer.geometry.taps, cell, colours, values)
    grid = block(cells, columns * cell, rows * cell)
    parts = []
    if layer.out_shape[0] > 1:
        parts.append(f"filter {out}" if not layer.transposed else f"map {out}")
    if layer.in_shape[0] > 1:
        parts.append(f"channel {in_}")
    return headed(", ".join(parts), grid, "small muted") if parts else grid


def _kernel_cells(
    layer: ConvLayer, first: int, cell: float, colours: Colours, values: bool
) -> Iterator[Element]:
    size = weight_letters(layer, cell, values)
    for tap in range(layer.geometry.taps):
        row, column = grid_place(tap, layer.geometry.kernel)
        weight, left, top = first + tap, column * cell, row * cell
        fill = colours[weight]
        marks = weight_marks(layer, weight)
        yield svg.rect(left, top, cell, cell, "cell", fill=fill, **marks)
        if size:
            yield weight_text(layer, weight, left + cell / 2, top + cell / 2, size, fill, values)


def legend(layer: ConvLayer, colours: Colours, values: bool, width: float = 720) -> Block:
    """The free weights of the part, kernel by kernel, each in its colour."""
    kernels = [tuple(k) for k in layer.channel_pairs().tolist()]
    largest = 48.0 if values else 40.0
    small = layer.geometry.taps <= 9 and len(kernels) == 1
    cell = largest if small else max(12.0, min(largest, 170 / max(layer.geometry.kernel)))
    if layer.geometry.taps > TAPS:
        words = f"filters of {names.sizes(layer.geometry.kernel)} taps: too large to be drawn here"
        return block([svg.text(0, 13, words, "muted")], svg.text_width(words), 18)
    grids = [kernel_block(layer, k, cell, colours, values) for k in kernels]
    if not kernels:
        words = "no filter reads these channels"
        return block([svg.text(0, 13, words, "muted")], svg.text_width(words), 18)
    heading = "filter w" if len(kernels) == 1 else "filters w"
    return headed(heading, wrapped(grids, width))


def image_block(layer: ConvLayer, channel: int, cell: float) -> Block:
    """One channel of the part of the image that is drawn, its pixels with their names."""
    spatial = tuple(map(len, layer.inputs[1:]))
    rows, columns = grid_size(spatial)
    step = int(np.prod(spatial))
    place = layer.inputs[0].index(channel)
    indices = layer.input_indices[place * step : (place + 1) * step].tolist()
    size = name_letters([names.input_name(layer, i) for i in indices], cell)
    grid = block(_pixels(layer, indices, spatial, cell, size), columns * cell, rows * cell)
    if layer.in_shape[0] == 1:
        return grid
    return headed(f"channel {channel}", grid, "small muted")


def _pixels(
    layer: ConvLayer, indices: list[int], shape: tuple[int, ...], cell: float, size: int
) -> Iterator[Element]:
    for n, index in enumerate(indices):
        row, column = grid_place(n, shape)
        left, top = column * cell, row * cell
        yield svg.rect(left, top, cell, cell, "cell pixel", data_i=index)
        if size:
            name = names.input_name(layer, index)
            yield svg.name_text(left + cell / 2, top + cell / 2 + 0.35 * size, name, size, "middle")


def grid_place(index: int, shape: tuple[int, ...]) -> tuple[float, int]:
    """(row, column) of a flat index where 1-D is a row, and planes stand below one another half a
    cell apart.
    """
    place = [int(i) for i in np.unravel_index(index, shape)]
    if len(place) == 1:
        return 0, place[0]
    above = place[0] * (shape[1] + 0.5) if len(place) == 3 else 0.0
    return above + place[-2], place[-1]


def grid_size(shape: tuple[int, ...]) -> tuple[float, int]:
    """(rows, columns) of the grid of `grid_place`."""
    row, column = grid_place(int(np.prod(shape)) - 1, shape)
    return row + 1, column + 1
