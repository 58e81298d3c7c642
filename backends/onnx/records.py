"""What is to be written, as plain records: nodes, initializers, functions, names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from irconv.errors import ExportError, printable
from irconv.graph import Graph, Node, Value, array_digest
from irconv.interpret import content
from irconv.op import Op
from irconv.types import Array, TensorType, Type

# the domain of the model-local functions; standard operators have none
DOMAIN = "irconv"

# constants longer than this are compared by a hash of their bytes
DIGESTED_BYTES = 1 << 16

Operand: TypeAlias = "Value | str | None"


@dataclass(frozen=True, slots=True)
class Reference:
    """An attribute that a function takes from its call; `kind` is ONNX's (INTS, INT)."""

    name: str
    kind: str


@dataclass(slots=True)
class OnnxNode:
    """One node; `attributes` are int, float, str, tuples of them, arrays, References.

    `origin` names the node of our graph (or its input, output) that it is written for.
    """

    op_type: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any]
    domain: str = ""
    origin: str = ""


@dataclass(frozen=True, slots=True)
class OnnxFunction:
    """A model-local function: a fused node as standard operators."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: tuple[str, ...]
    nodes: tuple[OnnxNode, ...]


@dataclass(frozen=True, slots=True)
class OnnxGraph:
    """All that a model file says, but for the header. `values`: types of results, by name."""

    name: str
    opset: int
    inputs: tuple[tuple[str, TensorType], ...]
    outputs: tuple[tuple[str, TensorType], ...]
    nodes: tuple[OnnxNode, ...]
    initializers: Mapping[str, Array]
    values: Mapping[str, TensorType]
    functions: tuple[OnnxFunction, ...]


@dataclass(frozen=True, slots=True)
class Site:
    """One op to write: its operands (values, or names made before), and all types."""

    op: Op
    operands: tuple[Operand, ...]
    types: tuple[Type | None, ...]
    results: tuple[Type, ...]

    @classmethod
    def of(cls, node: Node) -> Site:
        """The site of a node of a graph."""
        types = tuple(v.type if v is not None else None for v in node.operands)
        return cls(node.op, node.operands, types, tuple(v.type for v in node.results))

    def operand(self, index: int) -> Operand:
        """Operand `index`, None where it is absent."""
        return self.operands[index] if index < len(self.operands) else None

    def array(self, index: int) -> Array | None:
        """The array of operand `index` where it is a parameter."""
        found = self.operand(index)
        return content(found) if isinstance(found, Value) and found.is_parameter else None

    def type(self, index: int) -> TensorType:
        """The type of operand `index`, a dense tensor."""
        return _dense(self.types[index])

    def result(self, index: int = 0) -> TensorType:
        """The type of result `index`, a dense tensor."""
        return _dense(self.results[index])

    def then(self, op: Op, operand: Operand, before: TensorType) -> Site:
        """The site of `op` applied to one operand of type `before`."""
        return Site(op, (operand,), (before,), op.infer([before], [None]))


def _dense(found: Type | None) -> TensorType:
    if not isinstance(found, TensorType):
        raise ExportError("a dense tensor is needed", got=found)
    return found


@dataclass(slots=True)
class Names:
    """Hands out names that nothing else has."""

    taken: set[str] = field(default_factory=set)
    _suffixes: dict[str, int] = field(default_factory=dict)

    def fresh(self, stem: str) -> str:
        name = stem
        while name in self.taken:
            self._suffixes[stem] = self._suffixes.get(stem, 0) + 1
            name = f"{stem}.{self._suffixes[stem]}"
        self.taken.add(name)
        return name


class Emitter:
    """Collects what a graph becomes: nodes in order, each initializer once, fresh names between."""

    def __init__(self, opset: int, names: Names) -> None:
        self.opset = opset
        self.names = names
        self.nodes: list[OnnxNode] = []
        self.initializers: dict[str, Array] = {}
        self.stem = ""
        # set where a product would fail for a batch of 0: see empty.py
        self.lacks_images = False
        self._made: dict[str, OnnxNode] = {}
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._stored: dict[tuple[Any, ...], str] = {}

    def ref(self, operand: Operand) -> str:
        """The name of an operand; a parameter becomes an initializer when first used."""
        if operand is None:
            return ""
        if isinstance(operand, str):
            return operand
        return self._parameter(operand) if operand.is_parameter else operand.name

    def _parameter(self, value: Value) -> str:
        if value.name in self.initializers:
            return value.name
        array = content(value)
        # parameters that share their memory (tied weights, reshaped twice) are stored once
        place = array.__array_interface__
        key = (place["data"][0], array.shape, array.strides, str(array.dtype))
        if array.size and key in self._stored:
            return self._stored[key]
        self._stored[key] = value.name
        self.initializers[value.name] = array
        return value.name

    def constant(self, array: Array, hint: str) -> str:
        """The name of a small constant; equal constants are stored once."""
        data = array.tobytes() if array.nbytes <= DIGESTED_BYTES else array_digest(array).encode()
        key = (str(array.dtype), array.shape, data)
        if key not in self._constants:
            self._constants[key] = self._store(array, self.names.fresh(f"{self.stem}/{hint}"))
        return self._constants[key]

    def _store(self, array: Array, name: str) -> str:
        self.initializers[name] = array
        return name

    def ints(self, values: Iterable[int], hint: str) -> str:
        """A constant vector of i64."""
        return self.constant(np.array([int(v) for v in values], np.int64), hint)

    def add(
        self,
        op_type: str,
        inputs: Sequence[Operand],
        attributes: Mapping[str, Any] | None = None,
        hint: str = "",
    ) -> str:
        """Adds a node with one result; its name."""
        return self.add_node(op_type, inputs, attributes or {}, 1, hint)[0]

    def add_node(
        self,
        op_type: str,
        inputs: Sequence[Operand],
        attributes: Mapping[str, Any],
        n_results: int = 1,
        hint: str = "",
        domain: str = "",
    ) -> tuple[str, ...]:
        """Adds a node; the names of its results."""
        refs = [self.ref(operand) for operand in inputs]
        while refs and not refs[-1]:
            refs.pop()
        stem = f"{self.stem}/{hint or op_type}"
        outputs = [self.names.fresh(stem) for _ in range(n_results)]
        node = OnnxNode(op_type, refs, outputs, dict(attributes), domain, self.stem)
        self.nodes.append(node)
        self._made.update(dict.fromkeys(outputs, node))
        return tuple(outputs)

    def define(self, wanted: str, name: str) -> None:
        """Gives the result `name` the name `wanted`, by Identity where it has one."""
        node = self._made.pop(name, None)
        if node is None:
            node = OnnxNode("Identity", [name], [name], {}, origin=self.stem)
            self.nodes.append(node)
        else:
            self._rename_uses(node, name, wanted)
        node.outputs = [wanted if o == name else o for o in node.outputs]

    def _rename_uses(self, maker: OnnxNode, name: str, wanted: str) -> None:
        for node in reversed(self.nodes):
            if node is maker:
                return
            node.inputs = [wanted if i == name else i for i in node.inputs]

    # -- what forms use often --------------------------------------------------------------------

    def reshape(self, x: Operand, shape: Sequence[int], hint: str = "Reshape") -> str:
        """x in another shape; 0 copies an axis."""
        return self.add("Reshape", [x, self.ints(shape, "shape")], hint=hint)

    def transpose(self, x: Operand, perm: Sequence[int]) -> str:
        """x with its axes in another order."""
        return self.add("Transpose", [x], {"perm": tuple(perm)})

    def scalar(self, value: float, t: TensorType, hint: str) -> str:
        """A constant number of the element type of `t`."""
        return self.constant(np.array(value, t.dtype), hint)

    def unsqueeze(self, x: Operand, axis: int) -> str:
        """x with an axis of 1 more."""
        return self.add("Unsqueeze", [x, self.ints([axis], "axes")])

    def cut(self, x: Operand, axis: int, start: int, end: int, step: int = 1) -> str:
        """x[start:end:step] along one axis."""
        bounds = [self.ints([v], "cut") for v in (start, end, axis, step)]
        return self.add("Slice", [x, *bounds])

    def pad(self, x: Operand, pairs: Sequence[tuple[int, int]], t: TensorType) -> str:
        """x padded with zeros by (begin, end) of each axis, if by any."""
        if not any(map(any, pairs)):
            return self.ref(x)
        pads = self.ints([*(b for b, _ in pairs), *(e for _, e in pairs)], "pads")
        return self.add("Pad", [x, pads, self.scalar(0, t, "zero")], {"mode": "constant"})


class FunctionEmitter(Emitter):
    """Collects the body of a function: it has no initializers, a constant is a node."""

    def _store(self, array: Array, name: str) -> str:
        self.nodes.append(OnnxNode("Constant", [], [name], {"value": np.asarray(array)}))
        return name


def check_names(graph: Graph) -> None:
    """Raises ExportError for a name that ONNX cannot hold: empty, or not Unicode text."""
    for value in (*graph.inputs, *graph.values):
        if not value.name:
            raise ExportError(
                "a value has an empty name", hint="an empty name means absent in ONNX"
            )
        try:
            value.name.encode()
        except UnicodeEncodeError:
            raise ExportError(
                "a name is not Unicode text", where=f"%{printable(value.name)}", hint="rename it"
            ) from None
