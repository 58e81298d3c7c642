"""Shape arithmetic: where the output's sizes come from, axis by axis, and what is lost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from irconv.graph import Node
from irconv.views import names, svg
from irconv.views.blocks import Block, below, block, headed, picture
from irconv.views.colours import palette
from irconv.views.layer import ConvLayer
from irconv.views.parts import AXES
from irconv.views.picture import Picture
from irconv.views.svg import Element

WIDTH = 880.0
ROW = 15.0
WINDOWS = 10  # windows that are drawn of an axis; of more, the first and the last four
LONGEST = 64  # positions of an axis that are drawn in one piece


def shape_arithmetic(node: Node | ConvLayer) -> Picture:
    """Where the output's sizes come from, and which pixels no window reaches.

    For each axis the formula with the layer's own numbers, and the windows on the padded image. Of
    a transposed convolution: the copies of the filter on the output before its border is cut.
    UsageError for what is not a convolution with known weights.
    """
    layer = ConvLayer.of(node).whole()
    axes = [AxisSizes.of(layer, a) for a in range(layer.rank)]
    body = below([_law(layer), *(_axis(layer, a) for a in axes)], 30)
    data = {
        "output": layer.out_shape,
        "remainder": tuple(a.remainder for a in axes),
        "lost": tuple(a.lost for a in axes),
        "unread": tuple(a.unread for a in axes),
    }
    title = f"{layer.title}: shape arithmetic"
    part = "; ".join(filter(None, (a.part for a in axes)))
    return picture(layer, body, title, _caption(layer, axes), data, part)


@dataclass(frozen=True)
class AxisSizes:
    """One axis of a convolution (of a transposed one: of the convolution it is the transpose of).

    `remainder` positions of the padded image are left over at its end, of which `lost` are pixels;
    `unread` pixels are read by no window at all, those between taps and windows included.
    """

    name: str
    size: int
    kernel: int
    stride: int
    dilation: int
    begin: int
    end: int
    out: int
    remainder: int
    lost: int
    unread: int

    @classmethod
    def of(cls, layer: ConvLayer, axis: int) -> AxisSizes:
        g = layer.geometry
        begin, end = g.pad_pairs[axis]
        size, out = g.image[axis], g.out[axis]
        reads = g.axis_reads(axis)
        room = size + begin + end - g.dilations[axis] * (g.kernel[axis] - 1) - 1
        remainder = room % g.strides[axis]
        return cls(
            name=AXES[g.rank][axis],
            size=size,
            kernel=g.kernel[axis],
            stride=g.strides[axis],
            dilation=g.dilations[axis],
            begin=begin,
            end=end,
            out=out,
            remainder=remainder,
            lost=min(size, max(0, remainder - end)),
            unread=size - len(np.unique(reads[reads >= 0])),
        )

    @property
    def span(self) -> int:
        """Positions from a window's first tap to its last."""
        return self.dilation * (self.kernel - 1) + 1

    @property
    def between(self) -> int:
        """Pixels that no window reads although it passes over them, or over both neighbours."""
        return self.unread - self.lost

    @property
    def drawn(self) -> tuple[range, ...]:
        """The windows that are drawn: all, or the first and the last few; none where they are too
        long.
        """
        if self.span > LONGEST:
            return ()
        if self.out <= WINDOWS and self.size + self.begin + self.end <= LONGEST:
            return (range(self.out),)
        few = min(4, self.out)
        rest = range(max(few, self.out - few), self.out)
        return (range(few), rest) if rest else (range(few),)

    @property
    def part(self) -> str:
        """Which windows are drawn, in words; empty for all."""
        count = sum(map(len, self.drawn))
        if count == self.out:
            return ""
        found = " and ".join(f"{r[0]} to {r[-1]}" for r in self.drawn)
        return f"of the {self.name}s, windows {found or 'none'} of {self.out}"

    def first(self, window: int) -> int:
        """The position of a window's first tap."""
        return window * self.stride - self.begin


def _caption(layer: ConvLayer, axes: list[AxisSizes]) -> str:
    sizes = f"{names.sizes(layer.in_shape[1:])} becomes {names.sizes(layer.out_shape[1:])}"
    if layer.transposed:
        return (
            f"{sizes}: every input position stamps the filter, the copies {_strides(axes)} apart."
        )
    lost = [names.count(a.lost, a.name) for a in axes if a.lost]
    between = [names.count(a.between, a.name) for a in axes if a.between]
    text = f"{sizes}."
    if lost:
        text += f" The stride does not fit: {' and '.join(lost)} at the end never read."
    if between:
        text += f" Between taps and windows, {' and '.join(between)} never read."
    return text if lost or between else f"{text} Every pixel is read."


def _strides(axes: list[AxisSizes]) -> str:
    found = [str(a.stride) for a in axes]
    return found[0] if len(set(found)) == 1 else " and ".join(found)


def _axis(layer: ConvLayer, axis: AxisSizes) -> Block:
    formula = svg.text(0, 14, _formula(layer, axis), "number s13")
    width = svg.text_width(_formula(layer, axis), 13)
    heading = f"{axis.name}s" if layer.rank > 1 else "positions"
    parts = [block([formula], width, 22), _strip(layer, axis)]
    note = _note(layer, axis)
    if note:
        class_ = "warning" if axis.lost else "muted"
        parts.append(block([svg.text(0, 12, note, f"small {class_}")], 480, 16))
    return headed(heading, below(parts, 10))


