"""The exported graph, and the one that onnxruntime's own optimiser makes of it, as stages."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from irconv.backend import Options, find_backend
from irconv.errors import BackendError, printable
from irconv.export import DEFAULT_OPSET
from irconv.exported import OnnxNodeText, OnnxText, TellsExport
from irconv.graph import Graph, Node
from irconv.inspector.later import LaterNumerics, LaterStage
from irconv.inspector.lines import TEXT_LIMIT, shown_name
from irconv.inspector.links import Link
from irconv.inspector.numerics import relative_error
from irconv.inspector.onnx_values import made_of
from irconv.inspector.stages import ShownNode, ShownParameter, ShownStage, scope_of
from irconv.rewrite import Remark
from irconv.types import Array


def onnx_stages(
    graph: Graph,
    opset: int = DEFAULT_OPSET,
    *,
    optimised: bool = True,
    first_id: int,
    inputs: Mapping[str, Array] | None = None,
    references: Sequence[Mapping[str, Array]] = (),
) -> tuple[LaterStage, ...]:
    """One stage, or with `optimised` two; new nodes have ids from `first_id`.

    The links of the first are from the nodes of `graph`. Where onnxruntime cannot load the model,
    the first stage has a remark that says so. Raises ExportError.
    """
    backend = find_backend("onnx")
    if not isinstance(backend, TellsExport):
        raise BackendError("this backend tells no export", got="onnx")
    text = backend.export_text(graph, opset, optimised)
    exported = _Ids(text.exported, first_id, {v.name: v.uid for v in graph.parameters.values()})
    stage = exported.shown("onnx", f"onnx, opset {opset}")
    remarks = (Remark("onnxruntime", "", text.refusal),) if text.refusal else ()
    links = tuple(_written(graph, text.exported, exported))
    first = LaterStage(stage, links, text.exported.seconds, _totals(text.exported), remarks=remarks)
    if text.optimised is None:
        return (first,)
    ids = _Ids(text.optimised, exported.end, exported.constants)
    pairs, same = made_of(text.exported, text.optimised)
    types = text.exported.types
    types = {**types, **{name: types[value] for name, value in same.items() if value in types}}
    found = tuple((exported.nodes[old], ids.nodes[new]) for old, new in pairs)
    return (
        first,
        LaterStage(
            ids.shown("onnxruntime", "onnxruntime", types),
            found,
            text.optimised.seconds,
            _totals(text.optimised),
            _numerics(graph, inputs, references),
        ),
    )


class _Ids:
    """The ids of an ONNX graph's nodes and constants; a constant of a known name keeps its id."""

    def __init__(self, text: OnnxText, first: int, known: Mapping[str, int]) -> None:
        self.text = text
        self.nodes = range(first, first + len(text.nodes))
        free = iter(range(self.nodes.stop, self.nodes.stop + len(text.constants)))
        self.constants = {n: known[n] if n in known else next(free) for n, _ in text.constants}
        self.end = self.nodes.stop + len(text.constants)

    def shown(self, kind: str, title: str, types: Mapping[str, str] | None = None) -> ShownStage:
        """The stage; `types` of values for which the graph itself tells none."""
        text = self.text
        known = {**(types or {}), **{n: t for n, t in text.types.items() if t}}
        makers: dict[str, tuple[int, int]] = {n: (i, 0) for n, i in self.constants.items()}
        makers |= {name: (-1 - k, 0) for k, (name, _) in enumerate(text.inputs)}
        for id_, node in zip(self.nodes, text.nodes, strict=True):
            makers |= {name: (id_, index) for index, name in enumerate(node.outputs)}
        lines = [_header(text, known)]
        parameters = []
        for name, found in text.constants:
            parameters.append(
                ShownParameter(self.constants[name], printable(name), found, len(lines), 0, 0)
            )
            lines.append(f"  const {_ref(name)}: {printable(found, TEXT_LIMIT)}")
        nodes = []
        for id_, node in zip(self.nodes, text.nodes, strict=True):
            nodes.append(_node(id_, node, len(lines), makers, known))
            lines.append(f"  {_line(node, known)}")
        lines.append("}")
        ends = tuple(makers[name][0] for name in text.outputs if name in makers)
        shown = tuple((printable(n), printable(t, TEXT_LIMIT)) for n, t in text.inputs)
        return ShownStage(kind, title, tuple(lines), tuple(nodes), tuple(parameters), shown, ends)


def _node(
    id_: int,
    node: OnnxNodeText,
    line: int,
    makers: Mapping[str, tuple[int, int]],
    types: Mapping[str, str],
) -> ShownNode:
    return ShownNode(
        id_,
        printable(node.name or next(iter(node.outputs), "")),
        printable(node.op),
        line,
        tuple(makers.get(name) if name else None for name in node.inputs),
        printable(node.attributes, TEXT_LIMIT),
        _types(node, types),
        scope=scope_of(node.name),
    )


def _header(text: OnnxText, types: Mapping[str, str]) -> str:
    inputs = ", ".join(f"{_ref(n)}: {printable(t, TEXT_LIMIT)}" for n, t in text.inputs)
    outputs = ", ".join(
        f"{_ref(n)}: {printable(types.get(n, '?'), TEXT_LIMIT)}" for n in text.outputs
    )
    return f"onnx @{shown_name(text.name)}({inputs}) -> ({outputs}) {{"


def _line(node: OnnxNodeText, types: Mapping[str, str]) -> str:
    results = ", ".join(map(_ref, node.outputs))
    operands = ", ".join(_ref(name) if name else "_" for name in node.inputs)
    shown = printable(node.attributes, TEXT_LIMIT)
    attributes = f" {{{shown}}}" if shown else ""
    return f"{results} = {printable(node.op)}({operands}){attributes} : {_types(node, types)}"


def _types(node: OnnxNodeText, types: Mapping[str, str]) -> str:
    return ", ".join(printable(types.get(n, "?"), TEXT_LIMIT) for n in node.outputs)


def _ref(name: str) -> str:
    return "%" + shown_name(name)


def _written(graph: Graph, text: OnnxText, ids: _Ids) -> Iterator[Link]:
    """Links from our nodes to those written for them; a matrix is written by its users."""
    written: defaultdict[str, list[int]] = defaultdict(list)
    for id_, proto in zip(ids.nodes, text.nodes, strict=True):
        written[proto.origin].append(id_)
    for node in graph:
        for id_ in _written_for(node, written):
            yield node.uid, id_


def _written_for(node: Node, written: Mapping[str, Sequence[int]]) -> list[int]:
    names = dict.fromkeys(v.name for v in node.results)
    if not any(name in written for name in names):
        names = dict.fromkeys(u.name for v in node.results for u in v.users)
    return [id_ for name in names for id_ in written.get(name, ())]


def _totals(text: OnnxText) -> dict[str, int]:
    return {"nodes": len(text.nodes), "parameter_bytes": text.constant_bytes}


def _numerics(
    graph: Graph,
    inputs: Mapping[str, Array] | None,
    references: Sequence[Mapping[str, Array]],
) -> LaterNumerics | None:
    if inputs is None or len(references) != 2:
        return None
    program = find_backend("onnx").compile(graph, Options(), "")
    arrays = program([inputs[v.name] for v in graph.inputs])
    result = {v.name: y for v, y in zip(graph.outputs, arrays, strict=True)}
    return LaterNumerics(*(relative_error(result, reference) for reference in references))
