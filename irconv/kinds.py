"""Which element types an op takes, and in which it computes."""

from __future__ import annotations

from typing import Any

import numpy as np

from irconv.errors import GraphError
from irconv.op import Op
from irconv.types import DTYPES, AnyDType, Array, TensorType, dtype_name

FLOATS = frozenset(DTYPES[name] for name in ("f16", "bf16", "f32", "f64"))
UNSIGNED = frozenset(DTYPES[name] for name in ("u8", "u16", "u32", "u64"))
SIGNED = frozenset(DTYPES[name] for name in ("i8", "i16", "i32", "i64")) | FLOATS
INTEGERS = frozenset(d for d in SIGNED - FLOATS) | UNSIGNED
NUMBERS = INTEGERS | FLOATS
BOOLEAN = frozenset({DTYPES["bool"]})
INDICES = frozenset({DTYPES["i32"], DTYPES["i64"]})
ANY = frozenset(DTYPES.values())
# computed in float32, which holds them without loss: NumPy's own loops would round at each step
_NARROW = frozenset({DTYPES["f16"], DTYPES["bf16"]})


def expect_dtype(op: Op, t: TensorType, allowed: frozenset[AnyDType], name: str = "") -> None:
    """Raises GraphError unless `op` takes the element type of `t` (its operand called `name`)."""
    if t.dtype not in allowed:
        operand = f" as {name}" if name else ""
        raise GraphError(
            f"{op.name} does not take this element type{operand}",
            expected=" or ".join(short for short, d in DTYPES.items() if d in allowed),
            got=dtype_name(t.dtype),
        )


def is_float(dtype: AnyDType) -> bool:
    """Whether a dtype is f16, bf16, f32 or f64."""
    return dtype in FLOATS


def widened(array: Array) -> Array:
    """A half-precision array in float32; all others as they are."""
    return array.astype(np.float32) if array.dtype in _NARROW else array


def narrowed(array: Any, dtype: AnyDType) -> Array:
    """A result (perhaps a NumPy scalar) as an array of `dtype`."""
    return np.asarray(array).astype(dtype, copy=False)
