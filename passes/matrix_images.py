"""Products with the matrix of a convolution as products with images, for the pass pack."""

from __future__ import annotations

import numpy as np

from irconv.dim import known
from irconv.geometry import ConvGeometry
from irconv.graph import Node, Value
from irconv.ops.conv import Conv
from irconv.ops.fused import FusedConv
from irconv.ops.shape import Reshape
from irconv.ops.sparse import ConvMatrix, SparseMatMul
from irconv.passes.lowering import operand, reshaped
from irconv.rewrite import Rewriter, rule
from irconv.types import MatrixType, TensorType


def is_on_images(node: Node) -> bool:
    """Whether it is the product of a matrix with images, not vectors."""
    return isinstance(node.op, SparseMatMul) and operand(node, 1).tensor_type.rank > 2


def window_of(node: Node) -> ConvGeometry | None:
    """The geometry of a convolution, or of the matrix of one that is multiplied with images."""
    op = node.op
    if isinstance(op, Conv | FusedConv):
        weights = operand(node, 1)
        image = operand(node, 0).tensor_type
        return op.conv_geometry(image, known(weights.shape[0]), op.group)
    return _matrix_type(node).geometry if is_on_images(node) else None


def image_place(node: Node) -> int:
    """Which operand the windows of `window_of` slide over."""
    return 1 if isinstance(node.op, SparseMatMul) else 0


def _matrix_type(node: Node) -> MatrixType:
    kind = operand(node, 0).type
    assert isinstance(kind, MatrixType)
    return kind


def matrix_refusal(node: Node, block: int) -> str | None:
    """Why no kernel multiplies this matrix with images in blocks, None where one does."""
    kind, maker = _matrix_type(node), operand(node, 0).producer
    g = kind.geometry
    if kind.form != "tap" or kind.transposed:
        return "its matrix is " + ("transposed" if kind.form == "tap" else "literal")
    if kind.dtype != np.float32 or g.rank not in (1, 2):
        return "it is not of f32 with images of one or two axes"
    if maker is None or not all(v is not None and v.is_parameter for v in maker.operands):
        return "its weights or its index are not constant"
    bias, others = node.operand(2), (node.operand(1), node.operand(3))
    if bias is not None and not bias.is_parameter:
        return "its bias is not constant"
    if any(v is not None and v.is_parameter for v in others):
        return "it reads constants"
    if g.group > 1 and (g.in_channels // g.group % block or g.out_channels // g.group % block):
        return "its groups are not whole blocks"
    return None if _has_each_tap_once(maker, g.taps) else "a row of its index has a tap twice"


def _has_each_tap_once(maker: Node, taps: int) -> bool:
    assert isinstance(maker.op, ConvMatrix)
    indptr, entries = operand(maker, 1).array, operand(maker, 3).array
    if indptr is None or entries is None:
        return False
    rows = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    return not entries.size or int(np.bincount(rows * taps + entries).max()) == 1


@rule(SparseMatMul)
def product_on_images(
    node: Node, rewriter: Rewriter, block: int, names: dict[Value, str]
) -> Value | None:
    """SparseMatMul(m, x) => Reshape(SparseMatMul(m, Reshape(x))), with images in between."""
    if is_on_images(node):
        return None
    kind, y = _matrix_type(node), node.result
    reason = matrix_refusal(node, block)
    if reason is None and not (y.tensor_type.is_static and known(y.shape[0])):
        reason = "its sizes are not known"
    if reason is not None:
        return rewriter.declined(node, reason)
    x = _as_images(rewriter, operand(node, 1), kind.image)
    residual = node.operand(3)
    if residual is not None:
        residual = _as_images(rewriter, residual, kind.result_image)
    images = rewriter.emit(node.op, node.operand(0), x, node.operand(2), residual, name="images")
    names[images] = node.name
    return reshaped(rewriter, images, (0, kind.rows), "vectors")


def _as_images(rewriter: Rewriter, value: Value, shape: tuple[int, ...]) -> Value:
    """Vectors as images: what they were made of, if it was these."""
    maker = value.producer
    if maker is not None and isinstance(maker.op, Reshape):
        image = operand(maker, 0)
        if image.type == TensorType(value.type.dtype, (value.shape[0], *shape)):
            return image
    return reshaped(rewriter, value, (0, *shape), "image")


@rule(Reshape)
def between_products(node: Node, rewriter: Rewriter, names: dict[Value, str]) -> Value | None:
    """Reshape(Reshape(x)) => x, where x is the result of such a product and keeps its shape."""
    middle = operand(node, 0).producer
    if middle is None or not isinstance(middle.op, Reshape):
        return None
    x = operand(middle, 0)
    if x not in names or x.type != node.result.type:
        return None
    names[x] = node.name
    return x
