"""Several layers as one node: convolution or product, bias, residual, activation, pool."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from irconv.dim import Dim, known, product
from irconv.errors import GraphError
from irconv.op import Op, operand_names, optional, present, same_dtype, tensor
from irconv.ops.activation import ACTIVATIONS
from irconv.ops.conv import add_bias, check_bias, check_weights, convolve
from irconv.ops.pool import AveragePool, GlobalAveragePool, GlobalMaxPool, MaxPool
from irconv.shapes import broadcast, matmul_shape
from irconv.types import Array, TensorType, Type
from irconv.window import Windowed

POOLS = (MaxPool, AveragePool, GlobalAveragePool, GlobalMaxPool)


@dataclass(frozen=True)
class FusedConv(Windowed):
    """pool(activation(Conv(x, w) + b + r)) as one node; r has the shape before the pool."""

    operands: ClassVar[str] = "x, w, b?, r?"
    group: int = 1
    activation: Op | None = None
    pool: Op | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_activation(self, self.activation)
        if self.pool is not None and (not isinstance(self.pool, POOLS) or self.pool.n_results != 1):
            raise GraphError(
                "FusedConv: not a pool that can be fused",
                expected=", ".join(p.__name__ for p in POOLS),
                got=self.pool.name,
            )

    def conv_type(self, types: Sequence[Type | None]) -> TensorType:
        """The type between the convolution and the pool."""
        x, w = tensor(types, 0), tensor(types, 1)
        out_channels, _ = check_weights(self, x, w)
        return x.with_shape((x.shape[0], out_channels, *self.out_sizes(x.shape[2:])))

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        same_dtype(self, types)
        between = self.conv_type(types)
        check_bias(self, optional(types, 2), known(between.shape[1]))
        residual = optional(types, 3)
        if residual is not None and residual != between:
            raise GraphError("FusedConv: wrong residual", expected=between, got=residual)
        return (between,) if self.pool is None else self.pool.infer([between], [None])

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        y = convolve(self, present(arrays, 0), present(arrays, 1), self.group)
        y = epilogue(add_bias(y, optional(arrays, 2)), optional(arrays, 3), self.activation)
        return (y,) if self.pool is None else self.pool.run([y])

    def macs(self, types: Sequence[Type | None], results: Sequence[Type]) -> Dim:
        return self.conv_type(types).size * product(tensor(types, 1).shape[1:])


@dataclass(frozen=True)
class FusedMatMul(Op):
    """activation(a @ b + bias + r), batched and broadcast as numpy.matmul; bias broadcasts to the
    result.
    """

    operands: ClassVar[str] = "a, b, bias?, r?"
    transA: bool = False  # noqa: N815 - ONNX's name
    transB: bool = False  # noqa: N815 - ONNX's name
    activation: Op | None = None

    def __post_init__(self) -> None:
        check_activation(self, self.activation)

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        same_dtype(self, types)
        a, b = tensor(types, 0), tensor(types, 1)
        if min(a.rank, b.rank) < 2:
            raise GraphError("FusedMatMul: wrong rank", expected="matrices", got=f"{a} and {b}")
        shape = matmul_shape(_turned(a.shape, self.transA), _turned(b.shape, self.transB))
        bias, residual = optional(types, 2), optional(types, 3)
        if bias is not None and broadcast([shape, tensor(types, 2).shape]) != shape:
            raise GraphError(
                "FusedMatMul: wrong bias", expected=f"broadcastable to {shape}", got=bias
            )
        if residual is not None and residual != a.with_shape(shape):
            raise GraphError(
                "FusedMatMul: wrong residual", expected=a.with_shape(shape), got=residual
            )
        return (a.with_shape(shape),)

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        a, b, bias = present(arrays, 0), present(arrays, 1), optional(arrays, 2)
        y = (a.swapaxes(-1, -2) if self.transA else a) @ (b.swapaxes(-1, -2) if self.transB else b)
        return (epilogue(y if bias is None else y + bias, optional(arrays, 3), self.activation),)

    def macs(self, types: Sequence[Type | None], results: Sequence[Type]) -> Dim:
        return tensor(results, 0).size * tensor(types, 0).shape[-2 if self.transA else -1]


@dataclass(frozen=True)
class Clamp(Op):
    """Clip to known bounds; NaN stays NaN."""

    min: float = -np.inf
    max: float = np.inf

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        return (tensor(types, 0),)

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        x = present(arrays, 0)
        low, high = np.asarray(self.min, x.dtype), np.asarray(self.max, x.dtype)
        return (np.minimum(np.maximum(x, low), high),)


def check_activation(op: Op, activation: Op | None) -> None:
    """Raises GraphError unless `activation` is None or an elementwise op of one operand."""
    fits = activation is None or isinstance(activation, (*ACTIVATIONS, Clamp))
    if activation is not None and not (fits and len(operand_names(activation)) == 1):
        raise GraphError(
            f"{op.name}: not an activation that can be fused",
            expected=", ".join([a.__name__ for a in ACTIVATIONS] + ["Clamp"]),
            got=activation.name,
        )


def epilogue(y: Array, residual: Array | None, activation: Op | None) -> Array:
    """What follows a product: plus the residual, then the activation."""
    y = y if residual is None else y + residual
    return y if activation is None else activation.run([y])[0]


def _turned(shape: tuple[Dim, ...], transpose: bool) -> tuple[Dim, ...]:
    return (*shape[:-2], shape[-1], shape[-2]) if transpose else shape
