"""The program as text: buffers, views, launches, each on one line, with internal names only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from irconv.backends.numba_cuda.device import THREADS, blocks
from irconv.backends.numba_cuda.launch import Argument, Launch
from irconv.backends.numba_cuda.memory import Buffers, nbytes
from irconv.graph import Graph, Node, Value
from irconv.types import dtype_name


def source_text(
    graph: Graph, bound: Sequence[tuple[Node, Sequence[Launch] | str]], buffers: Buffers
) -> str:
    """The text of a program."""
    names = {value: f"v{number}" for number, value in enumerate(graph.values)}
    lines = [f"# arena {buffers.arena_bytes} bytes, weights {buffers.weight_bytes} bytes"]
    for value, begin in buffers.offsets.items():
        end = begin + nbytes(value)
        lines.append(f"{names[value]} = arena[{begin}:{end}]  # {value.type}")
    for node, launches in bound:
        lines += _node_lines(node, launches, buffers, names)
    lines.append(f"return {', '.join(names[v] for v in graph.outputs)}")
    return "\n".join(lines) + "\n"


def _node_lines(
    node: Node, launches: Sequence[Launch] | str, buffers: Buffers, names: dict[Value, str]
) -> Iterator[str]:
    kind = type(node.op).__name__
    results = ", ".join(names[v] for v in node.results)
    if isinstance(launches, str):
        operands = ", ".join("_" if v is None else names[v] for v in node.operands)
        yield f"{results} = host {kind}({operands})  # {launches}"
    elif not launches and node.results[0] in buffers.owners:
        yield f"{results} = {names[buffers.owners[node.results[0]]]}  # {kind}, a view"
    else:
        yield from (_launch_line(one, kind, names) for one in launches)


def _launch_line(launch: Launch, kind: str, names: dict[Value, str]) -> str:
    arguments = ", ".join(_argument(a, names) for a in launch.arguments)
    shared = f"{launch.count} of {kind}, p {dtype_name(launch.dtype)}"
    return f"{launch.name}[{blocks(launch.count)}, {THREADS}]({arguments})  # {shared}"


def _argument(argument: Argument, names: dict[Value, str]) -> str:
    if argument.fault:
        return "fault"
    return "_" if argument.value is None else names[argument.value]
