"""A stage as it is shown: its lines and, for each node, what the diff and the page need of it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from irconv.dim import Dim, substitute, symbols_of
from irconv.errors import printable
from irconv.graph import Graph, Node, Value
from irconv.inspector.lines import (
    shown_attributes,
    shown_header,
    shown_node,
    shown_parameter,
    shown_type,
    shown_types,
)
from irconv.report import known_bytes, node_cost

# what a made name ends with: `conv1.1`, `conv1.w`
_SCOPE = re.compile(r"(.+)[./][^./]+")


@dataclass(frozen=True, slots=True)
class ShownNode:
    """A node of a stage. `id` is the node's uid; `line` its place in the stage's lines.

    `operands`: for each, the id of what makes it (a node, a parameter; -1-k is input k of the
    graph) and which result of that it is; None where it is absent. `kernels`: keys of those that
    run it in a program, that of the result first.
    """

    id: int
    name: str
    op: str
    line: int
    operands: tuple[tuple[int, int] | None, ...]
    attributes: str = ""
    type: str = ""
    macs: int = 0
    bytes: int = 0
    scope: str = ""
    line_count: int = 1
    kernels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ShownParameter:
    """A parameter of a stage; `id` is the value's uid."""

    id: int
    name: str
    type: str
    line: int
    bytes: int
    free: int  # elements that training may change: 0 of a constant
    value: Value | None = field(default=None, repr=False, compare=False)

    def equals(self, other: ShownParameter) -> bool:
        """Whether type and content are the same."""
        a, b = self.value, other.value
        if self.id == other.id or a is None or b is None:
            return self.id == other.id
        alike = (self.type, a.trainable) == (other.type, b.trainable)
        return alike and same_content(a, b)


@dataclass(frozen=True)
class ShownStage:
    """The lines of a stage, its nodes, parameters and ends.

    `kind` is source, pass, program, onnx or onnxruntime.
    """

    kind: str
    title: str
    lines: tuple[str, ...]
    nodes: tuple[ShownNode, ...]
    parameters: tuple[ShownParameter, ...] = ()
    inputs: tuple[tuple[str, str], ...] = ()  # name and type
    outputs: tuple[int, ...] = ()  # ids as in operands
    by_id: dict[int, ShownNode] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_id", {n.id: n for n in self.nodes})


def shown_stage(graph: Graph, kind: str = "source", title: str = "source") -> ShownStage:
    """How `graph` is shown; symbolic sizes count as 1."""
    lines = [shown_header(graph)]
    parameters = []
    for value in graph.parameters.values():
        parameters.append(_parameter(value, len(lines)))
        lines.append(f"  {shown_parameter(value)}")
    inputs = {v: -1 - k for k, v in enumerate(graph.inputs)}
    nodes = []
    for node in graph:
        nodes.append(_node(node, len(lines), inputs))
        lines.append(f"  {shown_node(node)}")
    lines.append("}")
    return ShownStage(
        kind,
        title,
        tuple(lines),
        tuple(nodes),
        tuple(parameters),
        tuple((printable(v.name), shown_type(v.type)) for v in graph.inputs),
        tuple(_maker(v, inputs)[0] for v in graph.outputs),
    )


def _maker(value: Value, inputs: dict[Value, int]) -> tuple[int, int]:
    if value.producer is not None:
        return value.producer.uid, value.index
    return inputs.get(value, value.uid), 0


def _node(node: Node, line: int, inputs: dict[Value, int]) -> ShownNode:
    cost = node_cost(node)
    return ShownNode(
        node.uid,
        printable(node.name),
        printable(node.op.name),
        line,
        tuple(_maker(v, inputs) if v is not None else None for v in node.operands),
        shown_attributes(node),
        shown_types(node),
        at_one(cost.macs),
        at_one(cost.bytes),
        scope_of(node.name),
    )


def _parameter(value: Value, line: int) -> ShownParameter:
    size = value.array.size if value.array is not None and value.trainable else 0
    return ShownParameter(
        value.uid,
        printable(value.name),
        shown_type(value.type),
        line,
        known_bytes([value]),
        size,
        value,
    )


def same_content(a: Value, b: Value) -> bool:
    """Whether two parameters of one type hold the same bytes."""
    if a.array is None or b.array is None:
        return a.digest == b.digest
    if a.array is b.array:
        return True
    # most that differ do so at once, which spares reading the weights of a network
    first, other = (array.reshape(-1)[:64].tobytes() for array in (a.array, b.array))
    return first == other and a.digest == b.digest


def scope_of(name: str) -> str:
    """The part of the network that a name says it is in: `layer1.0` of `layer1.0.conv1`."""
    match = _SCOPE.fullmatch(name)
    return printable(match[1]) if match else ""


def at_one(size: Dim) -> int:
    """A size, its symbols taken as 1; 0 where it cannot be so."""
    found = substitute(size, dict.fromkeys(symbols_of(size), 1))
    return max(found, 0) if isinstance(found, int) else 0
