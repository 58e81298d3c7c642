"""The matrix view of a convolution as an object: free weights, an index that places them, nothing
else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy

from irconv.errors import BudgetError
from irconv.geometry import ConvGeometry
from irconv.matrix_index import csr_index, expanded, literal_index, tap_index
from irconv.types import Array, MatrixType

if TYPE_CHECKING:
    from scipy.sparse.linalg import LinearOperator

DEFAULT_BUDGET = 1 << 30


@dataclass(frozen=True, eq=False)
class SharedMatrix:
    """A matrix whose zeros are fixed and whose weights are shared.

    `weights` is the free weights' tensor [out_channels, in_channels/group, *kernel]; `indptr`,
    `columns` and `entries` are the CSR index of `type.form`. Change one free weight, and every
    place that it has changes. Everything larger than the index is made when asked for, its size
    told first and refused past a budget.
    """

    type: MatrixType
    weights: Array
    indptr: Array
    columns: Array
    entries: Array

    @classmethod
    def of(
        cls, geometry: ConvGeometry, weights: Array, transposed: bool = False, form: str = "tap"
    ) -> SharedMatrix:
        """The matrix of a convolution with this geometry and these weights."""
        kind = MatrixType(weights.dtype, geometry, transposed, form)
        build = tap_index if form == "tap" else literal_index
        return cls(kind, weights, *build(geometry, transposed))

    @property
    def shape(self) -> tuple[int, int]:
        return self.type.rows, self.type.columns

    @property
    def nnz(self) -> int:
        """Places that hold a weight: entries of the CSR matrix."""
        blocks = 1
        if self.type.form == "tap":
            blocks = self.type.geometry.out_channels * self._per_group
        return len(self.entries) * blocks

    @property
    def csr_bytes(self) -> int:
        """Bytes of `csr()`."""
        return self.nnz * (self.weights.dtype.itemsize + 4) + 4 * (self.shape[0] + 1)

    @property
    def dense_bytes(self) -> int:
        """Bytes of `dense()`."""
        return self.shape[0] * self.shape[1] * self.weights.dtype.itemsize

    @property
    def _per_group(self) -> int:
        return self.type.geometry.in_channels // self.type.geometry.group

    # -- other forms -----------------------------------------------------------------------------

    def literal(self, budget: int = DEFAULT_BUDGET) -> SharedMatrix:
        """The same matrix with its index over elements: entry = index of a free weight."""
        if self.type.form == "literal":
            return self
        self._check("the literal index", 8 * self.nnz + 4 * (self.shape[0] + 1), budget)
        pixels = (self.indptr, self.columns, self.entries)
        index = expanded(self.type.geometry, self.type.transposed, pixels)
        return SharedMatrix(replace_form(self.type, "literal"), self.weights, *index)

    def csr(self, budget: int = DEFAULT_BUDGET) -> scipy.sparse.csr_array[Any]:
        """As scipy CSR, with the weights' present values."""
        self._check("the CSR matrix", self.csr_bytes, budget)
        full = self.literal(max(budget, 8 * self.nnz + 4 * (self.shape[0] + 1)))
        values = self.weights.reshape(-1)[full.entries]
        return scipy.sparse.csr_array((values, full.columns, full.indptr), shape=self.shape)

    def dense(self, budget: int = DEFAULT_BUDGET) -> Array:
        """As an ndarray [rows, columns]."""
        self._check("the dense matrix", self.dense_bytes, budget)
        return self.csr(budget=self.csr_bytes).toarray()

    def row(self, i: int) -> Array:
        """Row `i`, dense: the weights with which each input element enters output element `i`."""
        full = np.zeros(self.shape[1], self.weights.dtype)
        columns, entries = self.row_entries(i)
        np.add.at(full, columns, self.weights.reshape(-1)[entries])
        return full

    def column(self, j: int) -> Array:
        """Column `j`, dense: the weights of input element `j` in each output element."""
        return self.T.row(j)

    def row_entries(self, i: int) -> tuple[Array, Array]:
        """(columns, indices of free weights) of row `i`."""
        if not 0 <= i < self.shape[0]:
            raise IndexError(f"row {i} of a matrix with {self.shape[0]} rows")
        if self.type.form == "literal":
            part = slice(self.indptr[i], self.indptr[i + 1])
            return self.columns[part], self.entries[part]
        channel, pixel = divmod(i, self.type.index_rows)
        part = slice(self.indptr[pixel], self.indptr[pixel + 1])
        return self._block_row(channel, self.columns[part], self.entries[part])

    def _block_row(self, channel: int, pixels: Array, taps: Array) -> tuple[Array, Array]:
        g = self.type.geometry
        outs = g.out_channels // g.group
        if self.type.transposed:
            group, inner = divmod(channel, self._per_group)
            other = group * outs + np.arange(outs)[:, None]
            weights = (other * self._per_group + inner) * g.taps + taps
            size = np.prod(g.out, dtype=np.int64)
        else:
            inner_channels = np.arange(self._per_group)[:, None]
            other = channel // outs * self._per_group + inner_channels
            weights = (channel * self._per_group + inner_channels) * g.taps + taps
            size = np.prod(g.image, dtype=np.int64)
        return (other * size + pixels).reshape(-1), weights.reshape(-1)

    @property
    def T(self) -> SharedMatrix:  # noqa: N802 - the name that NumPy and SciPy use
        """The transpose, which is the exact adjoint: the matrix of the transposed convolution."""
        kind = MatrixType(
            self.type.dtype, self.type.geometry, not self.type.transposed, self.type.form
        )
        row = np.repeat(np.arange(len(self.indptr) - 1), np.diff(self.indptr))
        order = np.lexsort((self.entries, row, self.columns))
        index = csr_index(self.columns[order], row[order], self.entries[order], kind.index_rows)
        return SharedMatrix(kind, self.weights, *index)

    def with_weights(self, weights: Array) -> SharedMatrix:
        """The same places with other free weights, of the same shape."""
        return replace(self, weights=weights.reshape(self.weights.shape))

    # -- arithmetic ------------------------------------------------------------------------------

    def matmul(self, x: Array) -> Array:
        """x [N, columns] -> [N, rows], executed from the index."""
        if self.type.form == "literal":
            values = self.weights.reshape(-1)[self.entries]
            full = scipy.sparse.csr_array((values, self.columns, self.indptr), shape=self.shape)
            return np.ascontiguousarray((full @ x.T).T)
        return self._tap_matmul(x)

    def __matmul__(self, x: Array) -> Array:
        """The product with one vector [columns] or with the columns of [columns, N]."""
        return self.matmul(x[None])[0] if x.ndim == 1 else self.matmul(np.ascontiguousarray(x.T)).T

    def _tap_matmul(self, x: Array) -> Array:
        g = self.type.geometry
        blocks = self.weights.reshape(g.group, g.out_channels // g.group, self._per_group, g.taps)
        if self.type.transposed:
            blocks = blocks.swapaxes(1, 2)
        channels = blocks.shape[2]
        pixels = x.reshape(len(x), g.group, channels, self.shape[1] // (g.group * channels))
        y = np.zeros((len(x), g.group, blocks.shape[1], self.type.index_rows), x.dtype)
        row = np.repeat(np.arange(len(self.indptr) - 1), np.diff(self.indptr))
        for tap in range(g.taps):
            chosen = np.flatnonzero(self.entries == tap)
            part = blocks[..., tap] @ pixels[..., self.columns[chosen]]
            _scatter_add(y, row[chosen], part)
        return y.reshape(len(x), self.shape[0])

    def linear_operator(self) -> LinearOperator:
        """A scipy LinearOperator: products with the matrix and its adjoint, nothing built."""
        import scipy.sparse.linalg

        transposed = self.T
        return scipy.sparse.linalg.LinearOperator(
            self.shape,
            matvec=lambda v: self @ v.reshape(-1),
            rmatvec=lambda v: transposed @ v.reshape(-1),
            matmat=lambda v: self @ v,
            rmatmat=lambda v: transposed @ v,
            dtype=self.weights.dtype,
        )

    def free_gradient(self, gradient: Any, budget: int = DEFAULT_BUDGET) -> Array:
        """The gradient of the free weights, shaped like them, from the gradient of the matrix.

        `gradient` is dense [rows, columns] or a scipy sparse matrix; a free weight gets the sum
        over its places, a fixed zero gets none. Summed in float64.
        """
        full = self.literal(budget)
        row = np.repeat(np.arange(self.shape[0]), np.diff(full.indptr))
        if hasattr(gradient, "tocsr"):
            gradient = gradient.tocsr()
        values = np.asarray(gradient[row, full.columns]).reshape(-1)
        total = np.bincount(full.entries, weights=values, minlength=self.weights.size)
        return total.astype(self.weights.dtype).reshape(self.weights.shape)

    def _check(self, what: str, nbytes: int, budget: int) -> None:
        if nbytes > budget:
            raise BudgetError(
                f"{what} of {self.shape[0]} x {self.shape[1]} is too large",
                expected=f"at most {budget} bytes",
                got=f"{nbytes} bytes",
                hint="raise the budget, or use row(), column(), matmul() or linear_operator()",
            )


def replace_form(kind: MatrixType, form: str) -> MatrixType:
    """The type of the same matrix in another form."""
    return MatrixType(kind.dtype, kind.geometry, kind.transposed, form)


def _scatter_add(y: Array, rows: Array, part: Array) -> None:
    """y[..., rows] += part, also where a row occurs twice."""
    if len(np.unique(rows)) == len(rows):
        y[..., rows] += part
    else:
        np.add.at(np.moveaxis(y, -1, 0), rows, np.moveaxis(part, -1, 0))
