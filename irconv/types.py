"""The types of values: dense tensors, and the sparse matrix with shared weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeAlias

import ml_dtypes
import numpy as np
import numpy.typing as npt

from irconv.dim import Dim, Expr, as_dim, product, substitute, symbols_of
from irconv.errors import GraphError, printable
from irconv.geometry import ConvGeometry
from irconv.layout import Layout

Array: TypeAlias = npt.NDArray[Any]
AnyDType: TypeAlias = np.dtype[Any]

# the short names of element types in listings
DTYPES: dict[str, AnyDType] = {
    "f16": np.dtype(np.float16),
    "f32": np.dtype(np.float32),
    "f64": np.dtype(np.float64),
    "bf16": np.dtype(ml_dtypes.bfloat16),
    "i8": np.dtype(np.int8),
    "i16": np.dtype(np.int16),
    "i32": np.dtype(np.int32),
    "i64": np.dtype(np.int64),
    "u8": np.dtype(np.uint8),
    "u16": np.dtype(np.uint16),
    "u32": np.dtype(np.uint32),
    "u64": np.dtype(np.uint64),
    "bool": np.dtype(np.bool_),
    "c64": np.dtype(np.complex64),
    "c128": np.dtype(np.complex128),
    "i4": np.dtype(ml_dtypes.int4),
    "u4": np.dtype(ml_dtypes.uint4),
    "i2": np.dtype(ml_dtypes.int2),
    "u2": np.dtype(ml_dtypes.uint2),
    "f4e2m1": np.dtype(ml_dtypes.float4_e2m1fn),
    "f8e4m3fn": np.dtype(ml_dtypes.float8_e4m3fn),
    "f8e4m3fnuz": np.dtype(ml_dtypes.float8_e4m3fnuz),
    "f8e5m2": np.dtype(ml_dtypes.float8_e5m2),
    "f8e5m2fnuz": np.dtype(ml_dtypes.float8_e5m2fnuz),
    "f8e8m0": np.dtype(ml_dtypes.float8_e8m0fnu),
}
_SHORT = {dtype: short for short, dtype in DTYPES.items()}


def as_dtype(dtype: object) -> AnyDType:
    """The NumPy dtype of a short name (`"f32"`) or of what NumPy takes, in native byte order."""
    if isinstance(dtype, str) and dtype in DTYPES:
        return DTYPES[dtype]
    try:
        found = np.dtype(dtype).newbyteorder("=")  # type: ignore[call-overload]
    except TypeError:
        found = None
    if found not in _SHORT:
        raise GraphError(
            "unknown element type", expected="one of " + ", ".join(DTYPES), got=printable(dtype)
        )
    return found  # type: ignore[no-any-return]


def dtype_name(dtype: AnyDType) -> str:
    """The short name of a dtype (`f32`)."""
    return _SHORT[dtype]


RANK_LIMIT = 64


@dataclass(frozen=True, slots=True)
class TensorType:
    """A dense tensor: element type and shape, each dimension an integer or an expression of
    symbols; and how it lies in memory, where that is not row by row.
    """

    dtype: AnyDType
    shape: tuple[Dim, ...]
    layout: Layout | None = None

    def __init__(
        self, dtype: object, shape: Iterable[int | str | Expr], layout: Layout | None = None
    ) -> None:
        object.__setattr__(self, "dtype", as_dtype(dtype))
        # a file may ask for billions of dimensions: no more are read than can be
        dims = tuple(as_dim(d) for d in islice(shape, RANK_LIMIT + 1))
        if len(dims) > RANK_LIMIT:
            raise GraphError("too many dimensions", expected=f"at most {RANK_LIMIT}, as in NumPy")
        object.__setattr__(self, "shape", dims)
        object.__setattr__(self, "layout", layout)
        if layout is not None and layout.rank != len(self.shape) - 2:
            raise GraphError(
                "the layout does not fit the shape",
                expected=f"{2 * (len(self.shape) - 2)} sizes of the halo",
                got=str(layout),
            )

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def is_static(self) -> bool:
        return all(isinstance(d, int) for d in self.shape)

    @property
    def size(self) -> Dim:
        """The number of elements."""
        return product(self.shape)

    @property
    def nbytes(self) -> Dim:
        """Bytes in memory, those that the layout adds included."""
        shape = self.shape if self.layout is None else self.layout.stored_shape(self.shape)
        return product(shape) * self.dtype.itemsize

    @property
    def plain(self) -> TensorType:
        """The same tensor, lying row by row."""
        return self if self.layout is None else TensorType(self.dtype, self.shape)

    def symbols(self) -> frozenset[str]:
        return frozenset().union(*(symbols_of(d) for d in self.shape if not isinstance(d, int)))

    def substitute(self, sizes: Mapping[str, Dim]) -> TensorType:
        return TensorType(self.dtype, (substitute(d, sizes) for d in self.shape), self.layout)

    def with_shape(self, shape: Iterable[int | str | Expr]) -> TensorType:
        return TensorType(self.dtype, shape)

    def with_layout(self, layout: Layout | None) -> TensorType:
        return TensorType(self.dtype, self.shape, layout)

    def __str__(self) -> str:
        return f"{dtype_name(self.dtype)}[{', '.join(map(str, self.shape))}]{self.layout or ''}"

    __repr__ = __str__


@dataclass(frozen=True, slots=True)
class MatrixType:
    """A convolution as one sparse matrix: fixed zeros, tied weights.

    Rows are output elements `[out_channels, *out]`, columns input elements `[in_channels, *image]`
    of `geometry`; the other way round when `transposed`.
    """

    dtype: AnyDType
    geometry: ConvGeometry
    transposed: bool = False
    form: str = "tap"

    def __init__(
        self, dtype: object, geometry: ConvGeometry, transposed: bool = False, form: str = "tap"
    ) -> None:
        object.__setattr__(self, "dtype", as_dtype(dtype))
        object.__setattr__(self, "geometry", geometry)
        object.__setattr__(self, "transposed", transposed)
        object.__setattr__(self, "form", form)

    @property
    def rows(self) -> int:
        return self.geometry.columns if self.transposed else self.geometry.rows

    @property
    def columns(self) -> int:
        return self.geometry.rows if self.transposed else self.geometry.columns

    @property
    def channels(self) -> int:
        """Channels of the result."""
        return self.geometry.in_channels if self.transposed else self.geometry.out_channels

    @property
    def image(self) -> tuple[int, ...]:
        """Channels and sizes of the image whose elements are the columns."""
        g = self.geometry
        return (g.out_channels, *g.out) if self.transposed else (g.in_channels, *g.image)

    @property
    def result_image(self) -> tuple[int, ...]:
        """Channels and sizes of the image whose elements are the rows."""
        g = self.geometry
        return (g.in_channels, *g.image) if self.transposed else (g.out_channels, *g.out)

    @property
    def index_rows(self) -> int:
        """Rows of the index: result pixels in the tap form, result elements in the literal form."""
        return self.rows // self.channels if self.form == "tap" else self.rows

    @property
    def entries(self) -> int:
        """Entries of the index."""
        return self.geometry.tap_entries if self.form == "tap" else self.nnz

    @property
    def index_bytes(self) -> int:
        """Bytes of the index: three int32 arrays."""
        return 4 * (self.index_rows + 1 + 2 * self.entries)

    @property
    def nnz(self) -> int:
        """The number of places of the matrix that hold a weight (not a fixed zero)."""
        return self.geometry.nnz

    def symbols(self) -> frozenset[str]:
        return frozenset()

    def substitute(self, sizes: Mapping[str, Dim]) -> MatrixType:
        return self

    def __str__(self) -> str:
        turned = ", transposed" if self.transposed else ""
        return (
            f"matrix<{dtype_name(self.dtype)}, {self.rows} x {self.columns}, nnz {self.nnz}, "
            f"{self.form}{turned}, {self.geometry}>"
        )

    __repr__ = __str__


Type: TypeAlias = "TensorType | MatrixType"
OptionalTypes: TypeAlias = "Sequence[Type | None]"


def type_of(array: Array) -> TensorType:
    """The type of a NumPy array."""
    return TensorType(array.dtype, array.shape)
