"""Which nodes became which between two stages next to each other, many to many."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from irconv.graph import Graph
from irconv.provenance import MOVEMENT, Record, heirs

# (id in the stage before, id in the stage after)
Link = tuple[int, int]


def links(before: Graph, after: Graph, records: Iterable[Record]) -> tuple[Link, ...]:
    """The pairs of nodes and parameters that `records` connect, where their ids differ.

    What passed away in between is passed through. An input of the graph is -1-k.
    """
    history = _History({v.uid: -1 - k for k, v in enumerate(after.inputs)}, set(_ids(after)))
    history.known.update(_ids(before))
    for record in records:
        history.add(record)
    return tuple(
        (old, new)
        for old in _ids(before)
        if old in history.edges and old not in history.present
        for new in history.reached(old)
    )


def _ids(graph: Graph) -> dict[int, None]:
    nodes = (node.uid for node in graph)
    return dict.fromkeys((*(v.uid for v in graph.parameters.values()), *nodes))


@dataclass(frozen=True, slots=True)
class _Edge:
    """From what a rule matched to what it made.

    `carries`: the new node has the value of an old one. `stands_in`: it was there already.
    `serves`: it moves data for others that the rule made, which compute.
    """

    new: int
    carries: bool
    stands_in: bool
    serves: bool


@dataclass
class _History:
    inputs: Mapping[int, int]
    present: set[int]
    known: set[int] = field(default_factory=set)
    edges: defaultdict[int, list[_Edge]] = field(default_factory=lambda: defaultdict(list))

    def add(self, record: Record) -> None:
        """Edges from what a rule matched to what it made, or to what stands in for it.

        A constant that an output hands on is what the node became, too.
        """
        names = {ref.name for ref in record.old if ref.kind != "parameter"}
        made = {ref.op for ref in record.new if ref.kind == "node" and ref.uid not in self.known}
        computes = bool(made - MOVEMENT)
        new = {
            ref.uid: _Edge(
                ref.uid,
                ref.name in names,
                ref.uid in self.known,
                computes and ref.op in MOVEMENT,
            )
            for ref in record.new
        }
        for old in record.old:
            told = record.new if made == {"Identity"} else heirs(old, record)
            targets = (new[ref.uid] for ref in told if ref.uid != old.uid)
            # a shape that a reshape read is not what the node became that stands in for it
            is_node = old.kind != "parameter"
            self.edges[old.uid] += (t for t in targets if is_node or not t.stands_in)
        self.known.update(new)

    def reached(self, old: int) -> list[int]:
        """What is there of all that was made from `old`, in the order in which it was made.

        Where another node stands in for one that passed away, it is reached only by the value. And
        a movement of data that passed away is the end: an `Unpack` that a rewrite of %a made and
        that the rewrite of the next %b took back makes nothing of %b out of %a.
        """
        seen: set[tuple[int, bool]] = set()
        pending = [_Edge(old, True, False, False)]
        found: dict[int, None] = {}
        while pending:
            at = pending.pop()
            if (at.new, at.carries) in seen:
                continue
            seen.add((at.new, at.carries))
            if at.new in self.present or at.new in self.inputs:
                found[self.inputs.get(at.new, at.new)] = None
            elif not at.serves:
                pending += [
                    replace(edge, carries=at.carries and (edge.carries or edge.stands_in))
                    for edge in reversed(self.edges.get(at.new, ()))
                    if at.carries or not edge.stands_in
                ]
        return list(found)
