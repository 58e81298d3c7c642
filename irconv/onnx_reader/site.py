"""One node of an ONNX model on its way into a graph, and what it becomes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from irconv.attributes import make_op
from irconv.dim import Dim
from irconv.errors import ModelError
from irconv.graph import NAME_LENGTH, STEM_LENGTH, Graph, Node, Value
from irconv.onnx_node import qualified
from irconv.onnx_reader.records import Budgets, NodeRecord
from irconv.onnx_reader.tensor import ELEMENT_TYPES, element_type
from irconv.onnx_reader.trusted import STANDS_FOR, TRUSTED
from irconv.op import Op
from irconv.ops.generic import Generic
from irconv.registry import ops
from irconv.shape_contents import ShapeContents
from irconv.types import Array, TensorType, dtype_name


class NoNativeOpError(ModelError):
    """There is no class for an operator; the generic op may hold it."""


@dataclasses.dataclass(slots=True)
class Names:
    """Names for values that the model does not name; none of the model's own is taken."""

    graph: Graph
    reserved: frozenset[str]

    def fresh(self, stem: str) -> str:
        if len(stem) > NAME_LENGTH:
            head, _, tail = stem.rpartition(".")
            stem = f"{head[:STEM_LENGTH]}.{tail[:64]}"
        name = self.graph.fresh_name(stem)
        while name in self.reserved:
            name = self.graph.fresh_name(name)
            if name in self.reserved:
                stem += "_"
                name = self.graph.fresh_name(stem)
        return name


