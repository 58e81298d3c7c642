"""The matrix behind a node: the geometry of its convolution, its weights, which way it is taken."""

from __future__ import annotations

from dataclasses import dataclass

from irconv.dim import known
from irconv.errors import UsageError, printable
from irconv.geometry import ConvGeometry
from irconv.graph import Node, Value
from irconv.ops.conv import Conv, ConvTranspose
from irconv.ops.fused import FusedConv
from irconv.ops.sparse import ConvMatrix, SparseMatMul
from irconv.ops.winograd import WinogradConv
from irconv.types import Array

LAYERS = (Conv, FusedConv, ConvTranspose, ConvMatrix)


@dataclass(frozen=True, eq=False)
class LayerMatrix:
    """The matrix of one layer, not built: rows are output elements, columns input elements.

    `weights` is [out_channels, in_channels/group, *kernel] of `geometry`; None where they are not
    constant. `transposed`: the layer's matrix is the transpose of that of `geometry`.
    """

    node: str
    op: str
    geometry: ConvGeometry
    weights: Array | None
    transposed: bool = False

    @classmethod
    def of(cls, node: Node) -> LayerMatrix:
        """The matrix of a Conv, FusedConv, ConvTranspose, ConvMatrix, or of the ConvMatrix that a
        SparseMatMul takes; raises UsageError for other nodes and where sizes are not known.
        """
        match node.op:
            case SparseMatMul():
                return cls.of(_producer(node))
            case WinogradConv():
                raise _refused(node, "its weights are transformed; take the node before `winograd`")
            case ConvMatrix() as op:
                w = _operand(node, 0)
                geometry = op.geometry(w.tensor_type)
                return cls(node.name, op.name, geometry, w.array, op.transposed)
            case Conv() | FusedConv() | ConvTranspose() as op:
                geometry = _geometry(node, op)
                turned = isinstance(op, ConvTranspose)
                return cls(node.name, op.name, geometry, _operand(node, 1).array, turned)
        raise _refused(node, "a node with one convolution is needed: " + ", ".join(_names()))

    @property
    def rows(self) -> int:
        return self.geometry.columns if self.transposed else self.geometry.rows

    @property
    def columns(self) -> int:
        return self.geometry.rows if self.transposed else self.geometry.columns


def has_matrix(node: Node) -> bool:
    """Whether `LayerMatrix.of` is for nodes of this kind (its sizes may still be unknown)."""
    return isinstance(node.op, LAYERS) and not isinstance(node.op, WinogradConv)


def _names() -> list[str]:
    return [op.__name__ for op in LAYERS]


def _refused(node: Node, why: str) -> UsageError:
    return UsageError(
        "no matrix of this node", where=f"%{printable(node.name)} ({node.op.name})", hint=why
    )


def _operand(node: Node, index: int) -> Value:
    value = node.operand(index)
    if value is None:
        raise _refused(node, f"operand {index} is missing")
    return value


def _producer(node: Node) -> Node:
    producer = _operand(node, 0).producer
    if producer is None:
        raise _refused(node, "its matrix is an input of the graph")
    return producer


def _geometry(node: Node, op: Conv | FusedConv | ConvTranspose) -> ConvGeometry:
    """The geometry of the (for a ConvTranspose: the underlying) convolution."""
    x, w = _operand(node, 0), _operand(node, 1)
    turned = isinstance(op, ConvTranspose)
    image = node.result.tensor_type if turned else x.tensor_type
    sizes = (*x.shape[1:], *node.result.tensor_type.shape[1:])
    if not all(isinstance(size, int) and size > 0 for size in sizes):
        raise _refused(node, "its channels and spatial sizes must be known and above 0")
    geometry = op.conv_geometry(image, known(w.shape[0]), op.group)
    if turned and geometry.out != x.shape[2:]:
        raise _refused(node, "its output_padding is not below the stride: no convolution's adjoint")
    return geometry
