"""The compact equation: one formula with the layer's own numbers, for all outputs at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod

from irconv.graph import Node
from irconv.views import names, svg
from irconv.views.blocks import Block, below, block, picture
from irconv.views.layer import ConvLayer
from irconv.views.parts import AXES
from irconv.views.picture import Picture
from irconv.views.svg import Element

_PLACES = {1: "i", 2: "ij", 3: "hij"}
_TAPS = {1: "k", 2: "kl", 3: "gkl"}
_SIZE = 21


def compact_equation(node: Node | ConvLayer) -> Picture:
    """One sum that stands for all equations of the layer, and what its letters run over.

    A transposed convolution is told from its inputs: what each one adds to which output.
    UsageError for what is not a convolution with known weights.
    """
    layer = ConvLayer.of(node).whole()
    g = layer.geometry
    channels = layer.in_shape[0] // g.group
    data = {
        "outputs": prod(layer.out_shape),
        "taps": g.taps,
        "channels": channels,
        "free_weights": g.free_weights,
        "reads": tuple(_reads(layer)),
    }
    if layer.transposed:
        caption = "Every input adds the filter, times its own value, to a window of outputs"
    else:
        caption = "Every output is the sum of its window's inputs, each times its weight"
    caption += (
        f": {names.count(prod(layer.out_shape), 'output')}, {names.count(g.taps, 'tap')} on "
        f"{'each of ' if channels > 1 else ''}{names.count(channels, 'channel')}, "
        f"{names.count(g.free_weights, 'weight')}."
    )
    body = below([_formula(layer), block(_meanings(layer), 560, _height(layer))], 26)
    return picture(layer, body, f"{layer.title} as one equation", caption, data)


def _formula(layer: ConvLayer) -> Block:
    """y[m, i, j] = sum of w[m, c, k, l] x[c, S i + D k - P, ...] + b[m]; letters that could be
    nothing but 0 are left out.
    """
    g = layer.geometry
    per_group = g.in_channels // g.group
    place = list(_PLACES[g.rank])
    taps = [t for t, size in zip(_TAPS[g.rank], g.kernel, strict=True) if size > 1]
    filter_ = ["m"] if g.out_channels > 1 else []
    channel = ["c"] if per_group > 1 else []
    weight = ("w", ", ".join([*filter_, *channel, *taps]))
    result = ("y", ", ".join([*filter_, *place]))
    image_channel = [_in_group(layer)] if g.in_channels > 1 else []
    image = ("x", ", ".join([*image_channel, *_reads(layer)]))
    if layer.transposed:
        # its inputs are the outputs of the convolution whose transpose it is
        result, image = ("y", image[1]), ("x", result[1])
        parts = _flow([result, " \u2190 ", result, "  +  ", weight, " ", image])
        return block([svg.text(0, 28, parts, f"maths s{_SIZE}")], 620, 36)
    total = ("\u2211", ", ".join([*channel, *taps]))
    terms: list[tuple[str, str] | str] = [result, "  =  "]
    terms += [total, " "] if total[1] else []
    terms += [weight, " ", image]
    terms += ["  +  ", ("b", ", ".join(filter_))] if layer.bias is not None else []
    return block([svg.text(0, 28, _flow(terms), f"maths s{_SIZE}")], 620, 36)


def _flow(terms: Sequence[tuple[str, str] | str]) -> list[Element | str]:
    """Names with subscripts and signs in one run of text: no width need be known."""
    found: list[Element | str] = []
    for term in terms:
        if isinstance(term, str):
            found.append(term.replace(" ", "\u2002" if len(term) > 2 else "\u2009"))
        else:
            found += svg.name_parts(term, _SIZE)
    return found


def _in_group(layer: ConvLayer) -> str:
    """The channel of the whole image that channel c of filter m's group is."""
    g = layer.geometry
    if g.group == 1:
        return "c"
    per_group, outs = g.in_channels // g.group, g.out_channels // g.group
    group = "m" if outs == 1 else f"\u230am/{outs}\u230b"
    if per_group == 1:
        return group
    return f"{per_group}{group} + c"


def _reads(layer: ConvLayer) -> Iterator[str]:
    """For each axis the position that a tap reads, as a term: `2i + k - 3`."""
    g = layer.geometry
    for axis, (place, tap) in enumerate(zip(_PLACES[g.rank], _TAPS[g.rank], strict=True)):
        text = f"{_times(g.strides[axis])}{place}"
        if g.kernel[axis] > 1:
            text += f" + {_times(g.dilations[axis])}{tap}"
        if g.pads[axis]:
            text += f" \u2212 {g.pads[axis]}"
        yield text


def _times(factor: int) -> str:
    return "" if factor == 1 else str(factor)


def _meanings(layer: ConvLayer) -> Iterator[Element]:
    """What each letter runs over."""
    for n, (letters, text) in enumerate(_letters(layer)):
        y = 14 + 21 * n
        yield svg.text(0, y, letters, "maths italic s15")
        yield svg.text(72, y, text, "muted")


def _height(layer: ConvLayer) -> float:
    return 21.0 * len(_letters(layer))


def _letters(layer: ConvLayer) -> list[tuple[str, str]]:
    g = layer.geometry
    sides = "input" if layer.transposed else "output"
    found = [("m", f"{sides} channel (filter)", g.out_channels)]
    found += [
        (letter, f"{sides} {meaning}", size)
        for letter, size, meaning in zip(_PLACES[g.rank], g.out, AXES[g.rank], strict=True)
    ]
    inner = "output" if layer.transposed else "input"
    group = f" within the filter's group ({g.group} groups)" if g.group > 1 else ""
    found.append(("c", f"{inner} channel{group}", g.in_channels // g.group))
    found += [
        (letter, f"{meaning} of the filter", size)
        for letter, size, meaning in zip(_TAPS[g.rank], g.kernel, AXES[g.rank], strict=True)
    ]
    shown = [
        (letter, f"{meaning}, {_run(size)}")
        for letter, meaning, size in found
        if size > 1 or letter in _PLACES[g.rank]
    ]
    if any(g.pads):
        edge = "is cut off" if layer.transposed else "is an added zero"
        target = "y" if layer.transposed else "x"
        shown.append((target, f"outside {_inside(g.image)} it {edge}"))
    if layer.transposed and layer.bias is not None:
        shown.append(("y", "starts as the bias of its channel"))
    return shown


def _run(size: int) -> str:
    return "0 only" if size == 1 else f"0 to {size - 1}"


def _inside(image: Sequence[int]) -> str:
    return ", ".join(_run(size) for size in image)
