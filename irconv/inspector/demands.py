"""Demands on a lowering: `fused:conv3` is that a rule fired on a node, `not ...` that none did."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from irconv.errors import UsageError, printable
from irconv.inspector.trace import Trace, TracedPass
from irconv.pipeline import Pass
from irconv.registry import nearest
from irconv.rewrite import Remark, Rule

GRAMMAR = "RULE:NODE or not RULE:NODE, such as fused:conv3"


@dataclass(frozen=True)
class Verdict:
    """One thing that was checked: what, whether it holds, and the reason in one line."""

    what: str
    holds: bool
    told: str


@dataclass(frozen=True)
class Demand:
    """`[not] RULE:NODE`: the rule fired on the node of the source, or on what became of it.

    RULE is a rule's name, or a pass's, which stands for all its rules; a pass's name may be in the
    past: `fused` is `fuse`, `folded` is `fold`. NODE is all that follows the first colon.
    """

    rule: str
    node: str
    negated: bool = False

    @classmethod
    def parse(cls, text: str) -> Demand:
        """Reads a demand; raises UsageError for what is none."""
        words = text.strip()
        negated = words.startswith("not ")
        rule, colon, node = (words[4:] if negated else words).partition(":")
        if not colon or not rule.strip() or not node.strip():
            raise UsageError("not a demand", expected=GRAMMAR, got=printable(text))
        return cls(rule.strip(), node.strip().removeprefix("%"), negated)

    def __str__(self) -> str:
        return f"{'not ' if self.negated else ''}{printable(self.rule)}:{printable(self.node)}"

    def judge(self, trace: Trace) -> Verdict:
        """Whether a lowering meets the demand.

        Raises UsageError where the source has no such node, or the pipeline no such rule.
        """
        traced = self._passes(trace)
        fired = next(self._firings(trace, traced), None)
        if fired is None:
            told = "it did not fire" if self.negated else self._reason(trace, traced)
            return Verdict(str(self), self.negated, told)
        return Verdict(str(self), not self.negated, f"{fired[1]} fired in pass {fired[0].name}")

    def _passes(self, trace: Trace) -> list[TracedPass]:
        """The passes that know the rule."""
        if self.node not in trace.source or trace.source.value(self.node).producer is None:
            names = [node.name for node in trace.source]
            hint = nearest(self.node[:60], names[:5000]) if len(names) <= 5000 else None
            raise UsageError(
                "the model has no such node", where=str(self), got=printable(self.node), hint=hint
            )
        found = [p for p in trace.passes if self._is_pass(p) or self.rule in _rules(p)]
        if not found:
            known = [n for p in trace.passes for n in (p.stage.pass_.name, *sorted(_rules(p)))]
            raise UsageError(
                "the pipeline has no such rule or pass",
                where=str(self),
                got=printable(self.rule),
                hint=nearest(self.rule[:60], list(dict.fromkeys(known))),
            )
        return found

    def _is_pass(self, traced: TracedPass) -> bool:
        return traced.stage.pass_.name in (
            self.rule,
            self.rule.removesuffix("d"),
            self.rule.removesuffix("ed"),
        )

    def _firings(
        self, trace: Trace, passes: Sequence[TracedPass]
    ) -> Iterator[tuple[TracedPass, str]]:
        """Where a rule that is meant fired on the node or on what became of it."""
        ours = self._descendants(trace)
        for traced in passes:
            for record in traced.stage.records:
                if not self._is_meant(traced, record.rule):
                    continue
                if any(ref.uid in ours for ref in record.old if ref.kind == "node"):
                    yield traced, record.rule

    def _is_meant(self, traced: TracedPass, rule: str) -> bool:
        return rule == self.rule or self._is_pass(traced)

    def _descendants(self, trace: Trace) -> dict[int, str]:
        """The names by uid of the node and of all that was made of it."""
        uid = trace.source.node(self.node).uid
        made = trace.result.provenance.descendants([uid])
        return {uid: self.node} | {ref.uid: ref.name for ref in made if ref.kind == "node"}

    def _reason(self, trace: Trace, passes: Sequence[TracedPass]) -> str:
        """Why no rule that is meant fired: what it declined, in its words."""
        names = set(self._descendants(trace).values())
        remarks = [
            remark
            for traced in passes
            for remark in traced.stage.remarks
            if remark.node in names and self._is_meant(traced, remark.rule)
        ]
        if remarks:
            return "; ".join(map(_told, dict.fromkeys(remarks)))
        return "; ".join(dict.fromkeys(self._nothing(trace, traced) for traced in passes))

    def _nothing(self, trace: Trace, traced: TracedPass) -> str:
        """What a pass saw of the node where none of its rules fired or told why not."""
        ours = self._descendants(trace)
        node = next((n for n in traced.stage.before if n.uid in ours), None)
        what = f"{self.rule} of {traced.name}" if not self._is_pass(traced) else traced.name
        if node is None:
            return f"{what} did not see it: it was gone before"
        users = [f"{u.op.name} %{printable(u.name)}" for v in node.results for u in v.users]
        used = f", used by {', '.join(users[:3])}" if users else ""
        return f"{what} left alone the {node.op.name} %{printable(node.name)}{used}"


def _told(remark: Remark) -> str:
    return f"{remark.rule} declined: {printable(remark.condition, 300)}"


def _rules(traced: TracedPass) -> set[str]:
    """The names of the rules that a pass has: those that were heard of, and those in its module."""
    heard = {*traced.stage.fired, *(r.rule for r in traced.stage.remarks)}
    return heard | _declared(traced.stage.pass_)


def _declared(pass_: Pass) -> set[str]:
    module = sys.modules.get(type(pass_).__module__)
    found = list(vars(module).values()) if module is not None else []
    siblings = [m for m in found if getattr(m, "__name__", "").startswith("irconv.passes.")]
    found += [value for m in siblings for value in vars(m).values()]
    return {value.name for value in found if isinstance(value, Rule)}
