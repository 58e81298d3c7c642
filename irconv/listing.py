"""The text form of a graph, as `print(graph)` shows it and `parse` reads it back."""

from __future__ import annotations

import html
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from irconv.dim import quoted
from irconv.errors import printable
from irconv.op import Op
from irconv.types import Array, dtype_name

if TYPE_CHECKING:
    from irconv.graph import Graph, Node, Value

# a parameter of at most this many elements is written in place, a bigger one by its digest
INLINE_ELEMENTS = 8
# a notebook holds what it shows: so many lines, of so many characters
HTML_LINES = 200
HTML_COLUMNS = 400
PLAIN_NAME = re.compile(r"[A-Za-z0-9_./$]+")


def write(graph: Graph, provenance: bool = False) -> str:
    """The listing of `graph`; with `provenance`, each node tells the originals it was made from."""
    return "\n".join(lines(graph, provenance))


def lines(graph: Graph, provenance: bool = False) -> Iterable[str]:
    """The lines of the listing: header, parameters, nodes, closing brace."""
    yield header(graph)
    for value in graph.parameters.values():
        yield f"  {parameter_line(value)}"
    for node in graph:
        yield f"  {node_line(node)}{_origin(graph, node) if provenance else ''}"
    yield "}"


def write_html(graph: Graph) -> str:
    """A graph for a notebook: what it is in a line, its listing under it; everything escaped.

    Of a long listing the first and the last lines are shown.
    """
    count = Counter(node.op.name for node in graph)
    common = ", ".join(f"{n} {printable(name)}" for name, n in count.most_common(4))
    rest = ", ..." if len(count) > 4 else ""
    inputs = ", ".join(f"{ref(v)}: {v.type}" for v in graph.inputs)
    outputs = ", ".join(f"{ref(v)}: {v.type}" for v in graph.outputs)
    head = printable(f"@{name_text(graph.name)}({inputs}) -> ({outputs})", HTML_COLUMNS * 4)
    nodes = f"{len(graph)} nodes: {common}{rest}" if count else "no nodes"
    shown = _shortened(list(lines(graph)))
    body = html.escape("\n".join(shown))
    is_open = " open" if len(shown) <= HTML_LINES // 4 else ""
    return (
        f"<details{is_open}><summary><b>{html.escape(head)}</b> {html.escape(nodes)}</summary>"
        f'<pre style="max-height: 24em; overflow: auto">{body}</pre></details>'
    )


def _shortened(text: Sequence[str]) -> list[str]:
    shown = [printable(line, HTML_COLUMNS) for line in text]
    left_out = len(shown) - HTML_LINES
    if left_out <= 1:
        return shown
    half = HTML_LINES // 2
    return [*shown[:half], f"  ... {left_out} lines more ...", *shown[-half:]]


def header(graph: Graph) -> str:
    """The first line: name, inputs, outputs."""
    inputs = ", ".join(f"{ref(v)}: {v.type}" for v in graph.inputs)
    outputs = ", ".join(f"{ref(v)}: {v.type}" for v in graph.outputs)
    return f"graph @{name_text(graph.name)}({inputs}) -> ({outputs}) {{"


def parameter_line(value: Value) -> str:
    """One parameter, without its indent."""
    keyword = "param" if value.trainable else "const"
    return f"{keyword} {ref(value)}: {value.type} = {_content(value)}"


def node_line(node: Node) -> str:
    """One node, without its indent."""
    results = ", ".join(ref(v) for v in node.results)
    operands = ", ".join(ref(v) if v is not None else "_" for v in node.operands)
    attributes = attributes_text(node.op)
    types = ", ".join(str(v.type) for v in node.results)
    space = " " if attributes else ""
    return f"{results} = {node.op.name}({operands}){space}{attributes} : {types}"


def ref(value: Value) -> str:
    """A value where it is used: `%name`."""
    return "%" + name_text(value.name)


def name_text(name: str) -> str:
    """A name as it stands in a listing: plain, or quoted with everything unusual escaped."""
    return name if PLAIN_NAME.fullmatch(name) else quoted(name)


def attributes_text(op: Op) -> str:
    """`{kernel_shape = [3, 3]}`, or nothing where all attributes have their defaults."""
    shown = ", ".join(f"{k} = {attribute_text(v)}" for k, v in op.attributes().items())
    return f"{{{shown}}}" if shown else ""


def attribute_text(value: Any) -> str:
    """The text of one attribute."""
    match value:
        case None:
            return "none"
        case bool():
            return "true" if value else "false"
        case int():
            return int.__repr__(value)
        case float():
            # NumPy's float64 is a float whose repr is not a number
            return float.__repr__(value)
        case str():
            return quoted(value)
        case Op():
            return value.name + attributes_text(value)
        case tuple():
            return f"[{', '.join(attribute_text(v) for v in value)}]"
    raise TypeError(f"an attribute of type {type(value).__name__} has no text")


def _content(value: Value) -> str:
    array = value.array
    if array is None or array.size > INLINE_ELEMENTS or not _has_exact_text(array):
        return f"#{value.digest}"
    flat = [_element(x) for x in array.reshape(-1)]
    return f"[{', '.join(flat)}]" if array.ndim else flat[0]


def _has_exact_text(array: Array) -> bool:
    name = dtype_name(array.dtype)
    if name.startswith(("i", "u", "bool")):
        return array.dtype.itemsize > 1 or name in {"i8", "u8", "bool"}
    # a NaN may carry a payload that its text would lose
    return name in {"f16", "f32", "f64", "bf16"} and not bool(np.isnan(array).any())


def _element(x: Any) -> str:
    if isinstance(x, np.bool_):
        return "true" if x else "false"
    if isinstance(x, np.integer):
        return str(int(x))
    number = float(x)
    if math.isinf(number):
        return "inf" if number > 0 else "-inf"
    return str(x) if isinstance(x, np.float32) else repr(number)


def _origin(graph: Graph, node: Node) -> str:
    refs = graph.provenance.originals([node.uid])
    shown = ", ".join("%" + name_text(r.name) for r in refs)
    return f" from [{shown}]" if shown else ""
