"""The receptive field: which pixels of the input one neuron is computed from, layer by layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from irconv.errors import UsageError, printable
from irconv.graph import Graph, Node, Value
from irconv.types import Array
from irconv.views import names, svg
from irconv.views.blocks import Block, beside, block, headed
from irconv.views.colours import palette
from irconv.views.maps import drawn
from irconv.views.moves import known_shape
from irconv.views.picture import Picture
from irconv.views.reach import elements_read
from irconv.views.reach_rules import Mask
from irconv.views.seen import Seen, seen_values
from irconv.views.sight import hull
from irconv.views.sight_table import (
    LayerSight,
    at_batch_one,
    image_input,
    receptive_fields,
    times,
)

__all__ = ["Field", "receptive_field", "receptive_fields"]

WIDTH = 340.0  # of the image in the picture
LINES = 14  # layers that are listed beside it
SEES, STEP = 276.0, 350.0  # right ends of the columns of that list
PIXELS = 1024  # an image with more has no cell of its own for each pixel


@dataclass(frozen=True)
class Field:
    """What one element of a node is computed from.

    `mask` [C, *spatial] says of each element of the input called `source` whether it is read, by
    the shape of the graph alone: a weight counts whatever its value. `box` is, for each axis, from
    the first to behind the last place read; None where nothing is.
    """

    node: str
    place: tuple[int, ...]
    source: str
    mask: Mask

    @property
    def pixels(self) -> Mask:
        """[*spatial]: read in any channel."""
        found: Mask = np.logical_or.reduce(self.mask, axis=0)
        return found

    @property
    def box(self) -> tuple[tuple[int, int], ...] | None:
        """(first, end) for each spatial axis."""
        places = np.argwhere(self.pixels)
        if not len(places):
            return None
        low, high = places.min(0), places.max(0) + 1
        return tuple(zip(low.tolist(), high.tolist(), strict=True))

    @classmethod
    def of(cls, node: Node, place: Sequence[int] | None = None, of: str | None = None) -> Field:
        """What the element at `place` [channel, *position] of `node`'s first result reads.

        `place` may leave out the channel: then all channels at the position. Without a place it is
        all channels in the middle. A batch counts as one image, its first.
        """
        graph, value = _static(node)
        source = image_input(graph, of)
        shape = known_shape(value)[1:]
        chosen = _place(shape, place)
        mask = np.zeros(known_shape(value), np.bool_)
        mask[(0, *(slice(None) if p is None else p for p in chosen))] = True
        read = elements_read(graph, value, mask).get(source)
        size = known_shape(source)
        found = np.zeros(size[1:], np.bool_) if read is None else read[0]
        return cls(node.name, tuple(-1 if p is None else p for p in chosen), source.name, found)


def _static(node: Node) -> tuple[Graph, Value]:
    """The node's graph with a batch of one, and the node's result there."""
    if node.graph is None:
        raise UsageError("the node was erased from its graph", where=f"%{printable(node.name)}")
    graph = at_batch_one(node.graph)
    return graph, graph.node(node.name).results[0]


def _place(shape: tuple[int, ...], place: Sequence[int] | None) -> tuple[int | None, ...]:
    """[channel or None, *position]; the middle where none is given."""
    if place is None:
        return (None, *(size // 2 for size in shape[1:]))
    given = tuple(place) if len(place) == len(shape) else (None, *place)
    fits = len(given) == len(shape) and all(
        p is None or 0 <= p < size for p, size in zip(given, shape, strict=True)
    )
    if not fits:
        raise UsageError(
            "no such place in the result",
            expected=f"[channel, *position] or [*position] within {list(shape)}",
            got=list(place),
        )
    return given


def receptive_field(
    node: Node, place: Sequence[int] | None = None, *, of: str | None = None
) -> Picture:
    """The pixels of the input called `of` that the neuron at `place` is computed from, and how that
    field grows from layer to layer.

    `place` is [channel, *position] or [*position] (all channels); the middle if not given.
    Every box (`data-box`: first row, first column, end row, end column) is a block of pixels that
    are read; together they are all of them. UsageError for an image of more than two axes.
    """
    field = Field.of(node, place, of)
    image = field.mask.shape[1:]
    if len(image) > 2:
        raise UsageError("a receptive field is drawn in one or two dimensions", got=list(image))
    graph, value = _static(node)
    table = receptive_fields(graph, field.source)
    rows = _path(graph, value, table.rows)
    boxes = _neurons_on_the_way(graph, value, field, rows)
    # of an ordered scale: the layers' order is seen in it
    colours = palette(max(len(rows), 8))
    left = _image(field, boxes, colours)
    right = _list(rows, colours)
    count, total = int(field.pixels.sum()), prod(image)
    title = f"What one neuron of {printable(node.name, 40)} sees"
    data = {"pixels": count, "total": total, "box": field.box, "place": field.place, "layers": rows}
    inner = beside([left, right], 32, middle=False)
    return drawn(inner, title, _caption(node, field, table[node.name]), data, _part(field, rows))


def _caption(node: Node, field: Field, row: LayerSight) -> str:
    image = field.mask.shape[1:]
    count, total = int(field.pixels.sum()), prod(image)
    where = ", ".join(str(p) for p in field.place[1:])
    of = f"{names.sizes(image)} pixels"
    neuron = f"One neuron of {printable(node.name, 40)}" + (f", at ({where})," if where else "")
    box = field.box
    if box is None:
        return f"{neuron} sees no pixel at all: it lies in the padding."
    seen = names.sizes([end - first for first, end in box])
    text = (
        f"{neuron} is computed from {names.count(count)} of the {of} "
        f"({names.percent(count / total)}), within a field of {seen}."
    )
    if count == total:
        text = f"{neuron} is computed from all {of}."
    if any(row.jump) and row.exact:
        step = times(row.jump, "\u00d7")
        away = names.sizes(row.size)
        text += f" Away from the border it is {away}, and the next neuron's lies {step} further on."
    return text


def _part(field: Field, rows: Sequence[LayerSight]) -> str:
    parts = []
    channels = field.mask.reshape(len(field.mask), -1)
    if field.pixels.any() and not (channels == channels[0]).all():
        used = np.flatnonzero(channels.any(1))
        parts.append(f"pixels that are read in any of {len(used)} of {len(channels)} channels")
    if len(rows) > LINES:
        parts.append(f"{LINES} of the {len(rows)} layers that widen the field are listed")
    return "; ".join(parts)


def _path(graph: Graph, value: Value, rows: Sequence[LayerSight]) -> list[LayerSight]:
    """The nodes that `value` is computed from and that see further than those before them."""
    needed = {v.name for v in _ancestors(value)}
    found: list[LayerSight] = []
    for row in rows:
        if row.node in needed and (not found or _grows(found[-1], row)):
            found.append(row)
    if not found or found[-1].node != value.name:
        found += [row for row in rows if row.node == value.name and not _same(found, row)]
    return found


def _same(found: Sequence[LayerSight], row: LayerSight) -> bool:
    return bool(found) and (found[-1].size, found[-1].jump) == (row.size, row.jump)


def _grows(before: LayerSight, row: LayerSight) -> bool:
    return any(b > a for a, b in zip(before.size, row.size, strict=True))


def _ancestors(value: Value) -> set[Value]:
    found, left = {value}, [value]
    while left:
        producer = left.pop().producer
        operands = producer.operands if producer is not None else ()
        fresh = [v for v in operands if v is not None and v not in found]
        found.update(fresh)
        left += fresh
    return found


def _neurons_on_the_way(
    graph: Graph, value: Value, field: Field, rows: Sequence[LayerSight]
) -> dict[str, tuple[tuple[int, int], ...]]:
    """For each listed layer, what the middle one of its neurons that are read sees: (first, end) of
    each axis.
    """
    mask = np.zeros(known_shape(value), np.bool_)
    mask[(0, *(slice(None) if p < 0 else p for p in field.place))] = True
    read = elements_read(graph, value, mask)
    seen = seen_values(graph, graph.value(field.source))
    found = {}
    for row in rows:
        result = graph.value(row.node)
        place = _middle(read.get(result), seen[result])
        box = [hull([axis.places[p]]) for axis, p in zip(seen[result].axes, place, strict=True)]
        if all(interval is not None for interval in box):
            found[row.node] = tuple((i[0], i[1] + 1) for i in box if i is not None)
    return found


def _middle(read: Mask | None, seen: Seen) -> tuple[int, ...]:
    if read is None or seen.mixed:
        return (0,) * len(seen.axes)
    places = np.argwhere(np.logical_or.reduce(read, axis=(0, 1)))
    centre = (places.min(0) + places.max(0)) / 2
    nearest = np.abs(places - centre).sum(1).argmin()
    return tuple(int(p) for p in places[nearest])


# -- drawing -------------------------------------------------------------------------------------


def runs(pixels: Mask) -> list[tuple[int, int, int, int]]:
    """The pixels [rows, columns] as few boxes: (first row, first column, end row, end column)."""
    open_runs: dict[tuple[int, int], int] = {}
    found = []
    for row in range(len(pixels) + 1):
        here = _row_runs(pixels[row]) if row < len(pixels) else []
        closed = [run for run in open_runs if run not in here]
        found += [(open_runs.pop(run), run[0], row, run[1]) for run in closed]
        for run in here:
            open_runs.setdefault(run, row)
    return sorted(found)


def _row_runs(row: Array) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], row, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def _image(
    field: Field, boxes: Mapping[str, tuple[tuple[int, int], ...]], colours: Sequence[str]
) -> Block:
    """The image, the pixels that are read, and around them what the layers on the way see."""
    pixels = np.atleast_2d(field.pixels)
    rows, columns = pixels.shape
    cell = WIDTH / max(rows, columns) if rows > 1 else min(40.0, 2 * WIDTH / columns)
    elements = [svg.rect(0, 0, columns * cell, rows * cell, "panel")]
    if pixels.size <= PIXELS:
        elements += _pixel_cells(pixels, cell)
    else:
        elements.append(svg.rect(0, 0, columns * cell, rows * cell, "line"))
    elements += [
        svg.rect(
            left * cell,
            top * cell,
            (right - left) * cell,
            (bottom - top) * cell,
            "seen",
            fill="#56b4e9",
            fill_opacity="0.45",
            data_box=f"{top} {left} {bottom} {right}",
        )
        for top, left, bottom, right in runs(pixels)
    ]
    elements += _outlines(boxes, colours, cell)
    grid = block(elements, columns * cell, rows * cell)
    heading = f"input {printable(field.source, 24)}, {names.sizes(field.mask.shape)}"
    return headed(heading, grid)


def _pixel_cells(pixels: Mask, cell: float) -> Iterator[svg.Element]:
    for index in range(pixels.size):
        row, column = divmod(index, pixels.shape[1])
        yield svg.rect(column * cell, row * cell, cell, cell, "cell pixel", data_i=index)


def _outlines(
    boxes: Mapping[str, tuple[tuple[int, int], ...]], colours: Sequence[str], cell: float
) -> Iterator[svg.Element]:
    for (node, box), colour in zip(boxes.items(), colours, strict=False):
        (top, bottom), (left, right) = box if len(box) == 2 else ((0, 1), box[0])
        yield svg.rect(
            left * cell,
            top * cell,
            (right - left) * cell,
            (bottom - top) * cell,
            fill="none",
            stroke=colour,
            stroke_width=2.5,
            data_layer=printable(node, 40),
        )


def _list(rows: Sequence[LayerSight], colours: Sequence[str]) -> Block:
    """The layers with the colours of their outlines: what each sees, and how far the next lies."""
    shown = _shortened(rows)
    heads = (("layer", 22, ""), ("sees", SEES, " end"), ("step", STEP, " end"))
    elements = [svg.text(x, 12, word, f"small muted{end}") for word, x, end in heads]
    for line, index in enumerate(shown):
        y = 34 + 22 * line
        if index is None:
            elements.append(svg.text(22, y, "...", "muted"))
            continue
        row = rows[index]
        size = names.sizes(row.size)
        step = times(row.jump, "\u00d7") if any(row.jump) else "-"
        elements += [
            svg.rect(0, y - 11, 13, 13, fill="none", stroke=colours[index], stroke_width=2.5),
            svg.text(22, y, printable(row.node, 24), ""),
            svg.text(SEES, y, ("" if row.exact else "\u2264 ") + size, "number end"),
            svg.text(STEP, y, step, "number end"),
        ]
    return headed("how the field grows", block(elements, STEP, 22 + 22 * len(shown)))


def _shortened(rows: Sequence[LayerSight]) -> list[int | None]:
    """All lines, or the first and the last with None for what is left out between them."""
    if len(rows) <= LINES:
        return list(range(len(rows)))
    half = LINES // 2
    return [*range(half), None, *range(len(rows) - half, len(rows))]
