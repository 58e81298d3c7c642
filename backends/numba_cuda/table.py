"""The table op class -> binder, and which ops are views."""

from __future__ import annotations

from collections.abc import Sequence

from irconv.backends.numba_cuda import (
    convolution,
    matrices,
    movement,
    normalisation,
    patches,
    pointwise,
    pools,
    products,
    reductions,
)
from irconv.backends.numba_cuda.launch import Binder, Bound, Launch
from irconv.graph import Graph, Node, Value
from irconv.ops.identity import Identity
from irconv.ops.layout import Pack, Unpack
from irconv.ops.shape import Flatten, Reshape, Squeeze, Unsqueeze
from irconv.types import MatrixType, TensorType

BINDERS: dict[type, Binder] = {
    **convolution.BINDERS,
    **patches.BINDERS,
    **products.BINDERS,
    **matrices.BINDERS,
    **pools.BINDERS,
    **pointwise.BINDERS,
    **reductions.BINDERS,
    **normalisation.BINDERS,
    **movement.BINDERS,
}
VIEWS = (Reshape, Flatten, Squeeze, Unsqueeze, Identity, Pack, Unpack)  # no layouts here yet


def bind(node: Node) -> Bound:
    """The launches that compute a node, or why there are none for it."""
    types = [v.type for v in (*node.operands, *node.results) if v is not None]
    if any(isinstance(t, TensorType) and not t.is_static for t in types):
        return "its sizes are not known before it runs"
    if isinstance(node.op, VIEWS):
        return []
    binder = BINDERS.get(type(node.op))
    return binder(node) if binder is not None else "no kernel for this op"


def kernel_names(node: Node, launches: Sequence[Launch]) -> str:
    """What runs a node, for the report: its kernels, or that it is only a view or an index."""
    matrix = isinstance(node.results[0].type, MatrixType)
    nothing = "index" if matrix else "view"
    return " + ".join(dict.fromkeys(one.name for one in launches)) or nothing


def views(graph: Graph) -> dict[Value, Value]:
    """value -> the value whose buffer it is: of reshapes, and of matrices (their weights)."""
    owners: dict[Value, Value] = {}
    for node in graph:
        source, result = node.operand(0), node.results[0]
        matrix = isinstance(result.type, MatrixType)
        if source is not None and (matrix or (isinstance(node.op, VIEWS) and _known(node))):
            owners[result] = owners.get(source, source)
    return owners


def _known(node: Node) -> bool:
    types = [v.type for v in (*node.operands, *node.results) if v is not None]
    return all(isinstance(t, TensorType) and t.is_static for t in types)
