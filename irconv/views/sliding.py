"""The view of image and filter: the filter at each place, its products and their sum."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from irconv.errors import UsageError
from irconv.graph import Node
from irconv.types import Array
from irconv.views import cells, names, svg
from irconv.views.blocks import Block, below, beside, block, headed, picture, wrapped
from irconv.views.cells import Colours, grid_place, grid_size
from irconv.views.colours import ink
from irconv.views.fitting import at_most, either, fitted
from irconv.views.layer import ConvLayer
from irconv.views.parts import AXES
from irconv.views.picture import Picture
from irconv.views.svg import Element

FITS = either(at_most(9, 100, 160), at_most(4, 130, 200))
CELLS = 700  # of all filters at all places
BESIDE = 6  # added zeros that are drawn on each side of the pixels
WIDTH = 1000.0


def image_and_filter(
    node: Node | ConvLayer, image: Any = None, *, labels: Sequence[str] = ()
) -> Picture:
    """The filter at each place of the image: what it covers, the products, the sum.

    Padding is drawn as added zeros. `image` [C, *spatial] (or with a batch of 1 before it) gives
    the pixels their values; without it they bear names. `labels` name the free weights. UsageError
    for an image of another shape, and for what is not a convolution with known weights.
    """
    whole = ConvLayer.of(node, labels)
    pixels = None if image is None else _checked(whole, image)
    layer = fitted(whole, _fits)
    board = _Board(layer, cells.colours_of(layer), pixels)
    places = [board.place(o) for o in layer.output_indices.tolist()]
    values = not layer.labels
    legend = cells.legend(layer, board.colours, values, WIDTH)
    g = layer.geometry
    data = {
        "places": prod(layer.out_shape[1:]),
        "filters": layer.out_shape[0],
        "strides": g.strides,
        "dilations": g.dilations,
        "pads": g.pads,
        "outputs": [p.total for p in places] if pixels is not None else [],
    }
    drawing = below([legend, wrapped([p.drawn for p in places], WIDTH, 32)], 28)
    return picture(layer, drawing, f"{layer.title}: image and filter", _caption(layer), data)


def _fits(layer: ConvLayer) -> bool:
    one = layer.rows == len(layer.inputs[0]) == 1
    taps = layer.rows * len(layer.inputs[0]) * layer.geometry.taps
    return FITS(layer) and (one or taps <= CELLS)


def _checked(layer: ConvLayer, image: Any) -> Array:
    pixels = np.asarray(image)
    if pixels.shape[:1] == (1,) and pixels.ndim == len(layer.in_shape) + 1:
        pixels = pixels[0]
    if pixels.ndim == layer.rank and layer.in_shape[0] == 1:
        pixels = pixels[None]
    if pixels.shape != layer.in_shape or pixels.dtype.kind not in "fiub":
        raise UsageError(
            "the image does not fit the layer",
            expected=f"numbers, {list(layer.in_shape)}",
            got=f"{pixels.dtype}, {list(np.shape(image))}",
        )
    return pixels


def _caption(layer: ConvLayer) -> str:
    g = layer.geometry
    if layer.transposed:
        return (
            f"Each of {names.count(prod(layer.out_shape), 'output')} collects the inputs whose "
            f"copy of the filter covers it; the copies lie {_steps(g.strides)} apart."
        )
    text = (
        f"A filter of {names.sizes(g.kernel)} taps stands at {names.count(prod(g.out), 'place')}, "
        f"moving by {_steps(g.strides)}"
    )
    if any(d > 1 for d in g.dilations):
        text += f"; its taps lie {_steps(g.dilations)} apart (dilation)"
    if any(g.pads):
        text += f"; dashed cells are added zeros ({_pads(layer)}"
        text += f", {BESIDE} of them drawn)" if max(g.pads) > BESIDE else ")"
    return text + "."


def _steps(steps: Sequence[int]) -> str:
    if len(set(steps)) == 1:
        return str(steps[0])
    return " and ".join(
        names.count(step, name) for step, name in zip(steps, AXES[len(steps)], strict=True)
    )


def _pads(layer: ConvLayer) -> str:
    g = layer.geometry
    if len(set(g.pads)) == 1:
        return f"{g.pads[0]} on every side"
    return ", ".join(
        f"{name}s {a} before and {b} after"
        for name, (a, b) in zip(AXES[g.rank], g.pad_pairs, strict=True)
    )


@dataclass(frozen=True)
class _Place:
    """The filter at one place, drawn, and the output that it gives there."""

    drawn: Block
    total: float


class _Board:
    """The part of the padded image that all places of a picture are drawn on."""

    def __init__(self, layer: ConvLayer, colours: Colours, pixels: Array | None) -> None:
        self.layer, self.colours, self.pixels = layer, colours, pixels
        self.axes = [_positions(layer, a) for a in range(layer.rank)]
        self.shape = tuple(map(len, self.axes))
        rows, columns = grid_size(self.shape)
        large = layer.geometry.taps > 25
        self.cell = float(max(9, min(30, (198 if large else 300) // max(rows, columns))))
        self.kernel = grid_size(layer.geometry.kernel)
        self.tap = float(max(9, min(52, (140 if large else 260) // max(self.kernel))))

    def place(self, output: int) -> _Place:
        """What one output sees, and what it makes of it."""
        layer = self.layer
        reads = dict(layer.terms(output))
        total = self._total(output, reads)
        blocks = []
        for channel in self._channels(output):
            image = block(self._image(output, channel, reads), *self._size())
            if layer.geometry.taps <= cells.TAPS:
                products = block(self._products(output, channel, reads), *self._kernel_size())
            else:
                words = names.count(len(reads), "product")
                products = block([svg.text(0, 14, words, "muted")], svg.text_width(words), 20)
            pair = beside([image, _sign("\u2192"), products], 10)
            label = f"channel {channel}" if layer.in_shape[0] > 1 else ""
            blocks.append(headed(label, pair, "small muted") if label else pair)
        if not blocks:
            blocks.append(block([svg.text(0, 14, "reads none of the channels", "muted")], 190, 20))
        stacked = below(blocks, 12)
        result = self._result(output, total)
        return _Place(beside([stacked, result], 14), total)

    def _channels(self, output: int) -> list[int]:
        """The channels of the part that this output's filter reads."""
        out = output // prod(self.layer.out_shape[1:])
        return [i for o, i, _ in self.layer.channel_pairs().tolist() if o == out]

    def _size(self) -> tuple[float, float]:
        rows, columns = grid_size(self.shape)
        return columns * self.cell, rows * self.cell

    def _kernel_size(self) -> tuple[float, float]:
        rows, columns = self.kernel
        return columns * self.tap, rows * self.tap

    def _total(self, output: int, reads: dict[int, int]) -> float:
        if self.pixels is None:
            return float("nan")
        flat, weights = self.pixels.reshape(-1), self.layer.flat_weights
        total = sum(float(weights[w]) * float(flat[i]) for i, w in sorted(reads.items()))
        if self.layer.bias is not None:
            total += float(self.layer.bias[output // prod(self.layer.out_shape[1:])])
        return total

    # -- the image ---------------------------------------------------------------------------------

    def _image(self, output: int, channel: int, reads: dict[int, int]) -> Iterator[Element]:
        layer = self.layer
        window = self._window(output)
        size = self._letters()
        number = {tuple(p): t for t, p in enumerate(window)} if not layer.transposed else {}
        first = self._first_weight(output, channel)
        for n in range(prod(self.shape)):
            row, column = grid_place(n, self.shape)
            x, y = column * self.cell, row * self.cell
            steps = np.unravel_index(n, self.shape)
            at = tuple(axis[s] for axis, s in zip(self.axes, steps, strict=True))
            inside = all(0 <= p < s for p, s in zip(at, layer.in_shape[1:], strict=True))
            if not inside:
                tap = number.get(at)
                yield from self._added_zero(x, y, None if tap is None else first + tap, output)
                continue
            index = int(np.ravel_multi_index((channel, *at), layer.in_shape))
            yield from self._pixel(x, y, index, reads.get(index), output, size)
        yield from self._outline(window)

    def _pixel(
        self, x: float, y: float, index: int, weight: int | None, output: int, size: int
    ) -> Iterator[Element]:
        cell, middle = self.cell, self.cell / 2
        marks: dict[str, object] = {"data_i": index}
        if self.pixels is not None:
            marks["data_x"] = names.exact(self.pixels.reshape(-1)[index])
        if weight is None:
            yield svg.rect(x, y, cell, cell, "cell pixel", **marks)
            ink_class = "muted"
        else:
            fill = self.colours[weight]
            marks |= {"data_o": output, **cells.weight_marks(self.layer, weight)}
            yield svg.rect(x, y, cell, cell, "cell", fill=fill, **marks)
            ink_class = ink(fill)
        if not size:
            return
        base = y + middle + 0.35 * size
        if self.pixels is None:
            name = names.input_name(self.layer, index)
            yield svg.name_text(x + middle, base, name, size, f"middle {ink_class}")
        else:
            shown = names.short(float(self.pixels.reshape(-1)[index]))
            yield svg.text(x + middle, base, shown, f"number s{size} middle {ink_class}")

    def _added_zero(self, x: float, y: float, weight: int | None, output: int) -> Iterator[Element]:
        """A cell of the padding: a zero, also where a tap of the filter lies on it."""
        marks: dict[str, object] = {}
        if weight is not None:
            marks = {"fill": self.colours[weight], "fill_opacity": 0.35}
            marks |= {"data_o": output, "data_w": weight}
        class_ = "cell added" if weight is not None else "cell padding added"
        yield svg.rect(x, y, self.cell, self.cell, class_, **marks)
        if self.cell >= 16:
            yield svg.text(
                x + self.cell / 2, y + self.cell / 2 + 4, "0", "number s10 zero-ink middle"
            )

    def _letters(self) -> int:
        layer = self.layer
        if self.pixels is None:
            found = [names.input_name(layer, i) for i in layer.input_indices.tolist()]
            return cells.name_letters(found, self.cell)
        flat = self.pixels.reshape(-1)
        shown = [names.short(float(flat[i])) for i in layer.input_indices.tolist()]
        return cells.letter_size(self.cell, max(map(len, shown)))

    def _window(self, output: int) -> Array:
        """[taps, rank]: the positions in the padded image on which the filter's taps lie."""
        g = self.layer.geometry
        if self.layer.transposed:
            return np.zeros((0, g.rank), int)
        at = np.unravel_index(output, self.layer.out_shape)[1:]
        taps = np.stack(np.unravel_index(np.arange(g.taps), g.kernel), axis=1)
        first = np.array(at) * g.strides - g.pads[: g.rank]
        found: Array = first + taps * np.array(g.dilations)
        return found

    def _outline(self, window: Array) -> Iterator[Element]:
        """A frame around the filter's place (2-D and 1-D)."""
        if not len(window) or self.layer.rank > 2:
            return
        spans = []
        for axis, positions in enumerate(self.axes):
            inside = [n for n, p in enumerate(positions)
                      if window[:, axis].min() <= p <= window[:, axis].max()]  # fmt: skip
            if not inside:
                return
            spans.append((inside[0] * self.cell, (inside[-1] + 1) * self.cell))
        (top, bottom), (left, right) = spans if len(spans) == 2 else [(0.0, self.cell), *spans]
        yield svg.rect(left, top, right - left, bottom - top, "mark", rx=2)

    def _first_weight(self, output: int, channel: int) -> int:
        out = output // prod(self.layer.out_shape[1:])
        number = next(
            n for o, i, n in self.layer.channel_pairs().tolist() if (o, i) == (out, channel)
        )
        return int(number) * self.layer.geometry.taps

    # -- the products ------------------------------------------------------------------------------

    def _products(self, output: int, channel: int, reads: dict[int, int]) -> Iterator[Element]:
        layer = self.layer
        first, step = self._first_weight(output, channel), prod(layer.in_shape[1:])
        by_weight = {w: i for i, w in reads.items() if i // step == channel}
        beyond = self._beyond(output, channel)
        for tap in range(layer.geometry.taps):
            row, column = grid_place(tap, layer.geometry.kernel)
            x, y = column * self.tap, row * self.tap
            weight = first + tap
            if weight in by_weight:
                yield from self._product(x, y, output, by_weight[weight], weight)
                continue
            if weight in beyond:
                yield svg.rect(x, y, self.tap, self.tap, "cell faint")
                continue
            yield svg.rect(x, y, self.tap, self.tap, "cell zero")
            if self.tap >= 20:
                middle = self.tap / 2
                yield svg.text(x + middle, y + middle + 4, "0", "number s11 zero-ink middle")

    def _beyond(self, output: int, channel: int) -> set[int]:
        """The weights that meet a pixel which is not in the part: no zeros, but not drawn."""
        if not self.layer.is_partial:
            return set()
        at = np.unravel_index(output, self.layer.out_shape)
        whole = self.layer.whole().restrict(
            out_channels=int(at[0]), outputs=[int(p) for p in at[1:]], in_channels=channel
        )
        return set(whole.entries[2].tolist()) - {w for _, w in self.layer.terms(output)}

    def _product(
        self, x: float, y: float, output: int, index: int, weight: int
    ) -> Iterator[Element]:
        layer, fill, cell = self.layer, self.colours[weight], self.tap
        marks = {"data_o": output, "data_i": index, **cells.weight_marks(layer, weight)}
        yield svg.rect(x, y, cell, cell, "cell", fill=fill, **marks)
        if cell < 36:
            return
        middle, class_ = x + cell / 2, f"middle {ink(fill)}"
        if self.pixels is not None:
            yield from self._numbers(index, weight, middle, y, class_)
            return
        size = min(13, cells.weight_letters(layer, cell, not layer.labels)) or 7
        yield cells.weight_text(layer, weight, middle, y + 0.3 * cell, size, fill, not layer.labels)
        name = names.input_name(layer, index)
        small = 12 if svg.name_width(name, 12) < cell - 12 else 9
        yield svg.name_text(middle, y + 0.78 * cell, name, small, class_)

    def _numbers(
        self, index: int, weight: int, x: float, y: float, class_: str
    ) -> Iterator[Element]:
        """A product as a number, and above it its factors where they have room."""
        assert self.pixels is not None
        first = float(self.layer.flat_weights[weight])
        second = float(self.pixels.reshape(-1)[index])
        factors = f"{names.short(first)}\u00b7{names.short(second)}"
        size = cells.letter_size(self.tap, len(factors))
        if size:
            yield svg.text(x, y + 0.35 * self.tap, factors, f"number s{min(size, 10)} {class_}")
        product = names.short(first * second + 0.0)  # no minus before a zero
        size = min(13, cells.letter_size(self.tap, len(product))) or 7
        yield svg.text(x, y + 0.72 * self.tap, product, f"number s{size} {class_}")

    def _result(self, output: int, total: float) -> Block:
        layer = self.layer
        name = names.output_name(layer, output)
        end = " + b" if layer.bias is not None else ""
        partial = " (of the part)" if layer.is_partial else ""
        parts = [
            svg.text(0, 14, f"sum{end}{partial}", "small muted"),
            svg.text(0, 36, ["= ", *svg.name_parts(name, 16)], "maths s16", data_o=output),
        ]
        if self.pixels is not None:
            parts.append(svg.text(0, 56, f"= {names.short(total)}", "number s13"))
        return block(parts, 62 if not partial else 110, 62)


def _positions(layer: ConvLayer, axis: int) -> list[int]:
    """The positions of an axis that are drawn: inputs of the part, and padding that it meets."""
    g, inputs = layer.geometry, layer.inputs[axis + 1]
    if layer.transposed:
        return list(inputs)
    outputs = layer.outputs[axis + 1]
    first = outputs[0] * g.strides[axis] - g.pads[axis]
    last = outputs[-1] * g.strides[axis] - g.pads[axis]
    last += g.dilations[axis] * (g.kernel[axis] - 1)
    first = max(min(first, inputs[0]), inputs[0] - BESIDE)
    last = min(max(last, inputs[-1]), inputs[-1] + BESIDE)
    span = range(first, last + 1)
    return [p for p in span if p in inputs or not 0 <= p < g.image[axis]]


def _sign(sign: str) -> Block:
    return block([svg.text(10, 18, sign, "maths s20 muted middle")], 20, 24)
