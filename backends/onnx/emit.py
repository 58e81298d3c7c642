"""Turns a graph into the records of an ONNX graph, node by node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from irconv.backends.onnx import fused, matrices, older, patches, shuffles
from irconv.backends.onnx.empty import at_least_one_image, batch_symbol
from irconv.backends.onnx.fused import Functions
from irconv.backends.onnx.older import Form
from irconv.backends.onnx.records import Emitter, Names, OnnxGraph, Site, check_names
from irconv.backends.onnx.standard import generic, standard
from irconv.errors import ExportError, IrconvError, printable
from irconv.graph import Graph, Node, Value
from irconv.listing import node_line
from irconv.ops.winograd import WinogradConv
from irconv.types import TensorType

FORMS: dict[str, Form] = {
    **older.FORMS,
    "MatMul": fused.product,
    "ChannelShuffle": shuffles.channel_shuffle,
    "Im2Col": patches.im2col,
    "Col2Im": patches.col2im,
    "Pack": lambda out, site: (out.add("Identity", [site.operand(0)]),),  # ONNX has no layouts
    "Unpack": lambda out, site: (out.add("Identity", [site.operand(0)]),),
    "SparseMatMul": lambda out, site: matrices.sparse_matmul(out, site, write),
}
FUSED = {
    "ConvPair": fused.conv_pair,
    "FusedConv": fused.fused_conv,
    "FusedMatMul": fused.fused_matmul,
    "PreactConv": fused.preact_conv,
    "ScaleShift": fused.scale_shift,
}


def write(out: Emitter, site: Site) -> tuple[str, ...]:
    """Writes one op; the names of its results."""
    name = site.op.name
    if name in FUSED:
        return FUSED[name](out, site, write)
    if name.startswith("onnx."):
        return generic(out, site)
    return FORMS.get(name, standard)(out, site)


def emit(graph: Graph, opset: int, functions: bool = False) -> OnnxGraph:
    """The records of `graph` at an opset; with `functions`, fused nodes are calls.

    Raises ExportError, naming the node, where an op cannot be said.
    """
    check_names(graph)
    return emit_part(graph, graph.nodes, graph.inputs, graph.outputs, opset, functions)


def emit_part(
    graph: Graph,
    nodes: Sequence[Node],
    inputs: Sequence[Value],
    outputs: Sequence[Value],
    opset: int,
    functions: bool = False,
) -> OnnxGraph:
    """The records of some nodes of a graph, which take `inputs` and give `outputs`."""
    out = Emitter(opset, Names({v.name for v in graph.values}))
    local = Functions(opset) if functions else None
    for node in nodes:
        # a matrix is written by its users
        if node.op.name != "ConvMatrix":
            _write_node(out, node, local)
    results = (v for node in nodes for v in node.results)
    found = OnnxGraph(
        graph.name or "graph",
        opset,
        tuple((v.name, v.tensor_type) for v in inputs),
        _outputs(out, outputs),
        tuple(out.nodes),
        out.initializers,
        {v.name: v.type for v in results if isinstance(v.type, TensorType)},
        tuple(local.made.values()) if local is not None else (),
    )
    batch = batch_symbol(inputs)
    if batch is None or not out.lacks_images:
        return found
    return at_least_one_image(found, out, batch)


def _write_node(out: Emitter, node: Node, local: Functions | None) -> None:
    out.stem = node.name
    site = Site.of(node)
    if isinstance(site.op, WinogradConv):
        site = replace(site, op=site.op.direct)
    try:
        if local is not None and site.op.name in FUSED:
            results = local.call(out, site, FUSED[site.op.name], write)
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


def _outputs(out: Emitter, outputs: Sequence[Value]) -> tuple[tuple[str, TensorType], ...]:
    """The outputs under their names; one that is listed twice gets a second name."""
    found: dict[str, TensorType] = {}
    for value in outputs:
        out.stem = value.name
        name = value.name if value.name not in found else out.names.fresh(value.name)
        if name != out.ref(value):
            out.define(name, out.add("Identity", [value]))
        found[name] = value.tensor_type
    return tuple(found.items())
