"""The text form of a diff: the lines of both stages, marked; what is the same stands in one row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from irconv.inspector.diff import Diff, longest_rising


@dataclass(frozen=True, slots=True)
class DiffLine:
    """A line, its mark, and its places in the two stages.

    The marks: ` ` the same, `-` only before, `+` only after, `<` moved from here, `>` to here.
    """

    mark: str
    before: int | None
    after: int | None
    text: str

    def __str__(self) -> str:
        return f"{self.mark} {self.text}"


def diff_text(found: Diff, context: int = 3) -> str:
    """Marked lines with some lines of context around them; empty if all is the same."""
    return "\n".join(_with_context(diff_rows(found), context))


def diff_rows(found: Diff) -> list[DiffLine]:
    """All lines of both stages, each once. A line of a node that is the same is shown as it is
    after, even where names in it differ.
    """
    plan = _Plan.of(found)
    rows: list[DiffLine] = []
    at = 0
    for place, text in enumerate(found.before.lines):
        goal = plan.partner.get(place)
        if goal is None:
            rows.append(plan.lone_before(place, text))
            continue
        rows += plan.new_rows(at, goal)
        at = goal + 1
        if place in plan.altered:
            rows.append(DiffLine("-", place, None, text))
            rows.append(DiffLine("+", None, goal, found.after.lines[goal]))
        else:
            rows.append(DiffLine(" ", place, goal, found.after.lines[goal]))
    return rows + plan.new_rows(at, len(found.after.lines))


@dataclass
class _Plan:
    """Which lines belong together. `partner` rises; `quiet` are parameters out of order."""

    found: Diff
    partner: dict[int, int] = field(default_factory=dict)
    quiet: dict[int, int] = field(default_factory=dict)
    shown: set[int] = field(default_factory=set)
    altered: set[int] = field(default_factory=set)
    going: set[int] = field(default_factory=set)
    coming: set[int] = field(default_factory=set)

    @classmethod
    def of(cls, found: Diff) -> _Plan:
        plan = cls(found)
        a, b = found.before, found.after
        old = {n.id: n.line for n in a.nodes} | {p.id: p.line for p in a.parameters}
        new = {n.id: n.line for n in b.nodes} | {p.id: p.line for p in b.parameters}
        moved = set(found.moved)
        changed = [(c.before, c.after) for c in found.changed]
        for x, y in (*found.unchanged, *changed):
            if (x, y) not in moved:
                plan.partner[old[x]] = new[y]
        plan._place_parameters(sorted((old[x], new[y]) for x, y in found.parameters))
        plan.altered = {old[x] for x, _ in changed}
        plan.going = {old[x] for x, _ in moved}
        plan.coming = {new[y] for _, y in moved}
        if a.lines and b.lines:
            plan.partner |= {0: 0, len(a.lines) - 1: len(b.lines) - 1}
            plan.altered |= {0} if a.lines[0] != b.lines[0] else set()
        return plan

    def _place_parameters(self, pairs: list[tuple[int, int]]) -> None:
        rising = longest_rising([goal for _, goal in pairs])
        for index, (place, goal) in enumerate(pairs):
            # the order of parameters says nothing: one out of order is shown once, where it was
            (self.partner if index in rising else self.quiet)[place] = goal
        self.shown = set(self.quiet.values())

    def lone_before(self, place: int, text: str) -> DiffLine:
        """The row of a line before that has no partner in order."""
        if place in self.quiet:
            goal = self.quiet[place]
            return DiffLine(" ", place, goal, self.found.after.lines[goal])
        return DiffLine("<" if place in self.going else "-", place, None, text)

    def new_rows(self, start: int, end: int) -> list[DiffLine]:
        """The rows of lines after that no line before is paired with."""
        lines = self.found.after.lines
        return [
            DiffLine(">" if place in self.coming else "+", None, place, lines[place])
            for place in range(start, end)
            if place not in self.shown
        ]


def _with_context(rows: list[DiffLine], context: int) -> Iterator[str]:
    near = [False] * len(rows)
    for index, row in enumerate(rows):
        if row.mark != " ":
            low, high = max(index - context, 0), min(index + context + 1, len(rows))
            near[low:high] = [True] * (high - low)
    skipped = 0
    for row, shown in zip(rows, near, strict=True):
        if shown and skipped:
            yield f"@@ {skipped} the same @@"
        skipped = 0 if shown else skipped + 1
        if shown:
            yield str(row)
    if skipped and any(near):
        yield f"@@ {skipped} the same @@"
