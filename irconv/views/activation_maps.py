"""The activation maps of a layer: what each of its maps answers to on a given image, and where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from irconv.errors import UsageError, printable
from irconv.graph import Node
from irconv.types import Array
from irconv.views import names, svg
from irconv.views.activations import activation, graph_of, inputs_of
from irconv.views.blocks import Block, beside, block, headed, wrapped
from irconv.views.maps import array_block, drawn, key_block, limit_of
from irconv.views.picture import Picture

MAPS = 16
WIDTH = 480.0


def activation_maps(
    node: Node,
    image: Any,
    *,
    channels: Sequence[int] | None = None,
    backend: str | None = None,
    written: bool = False,
) -> Picture:
    """The maps of `node` on an image: the input beside the result's channels, all on one scale.

    `image` is [C, *spatial] or [1, C, *spatial] (of one channel also [*spatial]), or arrays by
    input name; `channels` chooses maps (the strongest ones of many if None); `backend` compiles the
    graph instead of interpreting it. `data["maps"]` holds the whole result [channels, *spatial].
    Small maps have a cell for each element (`data-o`, `data-v`), larger ones are images of 255
    shades.
    """
    graph = graph_of(node)
    given = inputs_of(graph, image)
    maps = activation(node, given, backend=backend)[0]
    if maps.ndim not in {2, 3}:
        raise UsageError(
            "not an image in one or two dimensions",
            where=f"%{printable(node.name)}",
            got=f"a result of {names.sizes(maps.shape)}",
        )
    shown = list(channels) if channels is not None else strongest(maps, MAPS)
    if any(not 0 <= c < len(maps) for c in shown):
        raise UsageError("no such channel", expected=f"0 to {len(maps) - 1}", got=shown)
    inner = _drawing(node, maps, shown, next(iter(given.values()))[0], written)
    part = "" if len(shown) == len(maps) else _part(shown, maps, channels is None)
    title = f"What {printable(node.name, 40)} answers"
    data = {"maps": maps, "channels": tuple(shown)}
    return drawn(inner, title, _caption(node, maps), data, part)


def strongest(maps: Array, count: int) -> list[int]:
    """The `count` channels with the largest answers, in their order."""
    flat = np.nan_to_num(maps.reshape(len(maps), -1).astype(np.float64))
    best = np.argsort(-flat.max(1), kind="stable")[:count]
    return sorted(int(c) for c in best)


def _part(shown: Sequence[int], maps: Array, chosen_here: bool) -> str:
    if chosen_here:
        return f"the {len(shown)} of {len(maps)} maps whose largest answers are largest"
    return f"maps {', '.join(map(str, shown))} of {len(maps)}"


def image_block(
    image: Array, width: float, name: str, ends: tuple[float, float] | None = None
) -> Block:
    """An input [C, *spatial] as people see it: grey, or red, green and blue where it has three
    channels; else its channels one by one. Black and white are its own `ends`, or those given.
    """
    heading = f"{printable(name, 24)}, {names.sizes(image.shape)}"
    if len(image) == 3 and image.ndim == 3:
        low, high = ends or (float(image.min()), float(image.max()))
        colours = (np.moveaxis(image, 0, -1) - low) / ((high - low) or 1.0)
        return headed(heading, array_block(colours, width, "grey"))
    if len(image) == 1:
        return headed(heading, array_block(image[0], width, "grey", ends, "i"))
    step = int(np.prod(image.shape[1:]))
    grids = [
        headed(f"channel {c}", array_block(m, width * 0.6, "grey", ends, "i", c * step))
        for c, m in enumerate(image[:4])
    ]
    return headed(heading, wrapped(grids, width * 1.3))


def _drawing(node: Node, maps: Array, shown: Sequence[int], image: Array, written: bool) -> Block:
    graph = graph_of(node)
    limit = limit_of(maps)
    step = int(np.prod(maps.shape[1:]))
    width = _width(len(shown))
    grids = [
        headed(
            f"map {c}",
            array_block(maps[c], width, "signed", (-limit, limit), "o", c * step, written),
            "small muted",
        )
        for c in shown
    ]
    heading = f"{printable(node.name, 30)}, {names.sizes(maps.shape)}"
    right = headed(heading, wrapped(grids, max(WIDTH, width), 14))
    key = key_block("signed", -limit, limit)
    both = [right, block([key.at(0, 0)], key.width, key.height)]
    answers = Block(
        (both[0].at(0, 0), both[1].at(0, right.height + 14)),
        max(right.width, key.width),
        right.height + 14 + key.height,
    )
    left = image_block(image, 230.0, graph.inputs[0].name)
    arrow = block([svg.text(0, 14, "\u2192", "heading muted")], 14, 20)
    return beside([left, arrow, answers], 22, middle=False)


def _width(count: int) -> float:
    return 300.0 if count == 1 else 230.0 if count == 2 else 150.0 if count <= 6 else 106.0


def _caption(node: Node, maps: Array) -> str:
    place = np.unravel_index(int(np.nanargmax(maps)), maps.shape)
    where = ", ".join(str(int(p)) for p in place[1:])
    zeros = float((maps == 0).mean())
    text = (
        f"On this image map {int(place[0])} of {printable(node.name, 40)} answers most: "
        f"{names.short(float(maps[place]))} at ({where})."
    )
    if zeros >= 0.01:
        text += f" {names.percent(zeros)} of all answers are zero."
    return text
