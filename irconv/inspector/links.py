"""Which nodes became which between two stages next to each other, many to many."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from irconv.graph import Graph
from irconv.provenance import Record, heirs

# (id in the stage before, id in the stage after)
Link = tuple[int, int]


def links(before: Graph, after: Graph, records: Iterable[Record]) -> tuple[Link, ...]:
    """The pairs of nodes and parameters that `records` connect, where their ids differ.

    What passed away in between is passed through. An input of the graph is -1-k.
    """
    inputs = {v.uid: -1 - k for k, v in enumerate(after.inputs)}
    down = _edges(records)
    present = _ids(after)
    found: dict[Link, None] = {}
    for old in _ids(before):
        if old in down and old not in present:
            for new in _reached(old, down, present, inputs):
                found[(old, new)] = None
    return tuple(found)


def _ids(graph: Graph) -> dict[int, None]:
    nodes = (node.uid for node in graph)
    return dict.fromkeys((*(v.uid for v in graph.parameters.values()), *nodes))


def _edges(records: Iterable[Record]) -> Mapping[int, list[int]]:
    down: defaultdict[int, list[int]] = defaultdict(list)
    for record in records:
        for old in record.old:
            down[old.uid] += [new.uid for new in heirs(old, record) if new.uid != old.uid]
    return down


def _reached(
    old: int, down: Mapping[int, Sequence[int]], present: Mapping[int, None], inputs: dict[int, int]
) -> list[int]:
    """What is there of all that was made from `old`, in the order in which it was made."""
    seen = {old}
    pending = list(reversed(down[old]))
    found = []
    while pending:
        uid = pending.pop()
        if uid in seen:
            continue
        seen.add(uid)
        if uid in present or uid in inputs:
            found.append(inputs.get(uid, uid))
        else:
            pending += reversed(down.get(uid, ()))
    return found