class Site:
    """What a raising rule sees of one node, and how it says what the node means."""

    def __init__(
        self,
        record: NodeRecord,
        version: int,
        operands: Sequence[Value | None],
        names: Names,
        contents: ShapeContents,
        budgets: Budgets,
    ) -> None:
        self.record = record
        self.version = version
        self.operands = list(operands)
        self.names = names
        self.graph = names.graph
        self.contents = contents
        self.budgets = budgets
        self.results: list[Value] | None = None
        self._left = dict(record.attributes)

    # -- reading ---------------------------------------------------------------------------------

    @property
    def op_type(self) -> str:
        return qualified(self.record.domain, self.record.op_type)

    @property
    def label(self) -> str:
        """The name that intermediate values are named after."""
        return next((o for o in self.record.outputs if o), "") or f"n{self.record.index}"

    def attribute(self, name: str, default: Any = None) -> Any:
        """The attribute, taken: what is not taken goes to the op as it stands."""
        return self._left.pop(name, default)

    def attribute_kept(self, name: str, default: Any = None) -> Any:
        """The attribute, which still goes to the op."""
        return self._left.get(name, default)

    def operand(self, index: int) -> Value | None:
        return self.operands[index] if index < len(self.operands) else None

    def required(self, index: int) -> Value:
        value = self.operand(index)
        if value is None:
            raise ModelError(f"input {index} is missing")
        return value

    def type(self, index: int) -> TensorType:
        return self.required(index).tensor_type

    def rank(self, index: int = 0) -> int:
        return self.type(index).rank

    def shape(self, index: int = 0) -> tuple[Dim, ...]:
        return self.type(index).shape

    def constant(self, index: int) -> Array | None:
        """An operand's content where it is known: a parameter, or a computed shape."""
        value = self.operand(index)
        if value is None:
            return None
        return value.array if value.array is not None else self.contents.known(value)

    def axis(self, axis: int, rank: int | None = None) -> int:
        """An axis counted from the front; raises ModelError where there is none."""
        rank = self.rank() if rank is None else rank
        if not -rank <= axis < max(rank, 1):
            raise ModelError(
                "the axis is out of range", expected=f"{-rank} to {rank - 1}", got=axis
            )
        return axis % rank if rank else 0

    def known_sizes(self, index: int, what: str) -> tuple[int, ...]:
        """The spatial sizes of an operand as integers."""
        sizes = self.shape(index)[2:]
        if not all(isinstance(s, int) for s in sizes):
            raise ModelError(
                f"{what} needs known spatial sizes",
                got=self.type(index),
                hint="give the model fixed spatial sizes",
            )
        return tuple(int(s) for s in sizes if isinstance(s, int))

    # -- writing ---------------------------------------------------------------------------------

    def op(self, name: str, **attributes: Any) -> Op:
        """The op of that name; attributes that are None are left out."""
        if name not in ops():
            raise NoNativeOpError("not supported", got=name)
        return make_op(name, {k: v for k, v in attributes.items() if v is not None})

    def parameter(self, array: Any, stem: str | None = None, *, trainable: bool = False) -> Value:
        """A constant of our own."""
        name = self.names.fresh(f"{self.label}.{stem or 'const'}")
        return self.graph.add_parameter(name, array, trainable=trainable)

    def ints(self, numbers: Sequence[int], stem: str) -> Value:
        """A constant of int64 numbers, such as axes."""
        return self.parameter(np.array(numbers, np.int64), stem)

    def scalar(self, number: float, stem: str) -> Value:
        """A scalar constant of the element type of operand 0."""
        return self.parameter(np.array(number).astype(self.type(0).dtype), stem)

    def emit(self, op: Op, operands: Sequence[Value | None], stem: str = "step") -> Value:
        """An intermediate node with one result."""
        name = self.names.fresh(f"{self.label}.{stem}")
        node = self._add(op, operands, [name])
        return node.results[0]

    def finish(self, op: Op, operands: Sequence[Value | None]) -> None:
        """The node that gives the record's results."""
        names = [
            o or self.names.fresh(f"{self.label}.{i}") for i, o in enumerate(self.record.outputs)
        ]
        missing = range(len(names), op.n_results)
        names += [self.names.fresh(f"{self.label}.{i}") for i in missing]
        if op.n_results < len(names) and any(self.record.outputs[op.n_results :]):
            raise NoNativeOpError(f"{op.name} with {len(names)} outputs is not supported")
        node = self._add(op, operands, names[: op.n_results])
        self.results = list(node.results)

    def finish_with(self, *values: Value) -> None:
        """Values that exist already are the results, each under its ONNX name."""
        self.results = []
        for name, value in zip(self.record.outputs, values, strict=False):
            chosen = name or self.names.fresh(f"{self.label}.copy")
            node = self._add(self.op("Identity"), [value], [chosen])
            self.results.append(node.results[0])

    def finish_constant(self, array: Array, *, trainable: bool) -> None:
        """The result is a parameter."""
        name = self.record.outputs[0]
        self.results = [self.graph.add_parameter(name, array, trainable=trainable)]

    def _add(self, op: Op, operands: Sequence[Value | None], names: Sequence[str]) -> Node:
        operands = self.contents.settle(self, op, list(operands))
        node = self.graph.add_node(op, operands, names)
        self.contents.note(node)
        return node

    def generic(self, attributes: dict[str, Any]) -> None:
        """The generic op, at the first trusted version from the record's own on."""
        trusted = [v for v in TRUSTED.get(self.op_type, ()) if v >= self.version]
        if not trusted:
            raise NoNativeOpError(
                f"{self.op_type}-{self.version} is not supported",
                hint="no class holds it, and no test vouches for ONNX's reference of it",
            )
        name, version = STANDS_FOR.get((self.op_type, min(trusted)), (self.op_type, min(trusted)))
        for key, value in attributes.items():
            if not isinstance(value, (int, float, str, tuple)):
                raise ModelError(f"{name}: a tensor as attribute {key} is not supported")
        pairs = tuple(sorted(attributes.items()))
        count = len(self.record.outputs)
        self.finish(Generic(name, version, count, pairs), self.operands)

    def native(self, **changed: Any) -> None:
        """The class of the record's own name takes the operands and the attributes as they stand.

        `changed` replaces attributes; those taken with `attribute` are left out.
        """
        given = {**self._left, **{k: v for k, v in changed.items() if v is not None}}
        if self.op_type not in ops():
            self.generic(given)
            return
        fields = attribute_fields(self.op_type)
        attributes = {k: _fitting(v, fields.get(k)) for k, v in given.items()}
        if "n_outputs" in fields and "n_outputs" not in attributes:
            attributes["n_outputs"] = len(self.record.outputs)
        self.finish(make_op(self.op_type, attributes), self.operands)


@cache
def attribute_fields(name: str) -> dict[str, dataclasses.Field[Any]]:
    """The attributes of an op class."""
    return {f.name: f for f in dataclasses.fields(ops()[name]) if f.init}


def _fitting(value: Any, field: dataclasses.Field[Any] | None) -> Any:
    """An attribute as the op's class wants it: dtypes by name, flags as they are declared."""
    if field is None:
        return value
    if isinstance(value, float) and isinstance(field.default, float):
        # the class may state its default in more digits than float32 holds
        return field.default if np.float32(field.default) == np.float32(value) else value
    if isinstance(value, int) and field.type == "bool":
        return bool(value)
    if isinstance(value, int) and "str" in str(field.type):
        return dtype_name(element_type(value)) if value in ELEMENT_TYPES else value
    return value
