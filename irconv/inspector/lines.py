"""Lines of a listing for people: names and long texts shortened, everything printable."""

from __future__ import annotations

from irconv.errors import NAME_LIMIT, printable
from irconv.graph import Graph, Node, Value
from irconv.listing import INLINE_ELEMENTS, PLAIN_NAME, attributes_text, parameter_line
from irconv.types import Type

# attributes may hold lists of any length, types symbols of any length
TEXT_LIMIT = 400


def shown_name(name: str) -> str:
    """A name as it stands in such a line: plain, or quoted; shortened, its length told."""
    if len(name) <= NAME_LIMIT and PLAIN_NAME.fullmatch(name):
        return name
    return f'"{printable(name)}"'


def shown_attributes(node: Node) -> str:
    """`kernel_shape = [3, 3], group = 2`."""
    return printable(attributes_text(node.op)[1:-1], TEXT_LIMIT)


def shown_type(found: Type) -> str:
    """The text of a type."""
    return printable(found, TEXT_LIMIT)


def shown_types(node: Node) -> str:
    """The types of all results."""
    return ", ".join(shown_type(v.type) for v in node.results)


def shown_node(node: Node) -> str:
    """The line of a node."""
    results = ", ".join(_ref(v) for v in node.results)
    operands = ", ".join(_ref(v) if v is not None else "_" for v in node.operands)
    attributes = shown_attributes(node)
    braced = f" {{{attributes}}}" if attributes else ""
    return f"{results} = {printable(node.op.name)}({operands}){braced} : {shown_types(node)}"


def shown_parameter(value: Value) -> str:
    """The line of a parameter: a small one with its content, a weight without."""
    if value.array is not None and value.array.size <= INLINE_ELEMENTS:
        content = parameter_line(value).rpartition(" = ")[2]
        if not content.startswith("#"):
            return f"{_keyword(value)} {_ref(value)}: {shown_type(value.type)} = {content}"
    return f"{_keyword(value)} {_ref(value)}: {shown_type(value.type)}"


def shown_header(graph: Graph) -> str:
    """The first line of a graph."""
    inputs = ", ".join(f"{_ref(v)}: {shown_type(v.type)}" for v in graph.inputs)
    outputs = ", ".join(f"{_ref(v)}: {shown_type(v.type)}" for v in graph.outputs)
    return f"graph @{shown_name(graph.name)}({inputs}) -> ({outputs}) {{"


def _keyword(value: Value) -> str:
    return "param" if value.trainable else "const"


def _ref(value: Value) -> str:
    return "%" + shown_name(value.name)
