"""Draws a layer as two columns of neurons with edges between them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

from irconv.views import cells, names, svg
from irconv.views.blocks import Block, block
from irconv.views.cells import Colours
from irconv.views.colours import palette
from irconv.views.layer import ConvLayer
from irconv.views.svg import Element

BETWEEN = 280.0
# (neurons in the longer column, room for each)
_PITCHES = ((12, 40.0), (18, 31.0), (30, 25.0), (1 << 31, 13.5))


@dataclass(frozen=True)
class _Places:
    """Where the neurons stand: their centres, and how large they are."""

    inputs: dict[int, tuple[float, float]]
    outputs: dict[int, tuple[float, float]]
    bias: tuple[float, float]
    radius: float
    named_inside: bool
    width: float
    height: float

    @classmethod
    def of(cls, layer: ConvLayer) -> _Places:
        rows = max(layer.columns, layer.rows)
        pitch = next(p for most, p in _PITCHES if rows <= most)
        radius = 0.41 * pitch
        widest = max(
            *(svg.name_width(names.input_name(layer, i), 12) for i in layer.input_indices.tolist()),
            *(
                svg.name_width(names.output_name(layer, o), 12)
                for o in layer.output_indices.tolist()
            ),
        )
        inside = widest < 1.9 * radius
        margin = radius + (1 if inside else widest + 8)
        height = rows * pitch
        return cls(
            inputs=_column(layer.input_indices.tolist(), margin, height, pitch),
            outputs=_column(layer.output_indices.tolist(), margin + BETWEEN, height, pitch),
            bias=(margin, height + radius + 10),
            radius=radius,
            named_inside=inside,
            width=BETWEEN + 2 * margin,
            height=height,
        )


def _column(
    indices: list[int], x: float, height: float, pitch: float
) -> dict[int, tuple[float, float]]:
    step = min(height / len(indices), 2.2 * pitch)
    first = (height - step * (len(indices) - 1)) / 2
    return {index: (x, first + n * step) for n, index in enumerate(indices)}


def draw(layer: ConvLayer, edges: Sequence[Element], bias: bool = True) -> Block:
    """The inputs at the left, the outputs at the right, and the edges between them."""
    places = _Places.of(layer)
    with_bias = bias and layer.bias is not None
    parts = [
        *(_bias(layer, places) if with_bias else ()),
        *edges,
        *_neurons(layer, places),
    ]
    return block(parts, places.width, places.height + (2 * places.radius + 14 if with_bias else 0))


def _neurons(layer: ConvLayer, places: _Places) -> Iterator[Element]:
    for index, (x, y) in places.inputs.items():
        yield svg.element("circle", cx=x, cy=y, r=places.radius, class_="neuron", data_i=index)
        yield _name(places, names.input_name(layer, index), x, y, -1, data_i=index)
    for index, (x, y) in places.outputs.items():
        yield svg.element("circle", cx=x, cy=y, r=places.radius, class_="neuron", data_o=index)
        yield _name(places, names.output_name(layer, index), x, y, 1, data_o=index)


def _name(
    places: _Places, name: tuple[str, str], x: float, y: float, side: int, **marks: object
) -> Element:
    """The name of a neuron: in it, or beside it where it is too long."""
    if places.named_inside:
        size = 14 if svg.name_width(name, 14) < 1.5 * places.radius else 12
        return svg.name_text(x, y + 0.33 * size, name, size, "middle", **marks)
    class_ = "end muted" if side < 0 else "muted"
    size = 12 if places.radius > 8 else 9
    return svg.name_text(x + side * (places.radius + 5), y + 3, name, size, class_, **marks)


def shared(layer: ConvLayer, colours: Colours) -> list[Element]:
    """An edge for each place of a weight, in the colour of the weight."""
    return _edges(layer, [colours[w] for w in layer.entries[2].tolist()])


def separate(layer: ConvLayer) -> list[Element]:
    """The same edges, each in a colour of its own; `data-w` says which the convolution ties."""
    return _edges(layer, palette(len(layer.entries[2])))


def _edges(layer: ConvLayer, colours: Sequence[str]) -> list[Element]:
    places = _Places.of(layer)
    found, below = [], []
    for output, index, weight, colour in zip(
        *(e.tolist() for e in layer.entries), colours, strict=True
    ):
        ends = _ends(places, index, output)
        # a light colour on light paper is held by a darker rim
        below.append(svg.line(*ends, "rim"))
        marks = {"data_o": output, "data_i": index, **cells.weight_marks(layer, weight)}
        found.append(svg.line(*ends, "edge", stroke=colour, **marks))
    return below + found


def zero_edges(layer: ConvLayer) -> list[Element]:
    """A grey edge for each fixed zero."""
    places = _Places.of(layer)
    held = set(zip(*(e.tolist() for e in layer.entries[:2]), strict=True))
    return [
        svg.line(*_ends(places, i, o), "zero-edge", data_o=o, data_i=i)
        for o in places.outputs
        for i in places.inputs
        if (o, i) not in held
    ]


def _ends(places: _Places, index: int, output: int) -> tuple[float, float, float, float]:
    (x, y), (x2, y2) = places.inputs[index], places.outputs[output]
    return x + places.radius, y, x2 - places.radius, y2


def _bias(layer: ConvLayer, places: _Places) -> Iterator[Element]:
    """A neuron that is always 1, and dashed edges that carry the bias of each channel."""
    assert layer.bias is not None
    x, y = places.bias
    for output, (x2, y2) in places.outputs.items():
        channel = output // prod(layer.out_shape[1:])
        marks = {"data_b": channel, "data_v": names.exact(layer.bias[channel]), "data_o": output}
        yield svg.line(x + places.radius, y, x2 - places.radius, y2, "bias-edge", **marks)
    yield svg.element("circle", cx=x, cy=y, r=places.radius, class_="neuron faint")
    yield svg.text(x, y + 5, "1", "maths s14 middle")
    label = "b: the same for all outputs" if layer.out_shape[0] == 1 else "b: one for each map"
    yield svg.text(x + places.radius + 8, y + places.radius - 1, label, "small muted")
