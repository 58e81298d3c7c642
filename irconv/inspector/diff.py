"""What differs between two stages: nodes added, removed, changed, moved; names and numbers do not
count.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from irconv.graph import Graph
from irconv.inspector.links import Link, links
from irconv.inspector.matching import matched
from irconv.inspector.stages import ShownNode, ShownParameter, ShownStage, shown_stage


@dataclass(frozen=True, slots=True)
class Change:
    """A node that is in both stages, in another form. `what`: of op, attributes, type, operands."""

    before: int
    after: int
    what: tuple[str, ...]


@dataclass(frozen=True)
class Diff:
    """Ids of nodes, each node of either stage in exactly one of the first four.

    `replaced`: which of the removed became which of the added, many to many, in groups. `moved`:
    pairs, unchanged or changed, that stand in another order. Nodes are the same where their ids
    are, or where one became the other alone; operands are, where the one became the other.
    """

    before: ShownStage
    after: ShownStage
    unchanged: tuple[Link, ...]
    changed: tuple[Change, ...]
    removed: tuple[int, ...]
    added: tuple[int, ...]
    moved: tuple[Link, ...]
    replaced: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]
    parameters: tuple[Link, ...]  # those that are the same

    @property
    def is_empty(self) -> bool:
        """Whether nothing was added, removed, changed or moved."""
        return not (self.changed or self.removed or self.added or self.moved)


def diff(before: ShownStage, after: ShownStage, joined: Iterable[Link] = ()) -> Diff:
    """The difference of two stages, `joined` by the links between them (see `joined_links`)."""
    heirs: defaultdict[int, list[int]] = defaultdict(list)
    origins: defaultdict[int, list[int]] = defaultdict(list)
    for old, new in joined:
        heirs[old].append(new)
        if old in before.by_id:
            origins[new].append(old)
    same = [(n.id, n.id) for n in before.nodes if n.id in after.by_id]
    pairs = [*same, *_lone(before, after, heirs, origins)]
    what = {pair: _what(before.by_id[pair[0]], after.by_id[pair[1]], heirs) for pair in pairs}
    paired, met = {a for a, _ in pairs}, {b for _, b in pairs}
    removed = tuple(n.id for n in before.nodes if n.id not in paired)
    added = tuple(n.id for n in after.nodes if n.id not in met)
    return Diff(
        before,
        after,
        tuple(pair for pair in pairs if not what[pair]),
        tuple(Change(*pair, what[pair]) for pair in pairs if what[pair]),
        removed,
        added,
        _moved(pairs, before, after),
        _groups(removed, added, heirs),
        _same_parameters(before.parameters, after.parameters, heirs),
    )


def _lone(
    before: ShownStage,
    after: ShownStage,
    heirs: Mapping[int, Sequence[int]],
    origins: Mapping[int, Sequence[int]],
) -> Iterator[Link]:
    """Pairs of nodes that each became nothing but the other."""
    for node in before.nodes:
        new = [i for i in heirs.get(node.id, ()) if i in after.by_id]
        gone = node.id not in after.by_id and all(i not in before.by_id for i in new)
        if gone and len(new) == 1 and origins[new[0]] == [node.id]:
            yield node.id, new[0]


def diff_graphs(before: Graph, after: Graph) -> Diff:
    """The difference of any two graphs.

    Where one was lowered from the other, nodes are followed through the rewrites; else those are
    paired that compute the same, then those of the same name.
    """
    a, b = shown_stage(before), shown_stage(after)
    known = len(before.provenance)
    if before.provenance.records == after.provenance.records[:known] and _share(a, b):
        return diff(a, b, links(before, after, after.provenance.records[known:]))
    return diff(*matched(a, b))


def _share(a: ShownStage, b: ShownStage) -> bool:
    return not a.nodes or not b.nodes or bool(a.by_id.keys() & b.by_id.keys())


def joined_links(
    stages: Sequence[ShownStage], steps: Sequence[Sequence[Link]], first: int, last: int
) -> tuple[Link, ...]:
    """The links between stages `first` < `last`, through all stages in between."""
    reach = {i: [i] for i in _ids(stages[first])}
    for index in range(first, last):
        heirs: defaultdict[int, list[int]] = defaultdict(list)
        for old, new in steps[index]:
            heirs[old].append(new)
        there = set(_ids(stages[index + 1]))
        reach = {
            i: list(
                dict.fromkeys(n for at in now for n in heirs.get(at, [at] if at in there else []))
            )
            for i, now in reach.items()
        }
    return tuple((i, n) for i, found in reach.items() for n in found if n != i)


def _ids(stage: ShownStage) -> Iterator[int]:
    yield from (p.id for p in stage.parameters)
    yield from (n.id for n in stage.nodes)
    yield from range(-len(stage.inputs), 0)


def _what(a: ShownNode, b: ShownNode, heirs: Mapping[int, Sequence[int]]) -> tuple[str, ...]:
    found = [name for name in ("op", "attributes", "type") if getattr(a, name) != getattr(b, name)]
    same = len(a.operands) == len(b.operands) and all(
        x == y or (x is not None and y is not None and y[0] in heirs.get(x[0], ()))
        for x, y in zip(a.operands, b.operands, strict=True)
    )
    return tuple(found if same else [*found, "operands"])


def _moved(pairs: Sequence[Link], before: ShownStage, after: ShownStage) -> tuple[Link, ...]:
    """The fewest pairs without which the rest stand in the same order."""
    place = {n.id: index for index, n in enumerate(before.nodes)}
    goal = {n.id: index for index, n in enumerate(after.nodes)}
    ordered = sorted(pairs, key=lambda pair: place[pair[0]])
    stay = longest_rising([goal[new] for _, new in ordered])
    return tuple(pair for index, pair in enumerate(ordered) if index not in stay)


def longest_rising(numbers: Sequence[int]) -> set[int]:
    """Positions of a longest rising subsequence of different numbers (patience sorting)."""
    tops: list[int] = []
    places: list[int] = []
    previous: list[int] = []
    for index, number in enumerate(numbers):
        pile = bisect_left(tops, number)
        tops[pile : pile + 1] = [number]
        places[pile : pile + 1] = [index]
        previous.append(places[pile - 1] if pile else -1)
    found = set()
    at = places[-1] if places else -1
    while at >= 0:
        found.add(at)
        at = previous[at]
    return found


def _groups(
    removed: Sequence[int], added: Sequence[int], heirs: Mapping[int, Sequence[int]]
) -> tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]:
    """Removed and added nodes that links connect."""
    there, gone = set(added), set(removed)
    makers: defaultdict[int, list[int]] = defaultdict(list)
    for old in removed:
        for new in heirs.get(old, ()):
            makers[new].append(old)
    found = []
    for first in removed:
        if first not in gone:
            continue
        olds, news = {first}, set[int]()
        pending = [first]
        while pending:
            fresh = {n for n in heirs.get(pending.pop(), ()) if n in there} - news
            news |= fresh
            more = {o for n in fresh for o in makers[n]} - olds
            olds |= more
            pending += more
        gone -= olds
        if news:
            found.append(
                (tuple(o for o in removed if o in olds), tuple(n for n in added if n in news))
            )
    return tuple(found)


def _same_parameters(
    before: Sequence[ShownParameter],
    after: Sequence[ShownParameter],
    heirs: Mapping[int, Sequence[int]],
) -> tuple[Link, ...]:
    """Parameters that are the same: by id, or linked and of equal content."""
    there = {p.id: p for p in after}
    found: dict[int, int] = {}
    for old in before:
        for new in (old.id, *heirs.get(old.id, ())):
            if new in there and old.equals(there[new]):
                found[old.id] = new
                break
    return tuple(found.items())
