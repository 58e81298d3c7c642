"""Lowers each convolution to one sparse matrix with fixed zeros and shared weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from irconv.dim import known
from irconv.errors import PipelineError
from irconv.geometry import ConvGeometry
from irconv.graph import Graph, Node, Value
from irconv.matrix import DEFAULT_BUDGET
from irconv.matrix_index import literal_index, tap_index
from irconv.ops.conv import Conv, ConvTranspose
from irconv.ops.fused import FusedConv
from irconv.ops.sparse import ConvMatrix as ConvMatrixOp
from irconv.ops.sparse import SparseMatMul
from irconv.ops.winograd import WinogradConv
from irconv.passes.lowering import (
    SPLITS,
    TRANSFORMED,
    known_sizes,
    operand,
    reshaped,
    with_pool,
)
from irconv.pipeline import Pass
from irconv.rewrite import Rewriter, rule
from irconv.types import Array, MatrixType

INDEX_LIMIT = (1 << 31) - 1


@dataclass(frozen=True)
class ConvMatrix(Pass):
    """Lowers each convolution to one sparse matrix with fixed zeros and shared weights.

    `form=tap`: the index pairs output pixels with input pixels, an entry is a tap of the kernel.
    `form=literal`: the index holds every element of the matrix, as CSR; at most `budget` bytes in
    all, past which a layer is left alone.
    """

    exact: ClassVar[bool] = True

    form: Literal["tap", "literal"] = "tap"
    budget: int = DEFAULT_BUDGET

    def __post_init__(self) -> None:
        if self.budget < 0:
            raise PipelineError("conv_matrix: wrong budget", expected="0 or more", got=self.budget)

    def run(self, graph: Graph, rewriter: Rewriter) -> None:
        indexes = _Indexes(self.form, self.budget)
        rewriter.apply([*SPLITS, conv_to_matrix.with_options(indexes=indexes)])


class _Indexes:
    """Builds indexes within the budget; layers of one geometry share the arrays of theirs."""

    def __init__(self, form: str, budget: int) -> None:
        self.form = form
        self.left = budget
        self.budget = budget
        self.built: dict[tuple[ConvGeometry, bool], tuple[Array, Array, Array]] = {}

    def refusal(self, kind: MatrixType) -> str | None:
        """Why no index of this kind is made, or None."""
        if max(kind.entries, kind.rows, kind.columns) > INDEX_LIMIT:
            return f"its index would have {kind.entries} entries, more than 2^31 - 1"
        if self.form == "literal" and kind.index_bytes > self.left:
            tap = MatrixType(kind.dtype, kind.geometry, kind.transposed).index_bytes
            return (
                f"its literal index takes {kind.index_bytes} bytes, {self.left} of "
                f"{self.budget} are left; form=tap takes {tap} bytes"
            )
        return None

    def build(self, kind: MatrixType) -> tuple[Array, Array, Array]:
        """(indptr, columns, entries)."""
        key = (kind.geometry, kind.transposed)
        if key not in self.built:
            make = literal_index if self.form == "literal" else tap_index
            self.built[key] = make(*key)
            self.left -= kind.index_bytes if self.form == "literal" else 0
        return self.built[key]


@rule(Conv, FusedConv, WinogradConv, ConvTranspose)
def conv_to_matrix(node: Node, rewriter: Rewriter, indexes: _Indexes) -> Value | None:
    """Conv(x, w) => SparseMatMul(ConvMatrix(w), x); of a transposed convolution, the transposed
    matrix.
    """
    op = node.op
    assert isinstance(op, Conv | FusedConv | ConvTranspose)
    if isinstance(op, WinogradConv):
        return rewriter.declined(node, TRANSFORMED)
    x, w = operand(node, 0), operand(node, 1)
    if not known_sizes(node, rewriter):
        return None
    geometry = _geometry(node, op)
    if geometry is None:
        return rewriter.declined(node, "output_padding is not below the stride")
    transposed = isinstance(op, ConvTranspose)
    kind = MatrixType(w.tensor_type.dtype, geometry, transposed, indexes.form)
    refusal = indexes.refusal(kind)
    if refusal is not None:
        return rewriter.declined(node, refusal)

    names = ("indptr", "columns", "entries")
    index = [
        rewriter.constant(array, name)
        for array, name in zip(indexes.build(kind), names, strict=True)
    ]
    matrix = rewriter.emit(_matrix_op(geometry, kind), w, *index, name="matrix")
    vectors = reshaped(rewriter, x, (0, kind.columns), "vectors")
    residual = node.operand(3)
    if residual is not None:
        residual = reshaped(rewriter, residual, (0, kind.rows), "residual")
    activation = op.activation if isinstance(op, FusedConv) else None
    product = rewriter.emit(
        SparseMatMul(activation), matrix, vectors, node.operand(2), residual, name="product"
    )
    out = geometry.image if transposed else geometry.out
    y = reshaped(rewriter, product, (0, kind.channels, *out), "image")
    return with_pool(rewriter, op, y)


def _geometry(node: Node, op: Conv | FusedConv | ConvTranspose) -> ConvGeometry | None:
    """The geometry of the (for a ConvTranspose: the underlying) convolution; None where there is
    none.
    """
    x, w = operand(node, 0), operand(node, 1)
    if not isinstance(op, ConvTranspose):
        return op.conv_geometry(x.tensor_type, known(w.shape[0]), op.group)
    geometry = op.conv_geometry(node.result.tensor_type, known(w.shape[0]), op.group)
    return geometry if geometry.out == x.shape[2:] else None


def _matrix_op(geometry: ConvGeometry, kind: MatrixType) -> ConvMatrixOp:
    return ConvMatrixOp(
        geometry.kernel,
        geometry.strides,
        geometry.pads,
        geometry.dilations,
        image=geometry.image,
        group=geometry.group,
        transposed=kind.transposed,
        form=kind.form,
    )