def _law(layer: ConvLayer) -> Block:
    """The formula with letters."""
    if layer.transposed:
        law = "O = S(W \u2212 1) + D(K \u2212 1) + 1 \u2212 P\u2080 \u2212 P\u2081"
    else:
        law = "O = \u230a(W \u2212 D(K \u2212 1) \u2212 1 + P\u2080 + P\u2081) / S\u230b + 1"
    words = "W size, K kernel, S stride, D dilation, P padding before and after"
    parts = [svg.text(0, 16, law, "maths italic s18"), svg.text(0, 38, words, "small muted")]
    return block(parts, 480, 44)


def _formula(layer: ConvLayer, axis: AxisSizes) -> str:
    a = axis
    if layer.transposed:
        full = (a.out - 1) * a.stride + a.span
        extra = a.size - (full - a.begin - a.end)
        tail = f" + {extra} (output padding)" if extra else ""
        return (
            f"O = {a.stride}\u00b7({a.out} \u2212 1) + {a.dilation}\u00b7({a.kernel} \u2212 1) + 1 "
            f"\u2212 {a.begin} \u2212 {a.end}{tail} = {a.size}"
        )
    room = a.size + a.begin + a.end - a.span
    return (
        f"O = \u230a({a.size} \u2212 {a.dilation}\u00b7({a.kernel} \u2212 1) \u2212 1 + "
        f"{a.begin} + {a.end}) / {a.stride}\u230b + 1 = "
        f"\u230a{room} / {a.stride}\u230b + 1 = {a.out}"
    )


def _note(layer: ConvLayer, axis: AxisSizes) -> str:
    if layer.transposed:
        return f"{names.count(axis.unread, axis.name)} of bias alone" if axis.unread else ""
    notes = []
    if axis.remainder:
        left = [names.count(axis.lost, axis.name)] if axis.lost else []
        zeros = axis.remainder - axis.lost
        left += [f"{zeros} of the added zeros"] if zeros else []
        notes.append(f"left over at the end: {' and '.join(left)}")
    if axis.between:
        notes.append(f"between taps and windows: {names.count(axis.between, axis.name)}")
    return "; ".join(notes)


def _strip(layer: ConvLayer, axis: AxisSizes) -> Block:
    """The padded axis, and below it the windows: all of them, or the first and the last."""
    ends = axis.drawn
    if not ends:
        words = f"A window spans {names.count(axis.span, 'position')}: too many to be drawn."
        return block([svg.text(0, 14, words, "muted")], 480, 20)
    pieces = [_piece(axis, e, e is ends[0], e is ends[-1]) for e in ends if len(e)]
    spans = [span for span, _ in pieces]
    cell = max(3.0, min(26.0, WIDTH / sum(map(len, spans))))
    parts: list[Element] = []
    x = 0.0
    rows = 0
    for span, windows in pieces:
        inner = [*_positions(axis, span, cell), *_windows(layer, axis, span, windows, cell)]
        parts.append(svg.group(inner, transform=f"translate({x:g} 0)"))
        x += len(span) * cell
        rows = max(rows, len(windows))
        x += 30
        if span is not spans[-1]:
            parts.append(svg.text(x, 14, "\u2026", "muted middle"))
            x += 30
    return block(parts, x, 28 + ROW * rows)


def _piece(axis: AxisSizes, windows: range, first: bool, last: bool) -> tuple[range, range]:
    """(positions, windows) of one end of the axis."""
    start = -axis.begin if first else axis.first(windows[0])
    end = axis.size + axis.end if last else axis.first(windows[-1]) + axis.span
    return range(start, end), windows


def _positions(axis: AxisSizes, span: range, cell: float) -> Iterator[Element]:
    used = axis.first(axis.out - 1) + axis.span
    for n, p in enumerate(span):
        inside = 0 <= p < axis.size
        class_ = "cell pixel" if inside else "cell padding"
        yield svg.rect(n * cell, 0, cell, 20, class_, data_p=p if inside else None)
        if inside and p >= used:
            yield svg.rect(n * cell + 1, 1, cell - 2, 18, "warning-line")
        if cell >= 13:
            size = 9 if len(str(p)) * 5.5 < cell else 7
            label = str(p) if inside else "0"
            class_ = "muted" if inside else "zero-ink"
            yield svg.text((n + 0.5) * cell, 13, label, f"number s{size} middle {class_}")


def _windows(
    layer: ConvLayer, axis: AxisSizes, span: range, windows: range, cell: float
) -> Iterator[Element]:
    """One row for each window: a line from its first tap to its last, a bar for each tap."""
    colours = palette(axis.kernel)
    for row, window in enumerate(windows):
        y = 27 + ROW * row
        first = axis.first(window) - span.start
        if axis.dilation > 1:
            x, x2 = (first + 0.5) * cell, (first + axis.span - 0.5) * cell
            yield svg.line(x, y + 5, x2, y + 5, "break")
        for tap in range(axis.kernel):
            p = axis.first(window) + tap * axis.dilation
            inside = 0 <= p < axis.size
            marks: dict[str, object] = {"data_a": axis.name, "data_q": window, "data_k": tap}
            marks |= {"data_p": p} if inside else {"fill_opacity": 0.35}
            x = (p - span.start) * cell
            yield svg.rect(x + 0.5, y, cell - 1, 10, "", fill=colours[tap], **marks)
        if cell >= 10:
            label = ("x" if layer.transposed else "y", str(window))
            yield svg.name_text((first + axis.span) * cell + 5, y + 9, label, 11, "muted")
