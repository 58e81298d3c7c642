"""Matrix products."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from irconv.dim import Dim
from irconv.errors import GraphError
from irconv.kinds import FLOATS, expect_dtype, narrowed, widened
from irconv.op import Op, optional, present, same_dtype, tensor
from irconv.shapes import broadcast_into, matmul_shape, rank_at_least, same_size, within_budget
from irconv.types import DTYPES, Array, TensorType, Type

_PRODUCTS = FLOATS | {DTYPES[name] for name in ("i32", "i64", "u32", "u64")}


@dataclass(frozen=True)
class MatMul(Op):
    """The product of the last two axes, as numpy.matmul; the axes before them are broadcast."""

    operands: ClassVar[str] = "a, b"

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        a, b = tensor(types, 0), tensor(types, 1)
        same_dtype(self, types)
        expect_dtype(self, a, _PRODUCTS)
        rank_at_least(self, a, 1)
        rank_at_least(self, b, 1)
        shape = matmul_shape(a.shape, b.shape)
        return (within_budget(self, TensorType(a.dtype, shape)),)

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        a, b = present(arrays, 0), present(arrays, 1)
        return (narrowed(np.matmul(widened(a), widened(b)), np.result_type(a, b)),)

    def macs(self, types: Sequence[Type | None], results: Sequence[Type]) -> Dim:
        return tensor(results, 0).size * tensor(types, 0).shape[-1]


@dataclass(frozen=True)
class Gemm(Op):
    """alpha * a' @ b' + beta * c; a' and b' may be transposed, c broadcasts to the result."""

    operands: ClassVar[str] = "a, b, c?"
    alpha: float = 1.0
    beta: float = 1.0
    transA: int = 0  # noqa: N815 -- ONNX's name
    transB: int = 0  # noqa: N815 -- ONNX's name

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        a, b = tensor(types, 0), tensor(types, 1)
        dtype = same_dtype(self, types)
        expect_dtype(self, a, _PRODUCTS)
        if a.rank != 2 or b.rank != 2:
            raise GraphError("Gemm multiplies two matrices", got=f"{a} and {b}")
        if dtype not in FLOATS and (self.alpha, self.beta) != (1.0, 1.0):
            raise GraphError(
                "Gemm of integers scales by 1 only", got=f"{self.alpha} and {self.beta}"
            )
        rows, inner = a.shape[::-1] if self.transA else a.shape
        other, columns = b.shape[::-1] if self.transB else b.shape
        same_size(inner, other, "Gemm: the inner sizes differ")
        if optional(types, 2) is not None:
            broadcast_into(tensor(types, 2).shape, (rows, columns), "Gemm's third operand")
        return (within_budget(self, TensorType(dtype, (rows, columns))),)

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        a, b, c = present(arrays, 0), present(arrays, 1), optional(arrays, 2)
        left, right = widened(a), widened(b)
        result = np.matmul(left.T if self.transA else left, right.T if self.transB else right)
        result = result if self.alpha == 1.0 else self.alpha * result
        if c is not None:
            result = result + (widened(c) if self.beta == 1.0 else self.beta * widened(c))
        return (narrowed(result, np.result_type(a, b)),)

    def macs(self, types: Sequence[Type | None], results: Sequence[Type]) -> Dim:
        inner = tensor(types, 0).shape[0 if self.transA else 1]
        return tensor(results, 0).size * inner
