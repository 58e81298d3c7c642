"""The volume view: the neurons of a depth column share a window, those of a map share a filter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod

import numpy as np

from irconv.errors import UsageError
from irconv.graph import Node
from irconv.views import names, svg
from irconv.views.blocks import Block, below, beside, block, headed, picture, wrapped
from irconv.views.cells import grid_place, weight_marks
from irconv.views.colours import FEW, diverging, ink
from irconv.views.fitting import at_most, fitted
from irconv.views.layer import ConvLayer
from irconv.views.maps import limit_of
from irconv.views.parts import Ranges
from irconv.views.picture import Picture
from irconv.views.svg import Element

MAPS = 4
SIDE = 5  # positions of a map that are drawn along each axis
CELL = 24.0
DEPTH = 27.0  # from one card to the next: no neuron of a column hides another


def volume(node: Node | ConvLayer) -> Picture:
    """The output as a volume of neurons: one depth column, one map, and the filters behind them.

    The maps that are drawn stand one behind the other; the marked column holds the neurons that
    look at the marked window, each with the filter at its side. UsageError for a 3-D layer, and
    for what is not a convolution with known weights.
    """
    whole = ConvLayer.of(node)
    if whole.rank > 2:
        raise UsageError(
            "a volume is drawn of maps in a plane",
            where=f"%{whole.title}",
            expected="a 1-D or 2-D layer",
            got=f"{whole.rank}-D",
        )
    layer = fitted(_column(whole), _fits)
    drawing = below(
        [beside([_cards(layer, "input"), _cards(layer, "output")], 56), _filters(layer)], 30
    )
    data = {
        "maps": layer.out_shape[0],
        "neurons": prod(layer.out_shape),
        "neurons_of_a_map": prod(layer.out_shape[1:]),
        "weights_of_a_filter": layer.geometry.free_weights // layer.out_shape[0],
    }
    return picture(layer, drawing, f"{layer.title} as a volume", _caption(data), data)


def _caption(data: dict[str, int]) -> str:
    return (
        f"{names.count(data['neurons'], 'neuron')} in {names.count(data['maps'], 'map')}. "
        "The neurons of a depth column look at one window, each with another filter; the "
        f"{names.count(data['neurons_of_a_map'], 'neuron')} of a map share the "
        f"{names.count(data['weights_of_a_filter'], 'weight')} of one filter."
    )


def _fits(layer: ConvLayer) -> bool:
    return len(layer.inputs[0]) <= MAPS and at_most(MAPS, 484, 500)(layer)


def _column(layer: ConvLayer) -> ConvLayer:
    """All maps at one position: the first (of the part) whose window is whole, if there is one."""
    places = []
    for axis, present in enumerate(layer.outputs[1:]):
        degrees = layer.axis_degrees(axis)[present.start : present.stop]
        places.append(present[int(np.argmax(degrees))])
    return layer.restrict(outputs=places)


def _cards(layer: ConvLayer, side: str) -> Block:
    """One volume: its channels as cards, the first in front, what the column is about marked."""
    shape, marked = (
        (layer.in_shape, layer.inputs) if side == "input" else (layer.out_shape, layer.outputs)
    )
    channels = list(marked[0])
    spans = _spans(shape, marked)
    sizes = [len(s) for s in spans]
    rows, columns = (1, sizes[0]) if len(sizes) == 1 else (sizes[0], sizes[1])
    cell = min(CELL, 150 / max(rows, columns))
    depth = min(DEPTH, 1.1 * cell)
    shift = depth * (len(channels) - 1)
    offsets = [(n * depth, shift - n * depth) for n in range(len(channels))]
    parts: list[Element] = []
    for n, channel in reversed(list(enumerate(channels))):
        x, y = offsets[n]
        card = _card(layer, side, channel, n, spans, cell)
        parts.append(svg.group(card, transform=f"translate({x:g} {y:g})"))
    parts += _marks(layer, side, spans, cell, offsets)
    noun = "channel" if side == "input" else "map"
    heading = f"{side}: {names.count(shape[0], noun)}"
    note = f"drawn: {noun}s {channels[0]} to {channels[-1]}" if len(channels) > 1 else (
        f"drawn: {noun} {channels[0]}")  # fmt: skip
    words = ", ".join(
        f"{word} {s[0]} to {s[-1]} of {size}"
        for word, s, size in zip(_words(layer), spans, shape[1:], strict=True)
    )
    inner = block(parts, columns * cell + shift, rows * cell + shift)
    label = headed(f"{note}; {words}", inner, "small muted")
    return headed(heading, label)


def _words(layer: ConvLayer) -> tuple[str, ...]:
    return ("positions",) if layer.rank == 1 else ("rows", "columns")


def _spans(shape: Sequence[int], marked: Ranges) -> list[range]:
    """For each axis the positions drawn: those marked, and some beside them."""
    spans = []
    for size, mine in zip(shape[1:], marked[1:], strict=True):
        count = min(size, max(SIDE, len(mine) + 2))
        first = max(0, min(mine[0] - (count - len(mine)) // 2, size - count))
        spans.append(range(first, first + count))
    return spans


def _card(
    layer: ConvLayer, side: str, channel: int, n: int, spans: list[range], cell: float
) -> Iterator[Element]:
    """One channel: the window in it, or its neuron of the column and all others of its map."""
    sizes = tuple(map(len, spans))
    marked = layer.inputs if side == "input" else layer.outputs
    shape = layer.in_shape if side == "input" else layer.out_shape
    rows = 1 if len(sizes) == 1 else sizes[0]
    yield svg.rect(0, 0, sizes[-1] * cell, rows * cell, "paper")
    for index in range(prod(sizes)):
        row, column = grid_place(index, sizes)
        steps = np.unravel_index(index, sizes)
        at = tuple(span[s] for span, s in zip(spans, steps, strict=True))
        inside = all(p in r for p, r in zip(at, marked[1:], strict=True))
        flat = int(np.ravel_multi_index((channel, *at), shape))
        x, y = column * cell, row * cell
        if side == "input":
            class_ = "cell window" if inside else "cell pixel"
            yield svg.rect(x, y, cell, cell, class_, data_i=flat)
        else:
            fill = FEW[n % len(FEW)]
            marks = {"fill": fill, "fill_opacity": 0.25, "data_o": flat, "data_m": channel}
            yield svg.rect(x, y, cell, cell, "cell", **marks)


def _marks(
    layer: ConvLayer,
    side: str,
    spans: list[range],
    cell: float,
    offsets: list[tuple[float, float]],
) -> Iterator[Element]:
    """The window or the column on top of all cards, so that those in front do not hide it."""
    marked = layer.inputs if side == "input" else layer.outputs
    places = [(m[0] - s[0], len(m)) for m, s in zip(marked[1:], spans, strict=True)]
    (row, rows), (column, columns) = places if len(places) == 2 else [(0, 1), *places]
    width, height = columns * cell, rows * cell
    corners = [(x + column * cell, y + row * cell) for x, y in offsets]
    if side == "input":
        for x, y in reversed(corners):
            yield svg.rect(x, y, width, height, "accent-line", rx=2)
        return
    if len(corners) > 1:
        (x, y), (x2, y2) = corners[0], corners[-1]
        half = cell / 2
        yield svg.line(x + half, y + half, x2 + half, y2 + half, "mark")
    for n, (x, y) in reversed(list(enumerate(corners))):
        output = layer.output_indices.tolist()[n]
        fill = FEW[n % len(FEW)]
        yield svg.rect(x, y, cell, cell, "", fill=fill, data_o=output, rx=2)
        yield svg.rect(x, y, cell, cell, "mark", rx=2)


def _filters(layer: ConvLayer) -> Block:
    """The neurons of the column, each with its filter."""
    rows = [_neuron(layer, n, output) for n, output in enumerate(layer.output_indices.tolist())]
    note = block(
        [svg.text(0, 12, "orange: positive weights, blue: negative", "small muted")], 260, 14
    )
    heading = "the marked column: one window, another filter for each neuron"
    return headed(heading, below([note, wrapped(rows, 900, 28)], 14))


def _neuron(layer: ConvLayer, n: int, output: int) -> Block:
    """A neuron of the column: its name, and for each input channel its kernel on the window."""
    fill = FEW[n % len(FEW)]
    name = names.output_name(layer, output)
    width = max(40.0, svg.name_width(name, 14) + 16)
    chip = [
        svg.rect(0, 4, width, 26, "chip", rx=6, fill=fill, data_o=output),
        svg.name_text(width / 2, 22, name, 14, f"middle {ink(fill)}", data_o=output),
    ]
    kernels = [_kernel(layer, output, c) for c in layer.inputs[0]]
    drawn = [k for k in kernels if k is not None]
    return beside([block(chip, width, 34), *drawn], 18)


def _kernel(layer: ConvLayer, output: int, channel: int) -> Block | None:
    """The weights between one neuron and one input channel, where they lie on the window."""
    step = prod(layer.in_shape[1:])
    terms = [(i, w) for i, w in layer.terms(output) if i // step == channel]
    if not terms:
        return None
    limit = limit_of(layer.flat_weights[layer.shown_weights].astype(float))
    window = tuple(map(len, layer.inputs[1:]))
    rows, columns = (1, window[0]) if len(window) == 1 else (window[0], window[1])
    cell = max(5.0, min(26.0, 120 / max(rows, columns)))
    held = dict(terms)
    parts = []
    for n, index in enumerate(_channel_inputs(layer, channel)):
        row, column = grid_place(n, window)
        x, y = column * cell, row * cell
        if index not in held:
            parts.append(svg.rect(x, y, cell, cell, "cell zero", data_o=output, data_i=index))
            continue
        fill = diverging(float(layer.flat_weights[held[index]]), limit)
        marks = {"data_o": output, "data_i": index, **weight_marks(layer, held[index])}
        parts.append(svg.rect(x, y, cell, cell, "cell", fill=fill, **marks))
    grid = block(parts, columns * cell, rows * cell)
    if layer.in_shape[0] == 1:
        return grid
    return headed(f"channel {channel}", grid, "small muted")


def _channel_inputs(layer: ConvLayer, channel: int) -> list[int]:
    step = prod(map(len, layer.inputs[1:]))
    first = layer.inputs[0].index(channel) * step
    found: list[int] = layer.input_indices[first : first + step].tolist()
    return found
