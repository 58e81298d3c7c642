"""Lets a model take a batch of 0 where MatMul cannot: one image is computed and dropped.

onnxruntime 1.31 refuses to broadcast a matrix along an axis of 0 ("right operand cannot
broadcast"), and its Einsum crashes there. So each input is padded to at least one image, and each
output is cut to N.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from irconv.backends.onnx.records import Emitter, OnnxGraph, OnnxNode
from irconv.dim import Expr, symbol, symbols_of
from irconv.graph import Value
from irconv.types import TensorType


def batch_symbol(inputs: Sequence[Value]) -> str | None:
    """The symbol that is the first size of an input by itself."""
    for value in inputs:
        first = value.shape[0] if value.shape else 1
        if isinstance(first, Expr) and str(first) in symbols_of(first):
            return str(first)
    return None


def lacks_images(a: TensorType, b: TensorType) -> bool:
    """Whether a @ b broadcasts one of them along an axis that may be 0."""
    stacked = b.rank > 2 and a.shape[:-2] != b.shape[:-2]
    return stacked and bool(a.symbols() | b.symbols())


def at_least_one_image(graph: OnnxGraph, out: Emitter, batch: str) -> OnnxGraph:
    """`graph` with its images padded in front and cut at the end; as it is where outputs have none.

    For every batch but 0 nothing changes: no image is added.
    """
    first = [t.shape[0] if t.shape else 1 for _, t in graph.outputs]
    if any(str(size) != batch for size in first):
        return graph
    padded = [(n, t) for n, t in graph.inputs if t.shape and str(t.shape[0]) == batch]
    renamed = {n: out.names.fresh(f"{n}/images") for n, _ in (*padded, *graph.outputs)}
    body = [
        OnnxNode(
            node.op_type,
            [renamed.get(i, i) for i in node.inputs],
            [renamed.get(o, o) for o in node.outputs],
            node.attributes,
            node.domain,
            node.origin,
        )
        for node in graph.nodes
    ]
    made = len(out.nodes)
    count = _count(out, padded[0][0])
    for name, t in padded:
        _pad(out, name, t, count, renamed[name])
    front, made = out.nodes[made:], len(out.nodes)
    for name, _ in graph.outputs:
        zero = out.ints([0], "zero")
        out.define(name, out.add("Slice", [renamed[name], zero, count, zero]))
    inner = {batch: symbol(f"{batch}/images")}
    values = {renamed.get(n, n): t.substitute(inner) for n, t in graph.values.items()}
    nodes = (*front, *body, *out.nodes[made:])
    return replace(graph, nodes=nodes, values=values, initializers=out.initializers)


def _count(out: Emitter, name: str) -> str:
    """The number of images, as a vector of one."""
    out.stem = name
    return out.cut(out.add("Shape", [name]), 0, 0, 1)


def _pad(out: Emitter, name: str, t: TensorType, count: str, wanted: str) -> None:
    out.stem = name
    empty = out.add("Equal", [count, out.ints([0], "zero")])
    missing = out.add("Cast", [empty], {"to": 7}, "missing")
    others = [out.ints([0] * n, "none") for n in (t.rank, t.rank - 1)]
    parts = [others[0], missing, *others[1:]] if t.rank > 1 else [others[0], missing]
    pads = out.add("Concat", parts, {"axis": 0})
    fill = out.constant(np.zeros((), t.dtype), "fill")
    out.define(wanted, out.add("Pad", [name, pads, fill], {"mode": "constant"}))
