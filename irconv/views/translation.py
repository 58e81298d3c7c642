"""The translation view: shift the input, and see the output shift with it, or where it does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from irconv.errors import UsageError, printable
from irconv.graph import Node
from irconv.types import Array
from irconv.views import names
from irconv.views.activation_maps import image_block
from irconv.views.activations import activations, graph_of, graph_up_to, inputs_of
from irconv.views.blocks import Block, below, beside, headed
from irconv.views.maps import array_block, drawn, key_block, limit_of
from irconv.views.picture import Picture
from irconv.views.sight_table import at_batch_one, receptive_fields, times

WIDTH = 170.0
# results that differ by less, of the largest, are called equal: float64 rounds far below it
EQUAL = 1e-9


@dataclass(frozen=True, eq=False)
class Translation:
    """A node's answers to an image and to the same image shifted, zeros entering at the border.

    `expected` is by how much the answers should move: the shift of the input, divided by the step
    from one neuron's field to the next; None where that is no whole number. `answers`, `after` and
    `moved` are [C, *spatial] (float64): to the image, to the shifted image, and the first of them
    shifted by `expected` (NaN where nothing moved to; not shifted where that is None). `equal`
    [*spatial] says where `after` and `moved` agree in all channels.
    """

    image: Array
    shifted: Array
    answers: Array
    after: Array
    moved: Array
    equal: Array
    shift: tuple[int, ...]
    step: tuple[Fraction, ...]
    expected: tuple[int, ...] | None

    @classmethod
    def of(cls, node: Node, image: Any, shift: Sequence[int]) -> Translation:
        """Runs the node twice, in float64."""
        source = graph_up_to(node)
        (given,) = inputs_of(source, image).values()
        graph = at_batch_one(source)
        step = receptive_fields(graph)[node.name].jump
        if len(shift) != given.ndim - 2 or len(step) != len(shift):
            raise UsageError(
                "a shift has one number for each axis of the image",
                expected=given.ndim - 2,
                got=list(shift),
            )
        both = given, shifted(given, (0, 0, *shift), 0.0)
        value, only = graph.node(node.name).results[0], graph.inputs[0].name
        first, second = (activations(graph, {only: a}, float64=True)[value][0] for a in both)
        if first.ndim != len(shift) + 1:
            raise UsageError("the node's answers have no places", where=f"%{printable(node.name)}")
        expected = _expected(shift, step)
        moved = first if expected is None else shifted(first, (0, *expected), np.nan)
        limit = max(limit_of(first), limit_of(second))
        equal = (np.abs(moved - second) <= EQUAL * limit).all(0)
        shown = (both[0][0], both[1][0], first, second, moved, equal)
        return cls(*shown, tuple(shift), step, expected)


def _expected(shift: Sequence[int], step: Sequence[Fraction]) -> tuple[int, ...] | None:
    if not all(step):
        return None
    found = [Fraction(s) / j for s, j in zip(shift, step, strict=True)]
    return tuple(int(f) for f in found) if all(f.denominator == 1 for f in found) else None


def shifted(array: Array, shift: Sequence[int], fill: float) -> Array:
    """`array` moved along each axis (forward where positive); `fill` enters."""
    found = np.full_like(array, fill)
    if any(abs(s) >= n for s, n in zip(shift, array.shape, strict=True)):
        return found
    into = tuple(slice(max(s, 0), n + min(s, 0)) for s, n in zip(shift, array.shape, strict=True))
    out = tuple(slice(max(-s, 0), n - max(s, 0)) for s, n in zip(shift, array.shape, strict=True))
    found[into] = array[out]
    return found


def translation(
    node: Node, image: Any, shift: Sequence[int] = (0, 2), *, channel: int | None = None
) -> Picture:
    """What `node` answers to an image and to the same image shifted by `shift` pixels, and where
    the second is not simply the first one shifted: at the border, and with a stride or a pool where
    the shift is no multiple of its step.

    `image` is [C, *spatial]; `channel` is the map that is drawn, the strongest if None; all maps
    are compared. UsageError for a graph with several inputs or images of three dimensions.
    """
    if len(graph_of(node).inputs) != 1 or len(shift) > 2:
        raise UsageError("one image of one or two dimensions is shifted", got=list(shift))
    found = Translation.of(node, image, shift)
    best = int(found.answers.reshape(len(found.answers), -1).max(1).argmax())
    chosen = best if channel is None else channel
    if not 0 <= chosen < len(found.answers):
        raise UsageError("no such channel", expected=f"0 to {len(found.answers) - 1}", got=chosen)
    facts = {
        "expected": found.expected,
        "step": found.step,
        "places": int(found.equal.size),
        "equal": int(found.equal.sum()),
        "largest": limit_of(found.after),
        "difference": limit_of(found.after - found.moved),
        "where": found.equal,
    }
    title = f"Shift the input, and {printable(node.name, 40)} shifts"
    part = f"map {chosen} of {len(found.answers)}" if len(found.answers) > 1 else ""
    name = graph_of(node).inputs[0].name
    inner = _drawing(found, chosen, name, printable(node.name, 30))
    return drawn(inner, title, _caption(found, node), facts, part)


def _caption(found: Translation, node: Node) -> str:
    many, equal = found.equal.size, int(found.equal.sum())
    by = _numbers(found.shift)
    steps = times(found.step, "\u00d7")
    name = printable(node.name, 40)
    if found.expected is None:
        differ = names.short(limit_of(found.after - found.moved))
        return (
            f"The input moves by {by} pixels, but the neurons of {name} stand {steps} pixels "
            f"apart: no shift of its answers is a shift by that much. They change by up to "
            f"{differ} (the largest answer is {names.short(limit_of(found.after))})."
        )
    moved = _numbers(found.expected)
    text = (
        f"The input moves by {by} pixels; the answers of {name}, whose neurons stand {steps} "
        f"apart, move by {moved}. At {equal} of {many} places they are the same as before"
    )
    if equal == many:
        return text + "."
    return text + "; at the others the field of a neuron reaches over the border."


def _numbers(shift: Sequence[int]) -> str:
    return f"({', '.join(map(str, shift))})" if len(shift) > 1 else str(shift[0])


def _drawing(found: Translation, channel: int, name: str, node: str) -> Block:
    limit = max(limit_of(found.answers[channel]), limit_of(found.after[channel]))
    ends = (-limit, limit)

    def answers(array: Array) -> Block:
        return array_block(array[channel], WIDTH, "signed", ends)

    both_images = np.stack([found.image, found.shifted])
    shades = (float(both_images.min()), float(both_images.max()))
    apart = np.abs(found.after - found.moved)[channel]
    images = [
        image_block(found.image, WIDTH, name, shades),
        image_block(found.shifted, WIDTH, f"{name}, shifted", shades),
    ]
    both = [
        headed(node, answers(found.answers)),
        headed(f"{node} of the shifted image", answers(found.after)),
    ]
    difference = headed(
        "difference from the first, shifted"
        if found.expected is not None
        else "difference from the first",
        array_block(apart, WIDTH, "signed", ends),
    )
    note = below([difference, key_block("signed", -limit, limit)], 12)
    return beside([below(images, 22), below(both, 22), note], 28, middle=False)
