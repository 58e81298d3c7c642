"""The matrix view: rows are outputs, columns inputs, zeros fixed, equal weights in one colour."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from math import prod
from typing import Literal

import numpy as np

from irconv.errors import UsageError
from irconv.graph import Node
from irconv.views import cells, names, svg
from irconv.views.blocks import Block, below, beside, block, headed, picture, wrapped
from irconv.views.cells import Colours
from irconv.views.fitting import at_most, either, fitted
from irconv.views.layer import ConvLayer
from irconv.views.picture import Picture
from irconv.views.svg import Element

FITS = either(at_most(144, 144, 1200), at_most(36, 80, 700))
WIDTH = 900.0
LETTERED = 600  # entries: more are too small to be read one by one


def matrix(
    node: Node | ConvLayer,
    *,
    labels: Sequence[str] = (),
    show: Literal["names", "values"] | None = None,
) -> Picture:
    """The layer as the matrix it is: y = Wx + b.

    `labels` name the free weights; `show` says what stands in the cells: their names (the default
    where labels are given) or their values. UsageError for what is not a convolution with known
    weights.
    """
    layer = fitted(ConvLayer.of(node, labels), FITS)
    if show not in {None, "names", "values"}:
        raise UsageError("show: no such thing", expected="names or values", got=repr(show))
    values = show == "values" or (show is None and not layer.labels)
    facts = matrix_facts(layer)
    title = f"{layer.title} as a matrix"
    return picture(layer, _drawing(layer, values, facts), title, _caption(layer, facts), facts)


def matrix_facts(layer: ConvLayer) -> dict[str, int | float]:
    """The two properties of the whole layer's matrix, in numbers, and those of the part drawn."""
    g = layer.geometry
    rows, columns = prod(layer.out_shape), prod(layer.in_shape)
    used = prod(int((g.axis_reads(a) >= 0).any(axis=0).sum()) for a in range(g.rank))
    weights = layer.entries[2]
    return {
        "rows": rows,
        "columns": columns,
        "places": g.nnz,
        "fixed_zeros": rows * columns - g.nnz,
        "free_weights": g.free_weights,
        "unused_weights": (g.taps - used) * (g.free_weights // g.taps),
        "density": g.nnz / (rows * columns),
        "part_rows": layer.rows,
        "part_columns": layer.columns,
        "part_places": len(weights),
        "part_weights": len(np.unique(weights)),
    }


def _caption(layer: ConvLayer, facts: Mapping[str, int | float]) -> str:
    f = {k: int(v) for k, v in facts.items()}
    text = (
        f"{names.count(f['rows'], 'row')} (outputs) by {names.count(f['columns'], 'column')} "
        f"(inputs). Fixed zeros: {names.count(f['fixed_zeros'])}. The other "
        f"{names.count(f['places'], 'place')} share "
        f"{names.count(f['free_weights'], 'free weight')} "
        f"(density {names.percent(facts['density'])})."
    )
    if f["unused_weights"]:
        text += f" Weights that meet only padding: {names.count(f['unused_weights'])}."
    if not layer.is_whole:
        text += (
            f" The part drawn has {names.count(f['part_rows'], 'row')}, "
            f"{names.count(f['part_columns'], 'column')} and "
            f"{names.count(f['part_places'], 'place')} that share "
            f"{names.count(f['part_weights'], 'weight')}."
        )
    return text


def _properties(facts: Mapping[str, int | float]) -> Block:
    """The two properties of the whole matrix, as a line below it."""
    zeros, places = int(facts["fixed_zeros"]), int(facts["places"])
    all_drawn = all(facts[f"part_{side}"] == facts[side] for side in ("rows", "columns"))
    where = "" if all_drawn else "in the whole layer: "
    text = (
        f"{where}{names.count(zeros, 'fixed zero')}; {names.count(places, 'place')} share "
        f"{names.count(int(facts['free_weights']), 'free weight')}"
    )
    return block([svg.text(0, 13, text, "muted")], 6.6 * len(text), 16)


def _drawing(layer: ConvLayer, values: bool, facts: Mapping[str, int | float]) -> Block:
    colours = cells.colours_of(layer)
    body = below([_matrix(layer, colours, values), _properties(facts)], 12)
    filters = cells.legend(layer, colours, values, max(body.width, 400))
    if layer.columns > 16 or len(layer.channel_pairs()) > 1:
        return below([filters, body])
    images = wrapped([cells.image_block(layer, c, 40) for c in layer.inputs[0]], 400)
    image = headed("image x", images)
    left = [below([image, filters])] if image.width > 200 else [image, filters]
    return beside([*left, body], middle=body.height < 500)


def _matrix(layer: ConvLayer, colours: Colours, values: bool) -> Block:
    """The entries with the outputs' names at the left, the inputs' above, the bias at the right."""
    most = 48 if values else 40
    cell = float(max(6, min(most, (WIDTH - 130) // layer.columns, 760 // layer.rows)))
    left, above = _heads(layer, cell)
    width, height = layer.columns * cell, layer.rows * cell
    right = 2 * cell if layer.bias is not None else 0
    parts = [
        *_row_names(layer, cell, left),
        *_column_names(layer, cell, above),
    ]
    inside = [
        *_entries(layer, colours, cell, values),
        *_separators(layer, cell),
        *(_bias(layer, cell, width, values) if right else ()),
    ]
    parts.append(svg.group(inside, transform=f"translate({left:g} {above:g})"))
    heading = "matrix W: y = W x" + (" + b" if right else "")
    return headed(heading, block(parts, left + width + right, above + height))


def _heads(layer: ConvLayer, cell: float) -> tuple[float, float]:
    """Room for the names at the left and above."""
    widest = max(len(names.output_name(layer, int(o))[1]) for o in layer.output_indices)
    longest = max(len(names.input_name(layer, int(i))[1]) for i in layer.input_indices)
    size = _name_size(cell)
    if not size:
        return 4, 4
    return 14 + size * 0.45 * (widest + 1), 24 if cell >= 30 else 12 + size * 0.45 * (longest + 1)


def _name_size(cell: float) -> int:
    """The size of the letters of a row's or column's name; 0 where there is no room."""
    return 15 if cell >= 30 else 12 if cell >= 16 else 9 if cell >= 9 else 0


def _row_names(layer: ConvLayer, cell: float, left: float) -> Iterator[Element]:
    size = _name_size(cell)
    above = _heads(layer, cell)[1]
    for row, output in enumerate(layer.output_indices.tolist() if size else ()):
        y = above + (row + 0.5) * cell + 0.35 * size
        name = names.output_name(layer, output)
        yield svg.name_text(left - 8, y, name, size, "end muted", data_o=output)


def _column_names(layer: ConvLayer, cell: float, above: float) -> Iterator[Element]:
    size = _name_size(cell)
    left = _heads(layer, cell)[0]
    for column, index in enumerate(layer.input_indices.tolist() if size else ()):
        x = left + (column + 0.5) * cell
        name = names.input_name(layer, index)
        if cell >= 30:
            yield svg.name_text(x, above - 8, name, size, "middle muted", data_i=index)
            continue
        turned = f"translate({x + 0.3 * size:g} {above - 6:g}) rotate(-90)"
        yield svg.name_text(0, 0, name, size, "muted", data_i=index, transform=turned)


def _entries(layer: ConvLayer, colours: Colours, cell: float, values: bool) -> Iterator[Element]:
    rows = {o: n for n, o in enumerate(layer.output_indices.tolist())}
    columns = {i: n for n, i in enumerate(layer.input_indices.tolist())}
    placed = dict(zip(zip(*(e.tolist() for e in layer.entries[:2]), strict=True),
                      layer.entries[2].tolist(), strict=True))  # fmt: skip
    size = cells.weight_letters(layer, cell, values)
    if len(rows) * len(columns) <= LETTERED:
        yield from _zeros(rows, columns, placed.keys(), cell, size)
    else:
        yield svg.rect(0, 0, len(columns) * cell, len(rows) * cell, "zero")
    for (output, index), weight in placed.items():
        x, y, fill = columns[index] * cell, rows[output] * cell, colours[weight]
        place = {"data_o": output, "data_i": index}
        marks = cells.weight_marks(layer, weight)
        yield svg.rect(x, y, cell, cell, "cell", fill=fill, **place, **marks)
        if size:
            yield cells.weight_text(layer, weight, x + cell / 2, y + cell / 2, size, fill, values)


def _zeros(
    rows: Mapping[int, int],
    columns: Mapping[int, int],
    placed: Collection[tuple[int, int]],
    cell: float,
    size: int,
) -> Iterator[Element]:
    for output, row in rows.items():
        for index, column in columns.items():
            if (output, index) not in placed:
                x, y = column * cell, row * cell
                place = {"data_o": output, "data_i": index}
                yield svg.rect(x, y, cell, cell, "cell zero", **place)
                if size:
                    mid = cell / 2
                    class_ = f"number s{size} zero-ink middle"
                    yield svg.text(x + mid, y + mid + 0.35 * size, "0", class_)


def _separators(layer: ConvLayer, cell: float) -> Iterator[Element]:
    """Lines between channels, and fainter ones between the rows of an image."""
    height, width = layer.rows * cell, layer.columns * cell
    yield svg.rect(0, 0, width, height, "line")
    for n, class_ in _breaks(tuple(map(len, layer.inputs))):
        yield svg.line(n * cell, 0, n * cell, height, class_)
    for n, class_ in _breaks(tuple(map(len, layer.outputs))):
        yield svg.line(0, n * cell, width, n * cell, class_)


def _breaks(shape: tuple[int, ...]) -> Iterator[tuple[int, str]]:
    """(place, class of line) of each break between channels, and between rows of one channel."""
    channel = prod(shape[1:])
    yield from ((n * channel, "mark") for n in range(1, shape[0]))
    if len(shape) > 2 and shape[-1] > 1:
        inner = range(shape[-1], prod(shape), shape[-1])
        yield from ((n, "break") for n in inner if n % channel)


def _bias(layer: ConvLayer, cell: float, width: float, values: bool) -> Iterator[Element]:
    assert layer.bias is not None
    x = width + 0.75 * cell
    shown = [names.short(float(v)) for v in layer.bias]
    size = min(
        cells.letter_size(cell, max(map(len, shown))),
        cells.weight_letters(layer, cell, values) or 16,
    )
    if _name_size(cell):
        yield svg.name_text(x + cell / 2, -8, ("b", ""), _name_size(cell), "middle muted")
    for row, output in enumerate(layer.output_indices.tolist()):
        channel = output // prod(layer.out_shape[1:])
        marks = {"data_b": channel, "data_v": names.exact(layer.bias[channel]), "data_o": output}
        yield svg.rect(x, row * cell, cell, cell, "cell faint", **marks)
        if size:
            y = (row + 0.5) * cell + 0.35 * size
            yield svg.text(x + cell / 2, y, shown[channel], f"number s{size} middle")
