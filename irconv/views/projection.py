"""Projection: what part of an image a map of a network answers to, carried back to the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from irconv.errors import UsageError, printable
from irconv.graph import Graph, Node, Value
from irconv.interpret import content
from irconv.types import Array
from irconv.views import names, svg
from irconv.views.activation_maps import image_block
from irconv.views.activations import activations, graph_of, graph_up_to, inputs_of
from irconv.views.adjoint import Rule, back
from irconv.views.blocks import Block, below, beside, block, headed
from irconv.views.maps import array_block, drawn, frame_mark, key_block, limit_of
from irconv.views.picture import Picture
from irconv.views.receptive_field import Field
from irconv.views.sight_table import at_batch_one

WIDTH = 230.0


@dataclass(frozen=True, eq=False)
class Projection:
    """One answer of a map, and what it comes to in the image, as arrays.

    `image` and `signal` are [C, *spatial] (float64), `map` is the channel's answers [*spatial];
    `place` is the answer that was carried back, None for the whole map.
    """

    node: str
    channel: int
    place: tuple[int, ...] | None
    answer: float
    rule: Rule
    image: Array
    map: Array
    signal: Array
    box: tuple[tuple[int, int], ...] | None

    @classmethod
    def of(
        cls,
        node: Node,
        image: Any,
        channel: int | None = None,
        place: Sequence[int] | str | None = None,
        rule: Rule = "deconvnet",
    ) -> Projection:
        """Carries the answer of `channel` at `place` back to the image, in float64.

        The channel is the one that answers most if None; so is the place, and "all" is the whole
        map. All other answers of the node are set to zero (Zeiler and Fergus 2014, section 2.1).
        """
        source = graph_up_to(node)
        given = inputs_of(source, image)
        graph = at_batch_one(source)
        value = graph.node(node.name).results[0]
        arrays = activations(graph, given, float64=True)
        answers = arrays[value]
        _check(node, graph, answers)
        chosen, at = _chosen(node, answers[0], channel, place)
        start = np.zeros(answers.shape)
        where = (0, chosen, *(at if at is not None else ()))
        start[where] = answers[where]
        signal = carried_back(graph, value, start, arrays, rule)
        (only,) = (v for v in graph.inputs if v in signal)
        box = None if at is None else Field.of(graph.node(node.name), (chosen, *at)).box
        top = float(answers[where] if at is not None else answers[0, chosen].max())
        shown = (arrays[only][0], answers[0, chosen], signal[only][0])
        return cls(node.name, chosen, at, top, rule, *shown, box)


def _check(node: Node, graph: Graph, answers: Array) -> None:
    if len(graph.inputs) != 1 or len(answers) != 1:
        raise UsageError(
            "a projection is of one image through a graph with one input",
            where=f"%{printable(node.name)}",
            got=f"{len(graph.inputs)} inputs, a batch of {len(answers)}",
        )


def _chosen(
    node: Node, answers: Array, channel: int | None, place: Sequence[int] | str | None
) -> tuple[int, tuple[int, ...] | None]:
    best = int(answers.reshape(len(answers), -1).max(1).argmax())
    found = best if channel is None else channel
    if not 0 <= found < len(answers):
        raise UsageError("no such channel", expected=f"0 to {len(answers) - 1}", got=found)
    if place == "all":
        return found, None
    if place is None:
        at = np.unravel_index(int(answers[found].argmax()), answers.shape[1:])
        return found, tuple(int(p) for p in at)
    given = tuple(int(p) for p in place)
    sizes = answers.shape[1:]
    if len(given) != len(sizes) or any(not 0 <= p < n for p, n in zip(given, sizes, strict=True)):
        raise UsageError(
            "no such place", where=f"%{printable(node.name)}", expected=list(sizes), got=list(given)
        )
    return found, given


def carried_back(
    graph: Graph, value: Value, start: Array, arrays: dict[Value, Array], rule: Rule
) -> dict[Value, Array]:
    """The signal at each value, from `start` at `value`; where paths meet, their signals add up.

    `arrays` holds every value's numbers on the image (float64).
    """
    signals = {value: start}
    for node in reversed(graph.nodes):
        for index, result in enumerate(node.results):
            if result in signals:
                operands = [None if v is None else _number(v, arrays) for v in node.operands]
                found = back(node, operands, index, signals[result], rule)
                for operand, signal in zip(node.operands, found, strict=True):
                    if operand is not None and signal is not None and not operand.is_parameter:
                        signals[operand] = signals.get(operand, 0.0) + signal
    return signals


def _number(value: Value, arrays: dict[Value, Array]) -> Array:
    if value.is_parameter:
        array = content(value)
        return array.astype(np.float64) if array.dtype.kind == "f" else array
    return arrays[value]


def projection(
    node: Node,
    image: Any,
    channel: int | None = None,
    place: Sequence[int] | str | None = None,
    *,
    rule: Rule = "deconvnet",
) -> Picture:
    """What part of `image` the answer of a map comes from: the image, the map, and the answer
    carried back through the layers to the image.

    `image` is [C, *spatial], `channel` and `place` choose the answer (the largest if None, "all":
    the whole map). The rules are those of `irconv.views.adjoint.back`: "deconvnet" (Zeiler and
    Fergus 2014), "gradient", "guided". The picture frames the receptive field. UsageError for a
    graph with several inputs, and for an op that no signal is carried back through.
    """
    found = Projection.of(node, image, channel, place, rule)
    if found.image.ndim not in {2, 3}:
        raise UsageError("images of one or two dimensions are drawn", got=list(found.image.shape))
    data = {
        "signal": found.signal,
        "map": found.map,
        "channel": found.channel,
        "place": found.place,
        "answer": found.answer,
        "box": found.box,
    }
    title = f"What map {found.channel} of {printable(node.name, 40)} answers to"
    return drawn(_drawing(found, graph_of(node).inputs[0].name), title, _caption(found), data)


def _drawing(found: Projection, name: str) -> Block:
    picture = _framed(image_block(found.image, WIDTH, name), found, WIDTH, 24)
    shown = np.atleast_2d(found.map)
    blocks = [picture]
    if found.map.size > 1:
        answers = array_block(shown, 110.0, "signed", mark="o")
        if found.place is not None:
            answers = _ringed(answers, found.place, shown.shape)
        blocks.append(headed(f"map {found.channel}", answers))
    blocks.append(headed("carried back to the image", _signal(found)))
    return beside(blocks, 30, middle=False)


def _ringed(answers: Block, place: tuple[int, ...], shape: tuple[int, ...]) -> Block:
    cell = answers.width / shape[1]
    row, column = (0, *place)[-2:]
    ring = frame_mark(column * cell, row * cell, cell, cell)
    return block([answers.at(0, 0), ring], answers.width, answers.height)


def _framed(inner: Block, found: Projection, width: float, top: float) -> Block:
    """The receptive field, drawn around its pixels in the image."""
    if found.box is None:
        return inner
    cell = width / found.image.shape[-1]
    (first, end), (left, right) = found.box if len(found.box) == 2 else ((0, 1), found.box[0])
    frame = svg.rect(
        left * cell, top + first * cell, (right - left) * cell, (end - first) * cell, "accent-line"
    )
    return block([inner.at(0, 0), frame], inner.width, inner.height)


def _signal(found: Projection) -> Block:
    """The signal, summed over the colours' channels, with its scale."""
    total = found.signal.sum(0) if len(found.signal) > 1 else found.signal[0]
    limit = limit_of(total)
    drawn_signal = array_block(total, WIDTH, "signed", (-limit, limit), "p")
    return below([_framed(drawn_signal, found, WIDTH, 0), key_block("signed", -limit, limit)], 12)


_RULES = {
    "deconvnet": "rectified at each ReLU (Zeiler and Fergus 2014)",
    "gradient": "as the gradient",
    "guided": "as the gradient, rectified at each ReLU (Springenberg et al. 2015)",
}


def _caption(found: Projection) -> str:
    where = "" if found.place is None or not found.place else f" at {_place(found.place)}"
    text = (
        f"Map {found.channel} of {printable(found.node, 40)} answers {names.short(found.answer)}"
        f"{where}. Carried back through the layers, {_RULES[found.rule]}, the answer shows which "
        "pixels speak for it (orange) and against it (blue)."
    )
    if found.box is not None:
        sizes = names.sizes([end - first for first, end in found.box])
        text += f" It can depend on no pixel outside the frame of {sizes}."
    return text


def _place(place: tuple[int, ...]) -> str:
    return f"({', '.join(map(str, place))})"
