"""The structure of a model: names, definitions, order, cycles; every fault is named."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import TYPE_CHECKING

from irconv.errors import printable
from irconv.late import Late
from irconv.onnx_reader.records import Budgets, ModelRecord, NodeRecord, Problems

if TYPE_CHECKING:
    import networkx as nx
else:
    nx = Late("networkx")


def check_structure(model: ModelRecord, budgets: Budgets, problems: Problems) -> None:
    """Adds what is wrong to `problems`; on return the nodes stand in an order that computes.

    An initializer listed among the inputs (IR 3, or the default of an optional input) becomes a
    constant: the input is dropped.
    """
    _check_names(model, budgets, problems)
    problems.stop()
    model.inputs = [v for v in model.inputs if v.name not in model.initializers]
    _check_inputs(model, problems)
    producers = _producers(model, problems)
    _check_uses(model, producers, problems)
    problems.stop()
    _sort(model, producers, problems)
    problems.stop()
    _forget_unused(model)


def _forget_unused(model: ModelRecord) -> None:
    """A second result that nothing uses (a mask, running statistics) is taken for absent."""
    used = {name for node in model.nodes for name in node.inputs} | {v.name for v in model.outputs}
    for node in model.nodes:
        if node.op_type == "Split":  # its outputs count its parts
            continue
        node.outputs = tuple(o if not i or o in used else "" for i, o in enumerate(node.outputs))


def _check_names(model: ModelRecord, budgets: Budgets, problems: Problems) -> None:
    count = sum(len(n.outputs) for n in model.nodes) + len(model.inputs) + len(model.initializers)
    if count > budgets.values:
        problems.add("too many values", expected=f"at most {budgets.values}", got=count)
    limit = budgets.name_length
    for name in _names(model):
        if len(name) > limit:
            problems.add(
                "a name is too long", expected=f"at most {limit} characters", got=printable(name)
            )


def _names(model: ModelRecord) -> Iterable[str]:
    yield model.name
    yield from (v.name for v in (*model.inputs, *model.outputs))
    yield from model.initializers
    for node in model.nodes:
        yield node.op_type
        yield node.domain
        yield node.name
        yield from node.inputs
        yield from node.outputs
    for value in (*model.inputs, *model.outputs):
        yield from (d for d in value.shape or () if isinstance(d, str))


def _check_inputs(model: ModelRecord, problems: Problems) -> None:
    seen: set[str] = set()
    for value in model.inputs:
        label = f"input {printable(value.name)}"
        if not value.name:
            problems.add("an input has no name")
        if value.name in seen:
            problems.add("an input is declared twice", got=printable(value.name))
        seen.add(value.name)
        if value.dtype is None:
            problems.add(f"{label} has no element type")
        if value.shape is None:
            problems.add(f"{label} has no shape", hint="its rank must be known")
        for size in value.shape or ():
            if isinstance(size, int) and not 0 <= size < 1 << 40:
                problems.add(f"{label} has a size out of range", expected="0 to 2^40", got=size)
    if "" in model.initializers:
        problems.add("an initializer has no name")
    if not model.outputs:
        problems.add("the graph has no outputs")


def _producers(model: ModelRecord, problems: Problems) -> dict[str, int]:
    """Which node produces each value, by its place in the list."""
    given = {v.name for v in model.inputs} | set(model.initializers)
    producers: dict[str, int] = {}
    for node in model.nodes:
        for name in node.outputs:
            if not name:
                continue
            if name in producers:
                problems.add("a value is produced twice", where=node, got=printable(name))
            elif name in given:
                what = "an initializer" if name in model.initializers else "an input"
                problems.add(
                    f"a node's result has the name of {what}", where=node, got=printable(name)
                )
            producers[name] = node.index
    return producers


def _check_uses(model: ModelRecord, producers: dict[str, int], problems: Problems) -> None:
    defined = {v.name for v in model.inputs} | set(model.initializers) | set(producers)
    for node in model.nodes:
        for name in node.inputs:
            if name and name not in defined:
                problems.add("an input is not defined anywhere", where=node, got=printable(name))
    seen: set[str] = set()
    for value in model.outputs:
        if value.name not in defined:
            problems.add("an output of the graph is not produced", got=printable(value.name))
        if value.name in seen:
            problems.add("an output is declared twice", got=printable(value.name))
        seen.add(value.name)


def _sort(model: ModelRecord, producers: dict[str, int], problems: Problems) -> None:
    """Puts the nodes in order: of those that are ready, the first in the file goes first."""
    needs = [{producers[n] for n in node.inputs if n in producers} for node in model.nodes]
    if all(max(need, default=-1) < index for index, need in enumerate(needs)):
        return
    users: list[list[int]] = [[] for _ in needs]
    for index, need in enumerate(needs):
        for producer in need:
            users[producer].append(index)
    missing = [len(need) for need in needs]
    ready = [index for index, count in enumerate(missing) if not count]
    order: list[NodeRecord] = []
    while ready:
        index = heapq.heappop(ready)
        order.append(model.nodes[index])
        for user in users[index]:
            missing[user] -= 1
            if not missing[user]:
                heapq.heappush(ready, user)
    if len(order) < len(needs):
        _name_cycle(model, needs, missing, problems)
    model.nodes = order


def _name_cycle(
    model: ModelRecord, needs: list[set[int]], missing: list[int], problems: Problems
) -> None:
    left = {index for index, count in enumerate(missing) if count}
    edges = nx.DiGraph((p, i) for i in left for p in needs[i] if p in left)
    found = [edge[0] for edge in nx.find_cycle(edges)]
    start = found.index(min(found))
    cycle = found[start:] + found[:start]
    shown = [printable(next(o for o in model.nodes[i].outputs if o)) for i in cycle[:8]]
    dots = ["..."] if len(cycle) > 8 else []
    problems.add(
        "the graph has a cycle",
        where=model.nodes[cycle[0]],
        got=" -> ".join([*shown, *dots, shown[0]]),
    )
