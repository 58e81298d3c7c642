"""For each pass: the rewrites, links, differences and remarks that a trace must show, by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from irconv.inspector.diff import Diff
from irconv.inspector.stages import ShownStage
from irconv.inspector.trace import Trace, trace
from irconv.registry import passes
from irconv.text import parse
from tests.test_golden import FOLDER, constants, halves

STORIES_FILE = Path(__file__).with_name("inspector_stories.txt")


def stories() -> dict[str, str]:
    """What was read and found right, by case in tests/cases: each rewrite (rule: nodes before ->
    nodes after), then what became what, then the diff, then the remarks.
    """
    sections = STORIES_FILE.read_text("utf-8").split("== ")[1:]
    return {case: text.strip() for case, _, text in (s.partition("\n") for s in sections)}


STORIES = stories()


def told(stage: ShownStage, id_: int) -> str:
    if id_ < 0:
        return f"%{stage.inputs[-1 - id_][0]}"
    if id_ in stage.by_id:
        return f"{stage.by_id[id_].op} %{stage.by_id[id_].name}"
    return next(f"%{p.name}" for p in stage.parameters if p.id == id_)


def head(line: str) -> str:
    """`Conv %c` of the line of a node."""
    results, _, rest = line.partition(" = ")
    return f"{rest.partition('(')[0]} {results}"


def rewrites(found: Trace) -> list[str]:
    """The rewrites of the last pass."""
    lines = []
    for rewrite in found.passes[-1].stage.rewrites:
        before, after = (
            ", ".join(head(line) for _, line in side) for side in (rewrite.before, rewrite.after)
        )
        lines.append(f"{rewrite.record.rule}: {before} -> {after}".rstrip())
    return lines


def became(found: Trace) -> list[str]:
    """The links between nodes, by the node before."""
    before, after = found.shown[-2:]
    targets: dict[int, list[int]] = {}
    for old, new in found.links[-1]:
        if old in before.by_id:
            targets.setdefault(old, []).append(new)
    return [
        f"{told(before, old)} became {', '.join(told(after, n) for n in new)}"
        for old, new in targets.items()
    ]


def differences(diff: Diff) -> list[str]:
    lines = [f"removed {told(diff.before, i)}" for i in diff.removed]
    lines += [f"added {told(diff.after, i)}" for i in diff.added]
    lines += [f"changed {told(diff.after, c.after)}: {', '.join(c.what)}" for c in diff.changed]
    lines += [f"moved {told(diff.after, new)}" for _, new in diff.moved]
    same = [told(diff.after, new) for _, new in diff.unchanged]
    return [*lines, *([f"same {', '.join(same)}"] if same else [])]


def story(case: str) -> str:
    path = FOLDER / f"{case}.ir"
    listing, pipeline, _ = halves(path)
    found = trace(parse(listing, constants(path)), pipeline)
    remarks = [str(r) for r in found.passes[-1].stage.remarks]
    lines = [*rewrites(found), *became(found), *differences(found.diff(-2, -1)), *remarks]
    return "\n".join(lines)


@pytest.mark.parametrize("case", STORIES)
def test_story(case: str) -> None:
    assert story(case) == STORIES[case]


def test_each_pass_has_a_story_with_every_part() -> None:
    for name in passes():
        told_of = "\n".join(text for case, text in STORIES.items() if case.startswith(f"{name}/"))
        for part in (" -> ", " became ", " declined: "):
            assert part in told_of, f"{name}: {part}"
