"""Which nodes of a big graph are drawn: what changed, and what stands around it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# a graph of more nodes than this is not drawn whole
GUARD = 2000
DRAWN = 600
STEPS = 3


def shown_ids(stages: Sequence[Mapping[str, Any]], index: int) -> set[int] | None:
    """The ids of the nodes of stage `index` that are drawn; None for all of them.

    Of more than 2,000 nodes: those that this stage made, those that the next one replaces, and
    their neighbours up to three edges away; at most 600. Where nothing changes, the first 600.
    """
    nodes = stages[index]["nodes"]
    if len(nodes) <= GUARD:
        return None
    own = [int(n["id"]) for n in nodes]
    changed: dict[int, None] = {}
    for other in (index - 1, index + 1):
        if 0 <= other < len(stages):
            theirs = {int(n["id"]) for n in stages[other]["nodes"]}
            changed.update(dict.fromkeys(i for i in own if i not in theirs))
    return _around(nodes, changed, DRAWN) if changed else set(own[:DRAWN])


def _around(nodes: Iterable[Mapping[str, Any]], start: Iterable[int], limit: int) -> set[int]:
    near = defaultdict(list)
    for node in nodes:
        for operand in node["inputs"]:
            if operand >= 0:
                near[node["id"]].append(operand)
                near[operand].append(node["id"])
    # half of the room at least is for what changed, the rest for what stands around it
    found = dict.fromkeys(list(start)[: limit * 3 // 4])
    edge = list(found)
    for _ in range(STEPS):
        reached = dict.fromkeys(n for i in edge for n in near[i] if n not in found)
        edge = list(reached)[: limit - len(found)]
        found.update(dict.fromkeys(edge))
    return set(found)
