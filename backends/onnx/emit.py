"""Turns a graph into the records of an ONNX graph, node by node."""

from __future__ import annotations

from irconv.backends.onnx import fused, matrices, older, patches
from irconv.backends.onnx.fused import Functions
from irconv.backends.onnx.older import Form
from irconv.backends.onnx.records import Emitter, Names, OnnxGraph, Site, check_names
from irconv.backends.onnx.standard import generic, standard
from irconv.errors import ExportError, IrconvError, printable
from irconv.graph import Graph, Node
from irconv.listing import node_line
from irconv.types import TensorType

FORMS: dict[str, Form] = {
    **older.FORMS,
    "Im2Col": patches.im2col,
    "Col2Im": patches.col2im,
    "SparseMatMul": lambda out, site: matrices.sparse_matmul(out, site, write),
}
FUSED = {"FusedConv": fused.fused_conv, "FusedMatMul": fused.fused_matmul}


def write(out: Emitter, site: Site) -> tuple[str, ...]:
    """Writes one op; the names of its results."""
    name = site.op.name
    if name in FUSED:
        return FUSED[name](out, site, write)
    if name.startswith("onnx."):
        return generic(out, site)
    return FORMS.get(name, standard)(out, site)


def emit(graph: Graph, opset: int, functions: bool = False) -> OnnxGraph:
    """The records of `graph` at an opset; with `functions`, a fused node is a call of a local function.

    Raises ExportError, naming the node, where an op cannot be said.
    """
    check_names(graph)
    names = Names({v.name for v in graph.values})
    out = Emitter(opset, names)
    local = Functions(opset) if functions else None
    for node in graph:
        # its users write it
        if node.op.name != "ConvMatrix":
            _write_node(out, node, local)
    outputs = _outputs(out, graph)
    results = (v for node in graph for v in node.results)
    return OnnxGraph(
        graph.name or "graph",
        opset,
        tuple((v.name, v.tensor_type) for v in graph.inputs),
        outputs,
        tuple(out.nodes),
        out.initializers,
        {v.name: v.type for v in results if isinstance(v.type, TensorType)},
        tuple(local.made.values()) if local is not None else (),
    )


def _write_node(out: Emitter, node: Node, local: Functions | None) -> None:
    out.stem = node.name
    site = Site.of(node)
    try:
        if local is not None and node.op.name in FUSED:
            results = local.call(out, site, FUSED[node.op.name], write)
        else:
            results = write(out, site)
    except IrconvError as error:
        raise ExportError(
            error.what,
            where=error.where or f"%{printable(node.name)}",
            expected=error.expected,
            got=error.got,
            hint=error.hint,
            listing=node_line(node),
        ) from error
    for value, name in zip(node.results, results, strict=True):
        out.define(value.name, name)


def _outputs(out: Emitter, graph: Graph) -> tuple[tuple[str, TensorType], ...]:
    """The outputs under their names; one that is listed twice gets a second name."""
    found: dict[str, TensorType] = {}
    for value in graph.outputs:
        out.stem = value.name
        name = value.name if value.name not in found else out.names.fresh(value.name)
        if name != out.ref(value):
            out.define(name, out.add("Identity", [value]))
        found[name] = value.tensor_type
    return tuple(found.items())
