"""Pairs the nodes of two graphs that have no history in common."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from irconv.inspector.links import Link
from irconv.inspector.stages import ShownNode, ShownParameter, ShownStage

T = TypeVar("T", ShownNode, ShownParameter)


def matched(
    before: ShownStage, after: ShownStage
) -> tuple[ShownStage, ShownStage, tuple[Link, ...]]:
    """The two stages, the ids of `after` made different from all of `before`, and links.

    Paired are nodes that compute the same from the same inputs and parameters (in order, where
    there are several), then those of one name.
    """
    shift = 1 + max((i for i in (*before.by_id, *(p.id for p in before.parameters))), default=0)
    other = _shifted(after, shift)
    pairs = _by_key(before.parameters, other.parameters, lambda p: p.name)
    pairs |= _by_key(before.nodes, other.nodes, _signatures(before, other))
    left = [n for n in before.nodes if n.id not in pairs]
    met = set(pairs.values())
    right = [n for n in other.nodes if n.id not in met]
    pairs |= _by_key(left, right, lambda n: n.name)
    return before, other, tuple(pairs.items())


def _shifted(stage: ShownStage, shift: int) -> ShownStage:
    def move(id_: int) -> int:
        return id_ + shift if id_ >= 0 else id_

    nodes = (
        replace(
            n,
            id=move(n.id),
            operands=tuple(o and (move(o[0]), o[1]) for o in n.operands),
        )
        for n in stage.nodes
    )
    return replace(
        stage,
        nodes=tuple(nodes),
        parameters=tuple(replace(p, id=move(p.id)) for p in stage.parameters),
        outputs=tuple(map(move, stage.outputs)),
    )


def _signatures(before: ShownStage, after: ShownStage) -> Callable[[ShownNode], Hashable]:
    """What a node computes from inputs and parameters, as a number."""
    known: dict[Hashable, int] = {}
    found: dict[int, int] = {}
    for stage in (before, after):
        for parameter in stage.parameters:
            key: Hashable = (parameter.name, parameter.type)
            found[parameter.id] = known.setdefault(key, len(known))
        for k in range(len(stage.inputs)):
            found[-1 - k] = known.setdefault(("input", k), len(known))
        for node in stage.nodes:
            key = (node.op, node.attributes, node.type, _operands(node, found))
            found[node.id] = known.setdefault(key, len(known))
    return lambda node: found[node.id]


def _operands(node: ShownNode, found: Mapping[int, int]) -> Hashable:
    return tuple(o and (found.get(o[0], o[0]), o[1]) for o in node.operands)


def _by_key(
    before: Sequence[T], after: Sequence[T], key: Callable[[T], Hashable]
) -> dict[int, int]:
    places: defaultdict[Hashable, list[int]] = defaultdict(list)
    for item in reversed(after):
        places[key(item)].append(item.id)
    return {item.id: places[key(item)].pop() for item in before if places[key(item)]}
