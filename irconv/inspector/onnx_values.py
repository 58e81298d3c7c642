"""Which exported nodes a node of onnxruntime's optimised graph computes, by the values it has."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from irconv.exported import OnnxNodeText, OnnxText

# what onnxruntime adds to the name of a node that it moves to its own layout
_LAYOUT_SUFFIX = "_nchwc"
# nodes that it adds to bring a value into that layout and back
_REORDERS = ("ReorderInput", "ReorderOutput")
# what it takes into the node before
_EPILOGUES = frozenset(
    ("Add", "Clip", "HardSigmoid", "LeakyRelu", "Relu", "Sigmoid", "Sum", "Tanh")
)


def made_of(
    exported: OnnxText, optimised: OnnxText
) -> tuple[tuple[tuple[int, int], ...], dict[str, str]]:
    """Pairs (number of an exported node, number of an optimised one); and the exported value that
    each value of another name is.

    A node stands for the exported nodes between its inputs and its outputs. Values keep their
    names, except those in onnxruntime's own layout: these are known by the name of the node that
    makes them, or are the value that was reordered; and from there on what follows is that node's
    too as long as no other node has it. A node whose results are known neither way stands for what
    those who read them do.
    """
    values = _Values(exported, optimised)
    pairs: set[tuple[int, int]] = set()
    for place, node in enumerate(optimised.nodes):
        pairs.update(values.computed_by(place, node))
    return tuple(sorted(pairs, key=lambda pair: pair[::-1])), values.same


class _Values:
    """Walks an optimised graph in order; knows which exported value each of its values is."""

    def __init__(self, exported: OnnxText, optimised: OnnxText) -> None:
        self.nodes = exported.nodes
        self.makers = {name: i for i, n in enumerate(exported.nodes) for name in n.outputs}
        self.names = {n.name: i for i, n in enumerate(exported.nodes) if n.name}
        self.constants = {name for name, _ in exported.constants}
        self.known = {*self.makers, *(name for name, _ in exported.inputs)}
        self.ends = set(exported.outputs)
        self.users: defaultdict[str, list[int]] = defaultdict(list)
        for place, node in enumerate(exported.nodes):
            for name in dict.fromkeys(node.inputs):
                self.users[name].append(place)
        named = (self._named(n) for n in optimised.nodes)
        made = (self.makers[o] for n in optimised.nodes for o in n.outputs if o in self.makers)
        self.taken = {*made, *(place for place in named if place is not None)}
        self.same = {
            n.inputs[0]: n.outputs[0]
            for n in optimised.nodes
            if n.op.endswith(_REORDERS) and n.outputs[0] in self.makers
        }
        # unknown results: who makes them, and the known values that they are made from
        self.unknown: dict[str, tuple[frozenset[int], frozenset[str]]] = {}

    def computed_by(self, place: int, node: OnnxNodeText) -> list[tuple[int, int]]:
        """The pairs of a node, and of those before it that only now are understood."""
        inputs, places = self._inputs(node)
        if node.op.endswith(_REORDERS) and len(inputs) == 1:
            # it belongs to what made the value
            (value,) = inputs
            self.same.setdefault(node.outputs[0], value)
            return [(self.makers[value], place)] if value in self.makers else []
        places |= {place}
        outputs = {name: self._meaning(node, i, inputs) for i, name in enumerate(node.outputs)}
        for name, value in outputs.items():
            if value:
                self.same[name] = value
            else:
                self.unknown[name] = (frozenset(places), frozenset(inputs))
        values = [value for value in outputs.values() if value]
        return [(old, new) for old in self._between(inputs, values) for new in places]

    def _inputs(self, node: OnnxNodeText) -> tuple[set[str], set[int]]:
        """The exported values that a node reads, and the places of those who hand on others."""
        found: set[str] = set()
        places: set[int] = set()
        for name in node.inputs:
            if name in self.unknown:
                places |= self.unknown[name][0]
                found |= self.unknown[name][1]
            elif self.same.get(name, name) in self.known:
                found.add(self.same.get(name, name))
        return found, places

    def _meaning(self, node: OnnxNodeText, index: int, inputs: set[str]) -> str:
        """The exported value that result `index` is, "" if that cannot be told."""
        name = node.outputs[index]
        if name in self.makers:
            return name
        if name in self.same:
            return self.same[name]
        place = self._named(node)
        outputs = self.nodes[place].outputs if place is not None else ()
        return self._extended(outputs[index], inputs) if index < len(outputs) else ""

    def _named(self, node: OnnxNodeText) -> int | None:
        """The exported node that the name of an optimised one tells."""
        return self.names.get(node.name, self.names.get(node.name.removesuffix(_LAYOUT_SUFFIX)))

    def _extended(self, value: str, inputs: set[str]) -> str:
        """The last value that can be had from `value` and `inputs` alone, by nodes of no other."""
        while len(self.users[value]) == 1 and value not in self.ends:
            (user,) = self.users[value]
            node = self.nodes[user]
            others = {n for n in node.inputs if n and n != value}
            if user in self.taken or node.op not in _EPILOGUES or others - inputs - self.constants:
                break
            value = node.outputs[0]
        return value

    def _between(self, inputs: set[str], values: Iterable[str]) -> list[int]:
        found: set[int] = set()
        pending = [value for value in values if value not in inputs]
        while pending:
            maker = self.makers.get(pending.pop())
            if maker is not None and maker not in found:
                found.add(maker)
                pending += [n for n in self.nodes[maker].inputs if n and n not in inputs]
        # a node of which only the name of its result is known
        return sorted(found or {self.makers[v] for v in values if v in self.makers})
