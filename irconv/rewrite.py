"""What a rewrite is, and the driver that applies rules until none fires."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import PurePath
from typing import Any, TypeAlias

from irconv.algorithms import AlgorithmChoice
from irconv.errors import GraphError, PassError, printable
from irconv.graph import STEM_LENGTH, Graph, Node, Value
from irconv.op import Op
from irconv.ops.identity import Identity
from irconv.provenance import Record, Ref
from irconv.types import Array, TensorType
from irconv.verify import fits

Replacement: TypeAlias = "Value | Sequence[Value] | None"


@dataclass(frozen=True, slots=True)
class Rule:
    """A named rewrite: a function from a node to the value(s) that replace its results, or None."""

    name: str
    ops: tuple[type[Op], ...]
    function: Callable[..., Replacement]
    source: str

    def with_options(self, **options: Any) -> Rule:
        """The same rule, its function called with these keywords."""
        return replace(self, function=partial(self.function, **options))

    def matches(self, node: Node) -> bool:
        # not isinstance: a Mean is a Sum to Python, and to no rule
        return not self.ops or type(node.op) in self.ops


def rule(*ops: type[Op]) -> Callable[[Callable[..., Replacement]], Rule]:
    """Makes a rule of a function `(node, rewriter) -> new value(s) or None`, tried on nodes of
    these ops only (on all nodes if none is named). An empty tuple erases a dead node.
    """

    def decorate(function: Callable[..., Replacement]) -> Rule:
        code = function.__code__
        path = PurePath(code.co_filename)
        source = f"{path.parent.name}/{path.name}:{code.co_firstlineno}"
        return Rule(function.__name__, ops, function, source)

    return decorate


@dataclass(frozen=True, slots=True)
class Remark:
    """A rule looked at a node and declined: the condition that failed."""

    rule: str
    node: str
    condition: str

    def __str__(self) -> str:
        return f"%{printable(self.node)}: {self.rule} declined: {self.condition}"


@dataclass(frozen=True, slots=True)
class Rewrite:
    """One application of a rule as it was seen: its record, and (uid, line) of the nodes that went
    and of those that came.
    """

    record: Record
    before: tuple[tuple[int, str], ...]
    after: tuple[tuple[int, str], ...]


@dataclass(slots=True)
class Rewriter:
    """All edits of a graph by one pass; it records provenance, remarks and counts as it goes.

    `describe` writes a node down for somebody who watches; without it no rewrite is kept. After
    `at_most` rewrites nothing fires any more: bisection asks what the first ones do.
    """

    graph: Graph
    pass_name: str
    describe: Callable[[Node], str] | None = None
    at_most: int | None = None
    remarks: list[Remark] = field(default_factory=list)
    fired: Counter[str] = field(default_factory=Counter)
    choices: dict[str, AlgorithmChoice] = field(default_factory=dict)
    rewrites: list[Rewrite] = field(default_factory=list)
    _seen: list[tuple[int, str]] = field(default_factory=list)
    _rule: Rule | None = None
    _anchor: Node | None = None
    _made: list[Node] = field(default_factory=list)
    _made_parameters: list[Value] = field(default_factory=list)
    _limit: int = 0
    _refined: bool = False
    _known: dict[Remark, None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._limit = 1000 + 50 * len(self.graph)

    # -- what rules call -------------------------------------------------------------------------

    def emit(self, op: Op, *operands: Value | None, name: str | None = None) -> Value:
        """A new node with one result, in front of the node being rewritten.

        `name` is added to that node's name: `emit(Im2Col(...), x, name="cols")` at `%c1` makes
        `%c1.cols`. The value that is returned as the replacement gets the old value's name.
        """
        return self.emit_node(op, operands, name=name).result

    def emit_node(self, op: Op, operands: Iterable[Value | None], name: str | None = None) -> Node:
        """As `emit`, for any number of results."""
        stem = self._stem(name or op.name.lower())
        names = [stem] if op.n_results == 1 else [f"{stem}.{i}" for i in range(op.n_results)]
        node = self.graph.add_node(op, tuple(operands), names, before=self._anchor)
        self._made.append(node)
        return node

    def constant(self, array: Array, name: str, trainable: bool = False) -> Value:
        """A new parameter, named as in `emit`."""
        fresh = self.graph.fresh_name(self._stem(name))
        value = self.graph.add_parameter(fresh, array, trainable=trainable)
        self._made_parameters.append(value)
        return value

    def declined(self, node: Node, condition: str) -> Value | None:
        """Notes that the current rule looked at `node` and which condition failed.

        Always None, so that a rule may return it.
        """
        remark = Remark(self._rule.name if self._rule else self.pass_name, node.name, condition)
        if remark not in self._known:
            self._known[remark] = None
            self.remarks.append(remark)
        return None

    def _stem(self, name: str) -> str:
        return f"{self._anchor.name[:STEM_LENGTH]}.{name}" if self._anchor is not None else name

    # -- what passes call ------------------------------------------------------------------------

    def apply(self, rules: Sequence[Rule]) -> None:
        """Tries the rules, in their order, on every node until none fires any more."""
        queue = deque(self.graph.nodes)
        queued = set(queue)
        while queue:
            node = queue.popleft()
            queued.discard(node)
            if node.is_erased:
                continue
            for touched in self._first_that_fires(node, rules):
                if not touched.is_erased and touched not in queued:
                    queued.add(touched)
                    queue.append(touched)
        self.finish()

    def chose(self, node: Node, choice: AlgorithmChoice) -> None:
        """Notes how `node` will be computed, for the report."""
        self.choices[node.name] = choice

    def finish(self) -> None:
        """Brings the types up to date after sizes became known."""
        if self._refined:
            self.graph.infer_again()
            self._refined = False

    def _first_that_fires(self, node: Node, rules: Sequence[Rule]) -> list[Node]:
        for candidate in rules:
            if candidate.matches(node):
                touched = self.attempt(candidate, node)
                if touched is not None:
                    return touched
        return []

    def attempt(self, candidate: Rule, node: Node) -> list[Node] | None:
        """Applies one rule to one node; the nodes worth another look, or None where it did not
        fire.
        """
        if self._is_spent():
            return None
        self._rule, self._anchor = candidate, node
        self._made, self._made_parameters = [], []
        result = candidate.function(node, self)
        if result is None:
            if self._made or self._made_parameters:
                self._drop_made()
            return None
        values = (result,) if isinstance(result, Value) else tuple(result)
        return self._replace(node, values)

    def new_round(self) -> None:
        """Forgets the remarks: what still holds is said again by rules that see every node anew."""
        self.remarks.clear()
        self._known.clear()

    def erase_parameter(self, value: Value, rule_: Rule) -> None:
        """Removes a parameter that nothing uses, in the name of `rule_`."""
        if self._is_spent():
            return
        self._rule, self._seen = rule_, []
        self.graph.remove_parameter(value)
        self._record([_parameter_ref(value)], [])

    def last_tried(self) -> tuple[str, str]:
        """The rule that was tried last and the node it was tried on; empty where there is none."""
        rule_, node = self._rule, self._anchor
        return rule_.name if rule_ else "", node.name if node is not None else ""

    # -- bookkeeping -----------------------------------------------------------------------------

    def _is_spent(self) -> bool:
        return self.at_most is not None and self.fired.total() >= self.at_most

    def _drop_made(self) -> None:
        for node in reversed(self._made):
            self.graph.erase(node)
        for value in self._made_parameters:
            self.graph.remove_parameter(value)

    def _replace(self, node: Node, values: tuple[Value, ...]) -> list[Node]:
        own = _refs(node)  # before what replaces it takes its names
        self._seen = self._described([node])
        users = [user for v in node.results for user in v.users]
        is_dead = not any(v.is_used for v in node.results)
        if len(values) != len(node.results) and (values or not is_dead):
            raise GraphError(
                "a rewrite must replace every result", expected=len(node.results), got=len(values)
            )
        for old, new in zip(node.results, values, strict=False):
            self._replace_value(old, new)
        old_refs, neighbours = self._erase_dead(node, own)
        self._drop_unused(values)
        made = [n for n in self._made if not n.is_erased]
        new_refs = [ref for n in made for ref in _refs(n)] or _survivors(values)
        new_refs += [_parameter_ref(v) for v in self._made_parameters]
        self._record(old_refs, new_refs, self._described(made))
        return [*made, *users, *neighbours]

    def _replace_value(self, old: Value, new: Value) -> None:
        self._check_type(old, new)
        takes_name = new.producer in self._made or new in self._made_parameters
        # a constant where none was can tell its users their sizes
        self._refined |= new.is_parameter
        if old.is_output:
            # an output keeps its name; an input, a parameter and another output keep theirs too
            takes_name = True
            if new.producer is None or new.is_output:
                for user, index in old.uses:
                    self.graph.set_operand(user, index, new)
                new = self.emit(Identity(), new)
        self.graph.replace_uses(old, new)
        if takes_name:
            self.graph.swap_names(old, new)

    def _drop_unused(self, values: tuple[Value, ...]) -> None:
        """Erases what the rule made and did not use."""
        for node in reversed(self._made):
            if not any(v.is_used or v in values for v in node.results):
                self.graph.erase(node)
        unused = [v for v in self._made_parameters if not (v.is_used or v in values)]
        for value in unused:
            self.graph.remove_parameter(value)
            self._made_parameters.remove(value)

    def _check_type(self, old: Value, new: Value) -> None:
        if old.type == new.type:
            return
        refines = (
            isinstance(old.type, TensorType)
            and isinstance(new.type, TensorType)
            and (old.type.dtype, old.type.rank) == (new.type.dtype, new.type.rank)
            and any(s.startswith("?") for s in old.type.symbols())
        )
        if not refines and not fits(old.type, new.type, "?"):
            raise GraphError(
                f"rule {self._rule.name if self._rule else '?'} changes a type",
                where=f"%{printable(old.name)}",
                expected=old.type,
                got=new.type,
            )
        self._refined = True

    def _erase_dead(self, node: Node, own: list[Ref]) -> tuple[list[Ref], list[Node]]:
        """Erases `node` and what only it needed; their references, and the producers that stay."""
        refs: list[Ref] = []
        neighbours: list[Node] = []
        pending = [node]
        while pending:
            dead = pending.pop()
            if dead.is_erased or any(v.is_used for v in dead.results):
                neighbours.append(dead)
                continue
            refs += own if dead is node else _refs(dead)
            self._seen += self._described([dead] if dead is not node else [])
            operands = [v for v in dead.operands if v is not None]
            self.graph.erase(dead)
            for value in dict.fromkeys(operands):
                if value.is_parameter:
                    refs.append(_parameter_ref(value))
                    self._drop_parameter(value)
                elif value.producer is not None and not value.producer.is_erased:
                    pending.append(value.producer)
        return refs, neighbours

    def _drop_parameter(self, value: Value) -> None:
        if not value.is_used and value not in self._made_parameters:
            self.graph.remove_parameter(value)

    def _described(self, nodes: Iterable[Node]) -> list[tuple[int, str]]:
        if self.describe is None:
            return []
        return [(node.uid, self.describe(node)) for node in nodes]

    def _record(
        self, old: Sequence[Ref], new: Sequence[Ref], made: Sequence[tuple[int, str]] = ()
    ) -> None:
        current = self._rule
        if current is None:
            raise GraphError("an edit outside of a rule")
        self.fired[current.name] += 1
        if self.fired.total() > self._limit:
            raise PassError(
                "the rules do not come to an end",
                where=f"pass {self.pass_name}, rule {current.name}",
                expected=f"at most {self._limit} rewrites",
            )
        record = Record(
            self.pass_name, current.name, current.source, tuple(dict.fromkeys(old)), tuple(new)
        )
        self.graph.provenance.add(record)
        if self.describe is not None:
            self.rewrites.append(Rewrite(record, tuple(self._seen), tuple(made)))


def _refs(node: Node) -> list[Ref]:
    own = Ref(node.uid, "node", node.name, node.op.name)
    return [own, *(Ref(v.uid, "value", v.name) for v in node.results)]


def _survivors(values: Iterable[Value]) -> list[Ref]:
    """References to what was there already and now stands for the old values."""
    refs: list[Ref] = []
    for value in dict.fromkeys(values):
        if value.producer is not None:
            refs += _refs(value.producer)
        else:
            refs.append(Ref(value.uid, "parameter" if value.is_parameter else "value", value.name))
    return list(dict.fromkeys(refs))


def _parameter_ref(value: Value) -> Ref:
    return Ref(value.uid, "parameter", value.name)
