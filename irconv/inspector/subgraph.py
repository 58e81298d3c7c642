"""Cuts nodes out of a graph: what came from outside becomes an input, what went there an output."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TypeAlias

from irconv.errors import GraphError
from irconv.graph import Graph, Node, Value, infer
from irconv.interpret import interpret
from irconv.op import Op
from irconv.types import Array, TensorType, Type

Inputs: TypeAlias = "Mapping[str, Array]"


def cut(
    graph: Graph, inputs: Inputs | None, nodes: Collection[Node]
) -> tuple[Graph, Inputs | None] | None:
    """The graph of `nodes` alone, and inputs for it: the numbers that they see in `graph`.

    Its outputs are those of `graph`, and what other nodes use. None where nothing would be left.
    Without `inputs` nothing is run. Raises IrconvError where the graph cannot be cut so.
    """
    kept = set(nodes)
    outer = _outer(graph, kept)
    outputs = [v for n in graph if n in kept for v in n.results if _leaves(v, kept)]
    if not outputs:
        return None
    arrays = None if inputs is None else _arrays(graph, inputs, outer)
    symbols = set(graph.symbols())
    types = {v.name: _border_type(v, arrays, symbols) for v in outer}
    return rebuild(graph, types, nodes=kept, outputs=[v.name for v in outputs]), arrays


def rebuild(
    graph: Graph,
    inputs: Mapping[str, Type],
    *,
    nodes: Collection[Node] | None = None,
    outputs: Iterable[str] | None = None,
    array: Callable[[Value], Array | None] = lambda value: value.array,
    op: Callable[[Node, Sequence[Value | None]], Op] = lambda node, operands: node.op,
) -> Graph:
    """A graph of the same `nodes` (all, unless given), its types inferred anew.

    `inputs` gives the types of its inputs by name; `array` the content of a parameter, `op` that of
    a node for its new operands. Names and uids stay. Raises GraphError where the parts do not fit.
    """
    new = Graph(graph.name)
    twins: dict[Value, Value] = {}
    for name, kind in inputs.items():
        twins[graph.value(name)] = new.add_input(name, kind)
    for node in graph:
        if nodes is not None and node not in nodes:
            continue
        operands = [_twin(v, new, twins, array) for v in node.operands]
        _add(node, op(node, operands), operands, new, twins)
    names = [v.name for v in graph.outputs] if outputs is None else list(outputs)
    for name in names:
        out = twins[graph.value(name)]
        out.type = out.tensor_type.plain
        new.set_outputs([*new.outputs, out])
    return new


def _add(
    node: Node, op: Op, operands: Sequence[Value | None], new: Graph, twins: dict[Value, Value]
) -> None:
    names = [v.name for v in node.results]
    types = [
        found.with_layout(v.type.layout)
        if isinstance(found, TensorType) and isinstance(v.type, TensorType)
        else found
        for v, found in zip(node.results, infer(op, operands, names), strict=True)
    ]
    made = new.add_node(op, operands, names, types=types, uid=node.uid)
    for old, value in zip(node.results, made.results, strict=True):
        value.uid = old.uid
        twins[old] = value


def _twin(
    value: Value | None,
    new: Graph,
    twins: dict[Value, Value],
    array: Callable[[Value], Array | None],
) -> Value | None:
    """The value of the new graph; a parameter comes with its first use."""
    if value is None or value in twins:
        return twins.get(value) if value is not None else None
    twins[value] = new.add_parameter(
        value.name, array(value), trainable=value.trainable, uid=value.uid
    )
    return twins[value]


def _outer(graph: Graph, kept: set[Node]) -> list[Value]:
    """What `kept` reads and does not make, in the order of the graph, without parameters."""
    read = {v for n in kept for v in n.operands if v is not None and not v.is_parameter}
    made = {v for n in kept for v in n.results}
    return [v for v in graph.values if v in read and v not in made]


def _leaves(value: Value, kept: set[Node]) -> bool:
    return value.is_output or any(user not in kept for user in value.users)


def _arrays(graph: Graph, inputs: Inputs, wanted: Sequence[Value]) -> dict[str, Array]:
    """The numbers of `wanted`; the graph is run only where it makes one of them."""
    found = {v.name: inputs[v.name] for v in wanted if v.name in inputs}
    missing = {v for v in wanted if v.producer is not None}

    def watch(value: Value, array: Array) -> None:
        if value in missing:
            found[value.name] = array

    if missing:
        interpret(graph, inputs, watch=watch)
    return {v.name: found[v.name] for v in wanted}


def _border_type(value: Value, arrays: Inputs | None, symbols: set[str]) -> Type:
    """Row by row, and of known sizes where they are not sizes of the graph's own inputs."""
    if not isinstance(value.type, TensorType):
        raise GraphError("only a tensor can be an input", got=value.type)
    named = all(isinstance(d, int) or str(d) in symbols for d in value.shape)
    plain = value.type.plain
    return plain if named or arrays is None else plain.with_shape(arrays[value.name].shape)
