"""Where things come from: edges from old to new nodes, values and parameters, over all passes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from irconv.late import Late

if TYPE_CHECKING:
    import networkx as nx
else:
    nx = Late("networkx")


# ops that compute nothing
MOVEMENT = frozenset(
    ("Flatten", "Identity", "Pack", "Reshape", "Squeeze", "Transpose", "Unpack", "Unsqueeze")
)


@dataclass(frozen=True, slots=True)
class Ref:
    """One node, value or parameter as it was at some stage. `uid` tells it from namesakes of other
    stages.
    """

    uid: int
    kind: str  # "node", "value" or "parameter"
    name: str
    op: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """One application of a rule: what it matched and what it made."""

    pass_name: str
    rule: str
    source: str  # file and line of the rule, e.g. "passes/fuse.py:40"
    old: tuple[Ref, ...]
    new: tuple[Ref, ...]


@dataclass(frozen=True, slots=True)
class _Edges:
    """The first `count` records as edges between uids; `refs` is in the order of the log.

    `serving`: nodes that move data for others that the same rule made, which compute. Who takes one
    back (an `Unpack`, that the next layer needs not) is not made of what the rule was applied to.
    """

    count: int
    serving: set[int]
    down: nx.DiGraph[int]
    up: nx.DiGraph[int]
    refs: dict[int, Ref]
    place: dict[int, int]

    def told(self, uids: Iterable[int]) -> tuple[Ref, ...]:
        return tuple(self.refs[u] for u in sorted(uids, key=self.place.__getitem__))


@dataclass(slots=True)
class Provenance:
    """The log of all rewrites that led to a graph; ancestors and descendants are computed when
    asked.
    """

    records: list[Record] = field(default_factory=list)
    # a listing asks once for every node
    _edges: _Edges | None = field(default=None, repr=False, compare=False)

    def copy(self) -> Provenance:
        return Provenance(list(self.records))

    def add(self, record: Record) -> None:
        self.records.append(record)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def __len__(self) -> int:
        return len(self.records)

    def originals(self, uids: Iterable[int]) -> tuple[Ref, ...]:
        """The first ancestors of `uids` that some rewrite replaced, in the order of the log; none
        if untouched.
        """
        edges = self._present_edges()
        uids = tuple(uids)
        for stops in (edges.serving, set[int]()):
            above = _reach(edges.up, uids, stops)
            found = [u for u in above if edges.down.in_degree(u) == 0]
            if found:
                return edges.told(found)
        return ()

    def descendants(self, uids: Iterable[int]) -> tuple[Ref, ...]:
        """All that was made from `uids`, over any number of passes, in the order of the log."""
        edges = self._present_edges()
        return edges.told(_reach(edges.down, uids, edges.serving))

    def _present_edges(self) -> _Edges:
        if self._edges is None or self._edges.count != len(self.records):
            self._edges = self._built_edges()
        return self._edges

    def _built_edges(self) -> _Edges:
        edges: nx.DiGraph[int] = nx.DiGraph()
        refs: dict[int, Ref] = {}
        serving: set[int] = set()
        for record in self.records:
            made = [r for r in record.new if r.kind == "node" and r.uid not in refs]
            if any(r.op not in MOVEMENT for r in made):
                serving.update(r.uid for r in made if r.op in MOVEMENT)
            for ref in (*record.old, *record.new):
                refs.setdefault(ref.uid, ref)
            edges.add_edges_from(
                (a.uid, b.uid) for a in record.old for b in heirs(a, record) if a.uid != b.uid
            )
        place = {uid: index for index, uid in enumerate(refs)}
        return _Edges(len(self.records), serving, edges, edges.reverse(copy=False), refs, place)


def heirs(old: Ref, record: Record) -> list[Ref]:
    """What `old` became: what is of its kind (a value a value, a parameter its product), or all."""
    return [new for new in record.new if new.kind == old.kind] or list(record.new)


def _reach(edges: nx.DiGraph[int], uids: Iterable[int], stops: set[int]) -> set[int]:
    """All that edges lead to from `uids`, not going on from `stops`."""
    found: set[int] = set()
    pending = [uid for uid in uids if uid in edges]
    while pending:
        new = [n for n in edges[pending.pop()] if n not in found]
        found.update(new)
        pending += (n for n in new if n not in stops)
    return found
