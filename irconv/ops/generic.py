"""Any other standard ONNX op: ONNX's schema, shape inference and reference stand for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from irconv.errors import GraphError
from irconv.onnx_limits import check_attributes, check_operands
from irconv.onnx_node import (
    checked_attributes,
    evaluator,
    inferred,
    operand_signature,
)
from irconv.op import Op
from irconv.shapes import differ, within_budget
from irconv.types import Array, TensorType, Type

# operands of at most this many elements (shapes, axes, counts) are told to ONNX's shape inference
_CONTENT_ELEMENTS = 1024
# those that draw numbers: only as ops of our own, which have a seed
_RANDOM = frozenset(
    [
        "Bernoulli",
        "Multinomial",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
    ]
)


@dataclass(frozen=True)
class Generic(Op):
    """A standard ONNX op without a class of its own, as ONNX's reference computes it.

    It is written `onnx.<op_type>`; `opset` says which version is meant, `onnx_attributes` are
    pairs of a name and a number, a text or a tuple of them.
    """

    op_type: str
    opset: int
    n_outputs: int = 1
    onnx_attributes: tuple[tuple[str, Any], ...] = ()

    def __post_init__(self) -> None:
        if self.op_type in _RANDOM:
            raise GraphError(f"{self.name} draws numbers", hint="use the op with a seed")
        pairs = checked_attributes(self.op_type, self.opset, self.onnx_attributes, self.n_outputs)
        object.__setattr__(self, "onnx_attributes", pairs)
        check_attributes(self.op_type, dict(pairs))

    @property
    def name(self) -> str:
        return f"onnx.{self.op_type}"

    @property
    def operands(self) -> str:  # type: ignore[override]  # of each op by its schema
        return operand_signature(self.op_type, self.opset)

    @property
    def n_results(self) -> int:
        return self.n_outputs

    def attributes(self) -> dict[str, Any]:
        """The opset, the number of outputs where it is not 1, and ONNX's attributes."""
        counted = {"n_outputs": self.n_outputs} if self.n_outputs != 1 else {}
        return {"opset": self.opset, **counted, **dict(self.onnx_attributes)}

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        for index, t in enumerate(types):
            if t is not None and not isinstance(t, TensorType):
                raise GraphError(f"{self.name}: operand {index} is no dense tensor", got=t)
        dense = [t if isinstance(t, TensorType) else None for t in types]
        check_operands(self.op_type, dict(self.onnx_attributes), dense, constants)
        content = tuple(map(_content, constants))
        found = _inferred(self, tuple(types), content)
        return tuple(within_budget(self, t) for t in found)

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        types = tuple(None if a is None else TensorType(a.dtype, a.shape) for a in arrays)
        check_operands(self.op_type, dict(self.onnx_attributes), types, arrays)
        given = {f"x{i}": a for i, a in enumerate(arrays) if a is not None}
        signature = tuple(None if a is None else a.dtype for a in arrays)
        session = evaluator(
            self.op_type, self.opset, self.onnx_attributes, self.n_outputs, signature
        )
        results = [np.asarray(r) for r in session.run(None, given)]
        try:
            expected = _inferred(self, types, tuple(map(_content, arrays)))
        except GraphError:
            # float64 in place of float32, for which ONNX may know no such op
            return tuple(results)
        return tuple(self._agreed(r, t) for r, t in zip(results, expected, strict=True))

    def _agreed(self, result: Array, expected: TensorType) -> Array:
        """A result in the element type that ONNX says: its reference computes some in another.

        Raises GraphError where the shape is another than ONNX's own inference told.
        """
        if len(result.shape) != expected.rank or any(map(differ, result.shape, expected.shape)):
            raise GraphError(
                f"{self.name}: ONNX's reference and its shape inference disagree",
                expected=expected,
                got=[*result.shape],
            )
        return result.astype(expected.dtype, copy=False)


# dtype, shape and bytes of a small operand
_Content = tuple[np.dtype[Any], tuple[int, ...], bytes]


def _content(array: Array | None) -> _Content | None:
    if array is None or array.size > _CONTENT_ELEMENTS:
        return None
    return array.dtype, array.shape, array.tobytes()


@lru_cache(maxsize=1024)
def _inferred(
    op: Generic, types: tuple[Type | None, ...], content: tuple[_Content | None, ...]
) -> tuple[TensorType, ...]:
    arrays = [None if c is None else np.frombuffer(c[2], c[0]).reshape(c[1]) for c in content]
    dense = [t if isinstance(t, TensorType) else None for t in types]
    return inferred(op.op_type, op.opset, op.onnx_attributes, op.n_outputs, dense, arrays)
