"""Changes of the element type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import ml_dtypes
import numpy as np

from irconv.errors import GraphError
from irconv.op import Op, present, tensor
from irconv.shapes import one_of
from irconv.types import DTYPES, AnyDType, Array, TensorType, Type, as_dtype, dtype_name

# those that ONNX lets overflow to their largest number (saturate = 1) or to NaN and infinity
_FLOAT8 = frozenset(DTYPES[n] for n in ("f8e4m3fn", "f8e4m3fnuz", "f8e5m2", "f8e5m2fnuz"))
_FLOAT4 = DTYPES["f4e2m1"]
_POWERS = DTYPES["f8e8m0"]
_SMALL = frozenset(DTYPES[n] for n in ("i4", "u4", "i2", "u2"))
_COMPLEX = frozenset({DTYPES["c64"], DTYPES["c128"]})


@dataclass(frozen=True)
class Cast(Op):
    """The same numbers in another element type; integers lose high bits, fractions are cut."""

    to: str
    saturate: int = 1
    round_mode: str = "up"

    def __post_init__(self) -> None:
        one_of("Cast: round_mode", self.round_mode, ("up", "down", "nearest"))
        object.__setattr__(self, "to", dtype_name(as_dtype(self.to)))

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        x = tensor(types, 0)
        _real(self, x.dtype)
        _real(self, DTYPES[self.to])
        return (TensorType(self.to, x.shape),)

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        return (
            converted(present(arrays, 0), DTYPES[self.to], bool(self.saturate), self.round_mode),
        )


@dataclass(frozen=True)
class CastLike(Op):
    """The numbers of x in the element type of the second operand."""

    operands: ClassVar[str] = "x, like"
    saturate: int = 1
    round_mode: str = "up"

    def __post_init__(self) -> None:
        one_of("CastLike: round_mode", self.round_mode, ("up", "down", "nearest"))

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        x, like = tensor(types, 0), tensor(types, 1)
        _real(self, x.dtype)
        _real(self, like.dtype)
        return (TensorType(like.dtype, x.shape),)

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        dtype = present(arrays, 1).dtype
        return (converted(present(arrays, 0), dtype, bool(self.saturate), self.round_mode),)


def _real(op: Op, dtype: AnyDType) -> None:
    if dtype in _COMPLEX:
        raise GraphError(f"{op.name} does not convert complex numbers", got=dtype_name(dtype))


def converted(x: Array, dtype: AnyDType, saturate: bool = True, round_mode: str = "up") -> Array:
    """`x` in `dtype`, as ONNX's Cast: the nearest number, a half to even.

    Beyond the range the 8-bit floats give their largest number with `saturate`, else infinity
    or NaN.
    `round_mode` is how f8e8m0, which holds powers of two only, is rounded.
    """
    if x.dtype == dtype:
        return x
    if dtype in _FLOAT8 or dtype == _FLOAT4:
        return _to_small_float(x, dtype, saturate)
    if dtype == _POWERS:
        return _to_powers(x.astype(np.float32), saturate, round_mode)
    if dtype in _SMALL and not np.issubdtype(x.dtype, np.integer):
        x = np.trunc(x.astype(np.float32)).astype(np.int32)
    return x.astype(dtype)


def _to_small_float(x: Array, dtype: AnyDType, saturate: bool) -> Array:
    wide = x.astype(np.float32)
    if saturate or dtype == _FLOAT4:
        largest = float(ml_dtypes.finfo(dtype).max)  # type: ignore[no-untyped-call]
        wide = np.clip(wide, -largest, largest)
    return wide.astype(dtype)


def _to_powers(x: Array, saturate: bool, round_mode: str) -> Array:
    """The power of two nearest to |x|, above it, or below it."""
    mantissa, exponent = np.frexp(np.abs(x))
    exponent = exponent - 1  # |x| = (2 * mantissa) * 2^exponent, 1 <= 2 * mantissa < 2
    up = {"up": mantissa > 0.5, "down": mantissa > 1, "nearest": mantissa >= 0.75}[round_mode]
    exponent = np.where(x == 0, -127, exponent + up)
    finite = np.isfinite(x) & (saturate | ((exponent >= -127) & (exponent <= 127)))
    bits = np.where(finite, np.clip(exponent, -127, 127) + 127, 255).astype(np.uint8)
    return bits.view(_POWERS)
