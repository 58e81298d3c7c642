"""The equation view: one line for each output, every product written out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod

from irconv.graph import Node
from irconv.views import cells, names, svg
from irconv.views.blocks import Block, block, picture
from irconv.views.fitting import at_most, fitted
from irconv.views.layer import ConvLayer
from irconv.views.picture import Picture
from irconv.views.svg import Element

FITS = at_most(25, 1 << 30, 150)
WIDTH = 940.0
LINE = 32.0
SIZE = 16


def equation(node: Node | ConvLayer, *, labels: Sequence[str] = ()) -> Picture:
    """One line for each output, every product written out, the same bias in each.

    `labels` name the free weights, whose values are shown otherwise. UsageError for what is not a
    convolution with known weights.
    """
    layer = fitted(ConvLayer.of(node, labels), FITS)
    lines = _Lines(layer)
    facts = {
        "outputs": prod(layer.out_shape),
        "products": layer.geometry.nnz,
        "part_outputs": layer.rows,
        "part_products": len(layer.entries[0]),
    }
    caption = (
        f"{names.count(facts['outputs'], 'output')}, {names.count(facts['products'], 'product')} "
        f"of a weight and an input, {_bias_words(layer)}."
    )
    if not layer.is_whole:
        caption += (
            f" Written out: {names.count(facts['part_products'], 'product')} of "
            f"{names.count(facts['part_outputs'], 'output')}."
        )
    title = f"{layer.title} as equations"
    return picture(layer, lines.block(), title, caption, facts)


def _bias_words(layer: ConvLayer) -> str:
    if layer.bias is None:
        return "no bias"
    if layer.out_shape[0] == 1:
        return "the same bias in each output"
    return f"one bias for each of {layer.out_shape[0]} maps"


class _Lines:
    """The equations, their terms in columns."""

    def __init__(self, layer: ConvLayer) -> None:
        self.layer = layer
        self.colours = cells.colours_of(layer)
        weights = layer.shown_weights
        self.chip = 10 + max((_term_width(layer, w) for w in weights), default=30.0)
        self.input = max(
            svg.name_width(names.input_name(layer, i), SIZE) for i in layer.input_indices.tolist()
        )
        self.plus = 22.0
        self.left = 26 + max(
            svg.name_width(names.output_name(layer, o), SIZE) for o in layer.output_indices.tolist()
        )
        self.pitch = self.chip + 4 + self.input + 6 + self.plus
        self.per_line = max(1, int((WIDTH - self.left) // self.pitch))

    def block(self) -> Block:
        parts: list[Element] = []
        y, width = 0.0, 0.0
        for output in self.layer.output_indices.tolist():
            drawn, terms = self._equation(output, y)
            parts += drawn
            y += LINE * self._lines(terms) + (6 if self._lines(terms) > 1 else 0)
            width = max(width, self.left + min(terms, self.per_line) * self.pitch)
        return block(parts, width, y)

    def _lines(self, terms: int) -> int:
        return -(-max(terms, 1) // self.per_line)

    def _equation(self, output: int, y: float) -> tuple[list[Element], int]:
        """(elements, number of terms) of one output."""
        layer = self.layer
        name = names.output_name(layer, output)
        parts = [
            svg.name_text(self.left - 24, y + 21, name, SIZE, "end", data_o=output),
            svg.text(self.left - 12, y + 21, "=", f"maths s{SIZE} middle"),
        ]
        terms = layer.terms(output)
        for n, (index, weight) in enumerate(terms):
            parts += self._product(n, y, output, index, weight)
        if layer.bias is not None:
            parts += self._bias(len(terms), y, output)
        if not terms and layer.bias is None:
            parts.append(svg.text(self.left + 6, y + 21, "0", f"maths s{SIZE}"))
        return parts, len(terms) + (layer.bias is not None)

    def _place(self, n: int, y: float) -> tuple[float, float]:
        line, column = divmod(n, self.per_line)
        return self.left + column * self.pitch, y + line * LINE

    def _product(self, n: int, y: float, output: int, index: int, weight: int) -> Iterator[Element]:
        layer, fill = self.layer, self.colours[weight]
        x, y = self._place(n, y)
        place = {"data_o": output, "data_i": index}
        if n:
            yield svg.text(x - self.plus / 2 - 2, y + 21, "+", f"maths s{SIZE} muted middle")
        marks = cells.weight_marks(layer, weight)
        yield svg.rect(x, y + 4, self.chip, 24, "chip", rx=5, fill=fill, **place, **marks)
        size = SIZE if layer.labels else 12
        middle = x + self.chip / 2
        yield cells.weight_text(layer, weight, middle, y + 16, size, fill, not layer.labels)
        name = names.input_name(layer, index)
        yield svg.name_text(x + self.chip + 4, y + 21, name, SIZE, "", **place)

    def _bias(self, n: int, y: float, output: int) -> Iterator[Element]:
        layer = self.layer
        assert layer.bias is not None
        x, y = self._place(n, y)
        channel = output // prod(layer.out_shape[1:])
        marks = {"data_b": channel, "data_v": names.exact(layer.bias[channel]), "data_o": output}
        if n:
            yield svg.text(x - self.plus / 2 - 2, y + 21, "+", f"maths s{SIZE} muted middle")
        yield svg.rect(x, y + 4, self.chip, 24, "chip faint", rx=5, **marks)
        middle = x + self.chip / 2
        if layer.labels:
            name = names.bias_name(layer, channel)
            yield svg.name_text(middle, y + 21, name, SIZE, "middle")
            return
        yield svg.text(middle, y + 20, names.short(float(layer.bias[channel])), "number s12 middle")


def _term_width(layer: ConvLayer, weight: int) -> float:
    if layer.labels:
        return svg.name_width(names.weight_name(layer, weight), SIZE)
    return svg.text_width(names.short(float(layer.flat_weights[weight])), 12)
