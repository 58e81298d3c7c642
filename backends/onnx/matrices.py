"""The product with a shared-weight matrix: weights stand once, the index places them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from irconv.backends.onnx.fused import Write, epilogue
from irconv.backends.onnx.records import Emitter, Operand, Site
from irconv.errors import ExportError
from irconv.graph import Node, Value
from irconv.interpret import content
from irconv.ops.sparse import SparseMatMul
from irconv.types import Array, MatrixType

# bytes of the padded index of one literal matrix; running it takes as much again for each image
LITERAL_BUDGET = 1 << 28


@dataclass(frozen=True, slots=True)
class _Matrix:
    """A ConvMatrix node taken apart."""

    kind: MatrixType
    weights: Value
    indptr: Array
    columns: Array
    entries: Array

    @classmethod
    def of(cls, operand: Operand) -> _Matrix:
        maker = operand.producer if isinstance(operand, Value) else None
        if maker is None or not isinstance(maker.result.type, MatrixType):
            raise ExportError("a matrix must be made by ConvMatrix", got=operand)
        weights, *index = (_operand(maker, i) for i in range(4))
        if not all(v.is_parameter for v in index):
            raise ExportError("the index of a matrix must be constant")
        indptr, columns, entries = (content(v) for v in index)
        return cls(maker.result.type, weights, indptr, columns, entries)

    @property
    def rows(self) -> Array:
        """The row of each entry."""
        return np.repeat(np.arange(len(self.indptr) - 1), np.diff(self.indptr))

    @property
    def places(self) -> Array:
        """How many entries of its row stand before each entry."""
        first: Array = np.repeat(self.indptr[:-1], np.diff(self.indptr))
        return np.arange(len(self.entries)) - first


def _operand(node: Node, index: int) -> Value:
    value = node.operand(index)
    if value is None:
        raise ExportError(f"{node.op.name} lacks operand {index}")
    return value


def sparse_matmul(out: Emitter, site: Site, write: Write) -> tuple[str, ...]:
    """SparseMatMul in the form of its matrix, then bias, residual, activation."""
    op = site.op
    assert isinstance(op, SparseMatMul)
    matrix = _Matrix.of(site.operand(0))
    product = _literal if matrix.kind.form == "literal" else _taps
    x, of_images = site.operand(1), site.type(1).rank > 2
    if of_images:
        x = out.reshape(x, (0, matrix.kind.columns), "vectors")
    y = product(out, matrix, x, site.operand(2))
    if of_images:
        y = out.reshape(y, (0, *matrix.kind.result_image), "images")
    return (epilogue(out, y, site.result(), site.operand(3), op.activation, write),)


# -- tap form ------------------------------------------------------------------------------------


def _taps(out: Emitter, matrix: _Matrix, x: Operand, bias: Operand) -> str:
    """For each tap a Gather of pixels and a MatMul with that tap's weights, summed.

    Pixels come first and channels last: a Gather then copies whole rows, which in onnxruntime 1.31
    is four times faster (1.5 ms instead of 6 at 56x56 and 64 channels). Rows that lack a tap read a
    pixel of zeros.
    """
    blocks = _Blocks.of(matrix.kind)
    pixels = matrix.kind.columns // (blocks.group * blocks.inner)
    chosen = _choices(matrix, pixels)
    y = out.reshape(x, blocks.shape(blocks.inner, pixels), "pixels")
    y = out.transpose(y, blocks.swap)
    padded = y
    if any((index == pixels).any() for levels in chosen.values() for index in levels):
        pairs = [(0, 0)] * len(blocks.swap)
        pairs[blocks.pixel_axis] = (0, 1)
        padded = out.pad(y, pairs, matrix.weights.tensor_type)
    weights = blocks.weights(out, matrix)
    # onnxruntime fuses the transpose of the pixels into a product, and that product fails
    out.lacks_images = out.lacks_images or not blocks.depthwise
    total = ""
    for tap, levels in chosen.items():
        read = _gathered(out, (y, padded), levels, blocks.pixel_axis, pixels)
        part = blocks.product(out, read, weights, tap)
        total = out.add("Add", [total, part]) if total else part
    if bias is not None:
        total = out.add("Add", [total, blocks.bias(out, bias)])
    return out.reshape(out.transpose(total, blocks.swap), (0, matrix.kind.rows), "vectors")


def _choices(matrix: _Matrix, pixels: int) -> dict[int, list[Array]]:
    """For each tap, the pixel that each row reads (`pixels` where it reads none).

    A convolution's index gives a row each tap at most once; an index where it comes more often
    takes as many vectors, whose pixels are added.
    """
    rows, order = matrix.rows, np.lexsort((matrix.rows, matrix.entries))
    found: dict[int, list[Array]] = {}
    taps, starts = np.unique(matrix.entries[order], return_index=True)
    for tap, part in zip(taps, np.split(order, starts[1:]), strict=True):
        found[int(tap)] = _levels(rows[part], matrix.columns[part], matrix.kind.index_rows, pixels)
    if not found:
        found[0] = [np.full(matrix.kind.index_rows, pixels, np.int32)]
    return found


def _levels(rows: Array, columns: Array, count: int, missing: int) -> list[Array]:
    """`rows` is sorted; the k-th vector holds the k-th column of each row."""
    _, first, counts = np.unique(rows, return_index=True, return_counts=True)
    level = np.arange(len(rows)) - np.repeat(first, counts)
    found = []
    for k in range(int(counts.max())):
        index = np.full(count, missing, np.int32)
        index[rows[level == k]] = columns[level == k]
        found.append(index)
    return found


def _gathered(out: Emitter, x: tuple[str, str], levels: list[Array], axis: int, pixels: int) -> str:
    """The pixels that the rows read; `x` without, and with, a zero at its end."""
    total = ""
    for index in levels:
        identity = len(index) == pixels and bool((index == np.arange(pixels)).all())
        part = x[0]
        if not identity:
            part = out.add("Gather", [x[1], out.constant(index, "pixel_index")], {"axis": axis})
        total = out.add("Add", [total, part]) if total else part
    return total


@dataclass(frozen=True, slots=True)
class _Blocks:
    """How pixels and weights are laid out: [N, group, pixels, channels], one group left out.

    Depthwise, one channel a group: [N, pixels, group], and a product is a Mul.
    """

    group: int
    inner: int
    outer: int
    taps: int
    transposed: bool

    @classmethod
    def of(cls, kind: MatrixType) -> _Blocks:
        g = kind.geometry
        inner, outer = g.in_channels // g.group, g.out_channels // g.group
        if kind.transposed:
            inner, outer = outer, inner
        return cls(g.group, inner, outer, g.taps, kind.transposed)

    @property
    def flat(self) -> bool:
        """Whether there is no axis of groups: one group, or groups of one channel."""
        return self.group == 1 or self.depthwise

    @property
    def depthwise(self) -> bool:
        return self.group > 1 and self.inner == self.outer == 1

    @property
    def pixel_axis(self) -> int:
        return 1 if self.flat else 2

    @property
    def swap(self) -> tuple[int, ...]:
        return (0, 2, 1) if self.flat else (0, 1, 3, 2)

    def shape(self, channels: int, pixels: int) -> tuple[int, ...]:
        """The image as the graph has it: channels before pixels."""
        return (
            (0, self.group * channels, pixels) if self.flat else (0, self.group, channels, pixels)
        )

    def weights(self, out: Emitter, matrix: _Matrix) -> str:
        """The free weights, tap first: [taps, group, inner, outer] (depthwise [taps, group])."""
        w = matrix.weights
        rows, columns = (self.inner, self.outer) if self.transposed else (self.outer, self.inner)
        if self.depthwise:
            return out.transpose(out.reshape(w, (self.group, self.taps), "weights"), (1, 0))
        if self.group == 1:
            y = out.reshape(w, (rows, columns, self.taps), "weights")
            return out.transpose(y, (2, 0, 1) if self.transposed else (2, 1, 0))
        y = out.reshape(w, (self.group, rows, columns, self.taps), "weights")
        return out.transpose(y, (3, 0, 1, 2) if self.transposed else (3, 0, 2, 1))

    def product(self, out: Emitter, pixels: str, weights: str, tap: int) -> str:
        index = out.constant(np.array(tap, np.int64), "tap")
        block = out.add("Gather", [weights, index], {"axis": 0}, "block")
        return out.add("Mul" if self.depthwise else "MatMul", [pixels, block])

    def bias(self, out: Emitter, bias: Operand) -> Operand:
        return bias if self.flat else out.reshape(bias, (self.group, 1, self.outer), "bias")


# -- literal form --------------------------------------------------------------------------------


def _literal(out: Emitter, matrix: _Matrix, x: Operand, bias: Operand) -> str:
    """Each row padded to the longest: Gather of free weights, Gather of elements, Mul, ReduceSum.

    onnxruntime has no sparse x dense product. A place that only fills a row holds a zero weight and
    reads a zero.
    """
    kind = matrix.kind
    length = max(1, int(np.diff(matrix.indptr).max(initial=1)))
    size = 8 * kind.rows * length
    if size > LITERAL_BUDGET:
        raise ExportError(
            f"the literal matrix of {kind.rows} x {kind.columns} is too large for a file",
            expected=f"at most {LITERAL_BUDGET} bytes of index",
            got=f"{size} bytes",
            hint="lower with conv_matrix{form=tap}, or form=literal with a smaller budget",
        )
    free = kind.geometry.free_weights
    columns = np.full((kind.rows, length), kind.columns, np.int32)
    weights = np.full((kind.rows, length), free, np.int32)
    columns[matrix.rows, matrix.places] = matrix.columns
    weights[matrix.rows, matrix.places] = matrix.entries
    t = matrix.weights.tensor_type
    filled = len(matrix.entries) < columns.size
    w = out.reshape(matrix.weights, (free,), "free_weights")
    w = out.pad(w, [(0, int(filled))], t)
    x = out.pad(x, [(0, 0), (0, int(filled))], t)
    values = out.add("Gather", [w, out.constant(weights, "weight_index")], {"axis": 0}, "values")
    read = out.add("Gather", [x, out.constant(columns, "column_index")], {"axis": 1}, "elements")
    products = out.add("Mul", [read, values])
    y = out.add("ReduceSum", [products, out.ints([2], "axes")], {"keepdims": 0})
    if bias is None:
        return y
    pixels = kind.rows // kind.channels
    image = out.reshape(y, (0, kind.channels, pixels), "image")
    image = out.add("Add", [image, out.reshape(bias, (kind.channels, 1), "bias")])
    return out.reshape(image, (0, kind.rows), "vectors")
