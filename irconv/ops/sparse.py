"""The matrix of a convolution: fixed zeros, shared weights; and its product with vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from irconv.dim import Dim
from irconv.errors import GraphError
from irconv.geometry import ConvGeometry
from irconv.matrix import SharedMatrix
from irconv.matrix_index import check_index
from irconv.op import (
    Cost,
    Op,
    bytes_moved,
    matrix,
    optional,
    present,
    same_dtype,
    static_shape,
    tensor,
)
from irconv.ops.conv import check_bias
from irconv.ops.fused import check_activation, epilogue
from irconv.types import Array, MatrixType, TensorType, Type
from irconv.window import Windowed


@dataclass(frozen=True)
class ConvMatrix(Windowed):
    """The sparse matrix of a convolution: free weights w, placed by an index; what is absent is a
    fixed zero.

    `indptr`, `columns` and `entries` are the index in CSR form, int32. In the tap form its rows are
    output pixels, its columns input pixels, its entries taps of the kernel: blocks that share their
    weights. In the literal form rows and columns are elements and entries number the free weights,
    row-major. `transposed`: of the convolution with this window and weights, the transposed matrix.
    """

    operands: ClassVar[str] = "w, indptr, columns, entries"
    image: tuple[int, ...] = ()
    group: int = 1
    transposed: bool = False
    form: str = "tap"

    def geometry(self, w: TensorType) -> ConvGeometry:
        """The convolution's geometry, from the weights' shape."""
        shape = static_shape(w, "ConvMatrix's weights")
        if (
            len(shape) != self.rank + 2
            or shape[2:] != self.kernel_shape
            or len(self.image) != self.rank
        ):
            raise GraphError(
                "ConvMatrix: the weights do not fit",
                expected=f"[O, C/group, {self.kernel_shape}]",
                got=w,
            )
        if self.group < 1 or shape[0] % self.group:
            raise GraphError("ConvMatrix: group does not divide the channels", got=self.group)
        return ConvGeometry(
            shape[1] * self.group,
            shape[0],
            self.image,
            self.kernel_shape,
            self.strides,
            self.pads,
            self.dilations,
            self.group,
        )

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        if self.form not in ("tap", "literal"):
            raise GraphError("ConvMatrix: unknown form", expected="tap or literal", got=self.form)
        w = tensor(types, 0)
        found = MatrixType(w.dtype, self.geometry(w), self.transposed, self.form)
        indptr, columns, entries = (tensor(types, i) for i in (1, 2, 3))
        if (
            columns.shape != entries.shape
            or columns.rank != 1
            or indptr.shape != (found.index_rows + 1,)
        ):
            raise GraphError(
                "ConvMatrix: the index does not fit",
                expected=f"indptr [{found.index_rows + 1}], columns and entries of one length",
                got=f"{indptr}, {columns}, {entries}",
            )
        if any(t.dtype.name != "int32" for t in (indptr, columns, entries)):
            raise GraphError(
                "ConvMatrix: the index is not int32", got=f"{indptr}, {columns}, {entries}"
            )
        index = [array for array in constants[1:] if array is not None]
        if len(index) == 3:
            check_index(found, *index)
        return (found,)

    def run(self, arrays: Sequence[Any | None]) -> tuple[Any, ...]:
        w = present(arrays, 0)
        found = MatrixType(
            w.dtype, self.geometry(TensorType(w.dtype, w.shape)), self.transposed, self.form
        )
        index = (present(arrays, 1), present(arrays, 2), present(arrays, 3))
        return (SharedMatrix(found, w, *index),)

    def cost(self, types: Sequence[Type | None], results: Sequence[Type]) -> Cost:
        """Nothing is computed or moved: the matrix is its weights and its index."""
        return Cost()


@dataclass(frozen=True)
class SparseMatMul(Op):
    """activation(m x + b + r) for each vector: x [N, columns] -> [N, rows]; b has one number per
    channel.

    x may be the images whose elements are the columns: [N, channels, *spatial]; then so are y and
    r, of the rows.
    """

    operands: ClassVar[str] = "m, x, b?, r?"
    activation: Op | None = None

    def __post_init__(self) -> None:
        check_activation(self, self.activation)

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        same_dtype(self, types)
        m, x = matrix(types, 0), tensor(types, 1)
        if x.shape[1:] not in ((m.columns,), m.image):
            images = ", ".join(map(str, m.image))
            raise GraphError(
                "SparseMatMul: wrong vectors",
                expected=f"[N, {m.columns}] or [N, {images}]",
                got=x,
            )
        check_bias(self, optional(types, 2), m.channels)
        y = x.with_shape((x.shape[0], *((m.rows,) if x.rank == 2 else m.result_image)))
        residual = optional(types, 3)
        if residual is not None and residual != y:
            raise GraphError("SparseMatMul: wrong residual", expected=y, got=residual)
        return (y,)

    def run(self, arrays: Sequence[Any | None]) -> tuple[Array, ...]:
        m, x, b = present(arrays, 0), present(arrays, 1), optional(arrays, 2)
        y = m.matmul(x.reshape(len(x), m.shape[1]))
        if b is not None:
            channels = m.type.channels
            image = y.reshape(len(x), channels, m.shape[0] // channels)
            y = (image + b[:, None]).reshape(y.shape)
        if x.ndim > 2:
            y = y.reshape(len(x), *m.type.result_image)
        return (epilogue(y, optional(arrays, 3), self.activation),)

    def macs(self, types: Sequence[Type | None], results: Sequence[Type]) -> Dim:
        return tensor(types, 1).shape[0] * matrix(types, 0).nnz

    def cost(self, types: Sequence[Type | None], results: Sequence[Type]) -> Cost:
        m = matrix(types, 0)
        moved = bytes_moved(types) + bytes_moved(results) + m.index_bytes
        moved = moved + m.geometry.free_weights * m.dtype.itemsize
        return Cost(self.macs(types, results), moved)
