"""Turns the parts of a stored tensor into an array, every size checked before anything is made."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

import numpy as np

from irconv.errors import ModelError, printable
from irconv.onnx_reader.records import Budgets
from irconv.types import DTYPES, AnyDType, Array

# ONNX's numbers of element types; 8 (strings) and 27, 28 (6-bit floats) have no NumPy form
ELEMENT_TYPES: dict[int, str] = {
    1: "f32",
    2: "u8",
    3: "i8",
    4: "u16",
    5: "i16",
    6: "i32",
    7: "i64",
    9: "bool",
    10: "f16",
    11: "f64",
    12: "u32",
    13: "u64",
    14: "c64",
    15: "c128",
    16: "bf16",
    17: "f8e4m3fn",
    18: "f8e4m3fnuz",
    19: "f8e5m2",
    20: "f8e5m2fnuz",
    21: "u4",
    22: "i4",
    23: "f4e2m1",
    24: "f8e8m0",
    25: "u2",
    26: "i2",
}
ELEMENT_NUMBERS = {short: number for number, short in ELEMENT_TYPES.items()}
PACKED_BITS = {"u4": 4, "i4": 4, "f4e2m1": 4, "u2": 2, "i2": 2}


@dataclass(slots=True)
class RawTensor:
    """A tensor as the file stores it: its bytes, or the numbers of a typed field."""

    name: str
    dims: tuple[int, ...]
    data_type: int
    raw: Array | None = None
    typed: dict[str, Array] = field(default_factory=dict)
    external: dict[str, str] | None = None


def element_type(number: int) -> AnyDType:
    """The dtype of ONNX's number; raises ModelError for strings and unknown ones."""
    if number == 8:
        raise ModelError("strings are not supported", expected="numbers or booleans")
    if number not in ELEMENT_TYPES:
        raise ModelError("unknown element type", expected="1 (float) ... 26 (int2)", got=number)
    return DTYPES[ELEMENT_TYPES[number]]


def stored_bytes(tensor: RawTensor, budgets: Budgets) -> int:
    """How many bytes the tensor takes; raises ModelError for a shape that cannot be."""
    element_type(tensor.data_type)
    short = ELEMENT_TYPES[tensor.data_type]
    if len(tensor.dims) > budgets.rank:
        raise ModelError(
            "the rank is too high", expected=f"at most {budgets.rank}", got=len(tensor.dims)
        )
    if any(d < 0 for d in tensor.dims):
        raise ModelError("a size is negative", got=list(tensor.dims))
    count = prod(tensor.dims)
    size = count * DTYPES[short].itemsize
    if size > budgets.tensor_bytes:
        raise ModelError(
            "a tensor is over the budget",
            expected=f"at most {budgets.tensor_bytes} bytes",
            got=size,
            hint="raise Budgets.tensor_bytes",
        )
    bits = PACKED_BITS.get(short)
    return size if bits is None else (count * bits + 7) // 8


def to_array(tensor: RawTensor, budgets: Budgets) -> Array:
    """The array of a stored tensor, in native byte order, copied only where it must be."""
    size = stored_bytes(tensor, budgets)
    if tensor.raw is not None and tensor.typed:
        raise ModelError("both raw and typed data are given", got=", ".join(tensor.typed))
    if len(tensor.typed) > 1:
        raise ModelError("two typed fields are given", got=", ".join(tensor.typed))
    short = ELEMENT_TYPES[tensor.data_type]
    raw = tensor.raw if tensor.raw is not None else _from_typed(tensor, short, size)
    if raw.nbytes != size:
        raise ModelError(
            f"the data does not fill {short}{list(tensor.dims)}",
            expected=f"{size} bytes",
            got=raw.nbytes,
        )
    if short in PACKED_BITS:
        return _unpacked(raw, short, prod(tensor.dims)).reshape(tensor.dims)
    if short == "bool":
        flags: Array = raw != 0
        return flags.reshape(tensor.dims)
    if raw.size == 0:
        return np.zeros(tensor.dims, DTYPES[short])
    dtype = DTYPES[short]
    # the file is little-endian; on a little-endian machine this copies nothing
    little: Array = raw.view(dtype.newbyteorder("<")) if dtype.kind != "V" else raw.view(dtype)
    found: Array = little.astype(dtype, copy=False).reshape(tensor.dims)
    return found


_FIELD_OF = {
    "f32": "float_data",
    "c64": "float_data",
    "f64": "double_data",
    "c128": "double_data",
    "i64": "int64_data",
    "u32": "uint64_data",
    "u64": "uint64_data",
}


def _from_typed(tensor: RawTensor, short: str, size: int) -> Array:
    """The bytes that a typed field stands for."""
    wanted = _FIELD_OF.get(short, "int32_data")
    if not tensor.typed:
        if size:
            raise ModelError(
                "a tensor has no data", expected=f"{size} bytes", got=printable(tensor.name)
            )
        return np.zeros(0, np.uint8)
    ((given, numbers),) = tensor.typed.items()
    if given != wanted:
        raise ModelError(f"{short} data lies in the wrong field", expected=wanted, got=given)
    if wanted in {"float_data", "double_data", "int64_data"}:
        return numbers.view(np.uint8)
    width = 1 if short in PACKED_BITS or short == "bool" else DTYPES[short].itemsize
    if short in {"i8", "i16"}:
        low, high = -(1 << 8 * width - 1), (1 << 8 * width - 1) - 1
    elif short == "i32":
        low, high = -(1 << 31), (1 << 31) - 1
    else:
        low, high = 0, (1 << 8 * width) - 1
    if numbers.size and (int(numbers.min()) < low or int(numbers.max()) > high):
        raise ModelError(f"a number does not fit {short}", expected=f"{low} to {high}")
    kind = "i" if low < 0 else "u"
    return numbers.astype(f"<{kind}{width}").view(np.uint8)


def _unpacked(raw: Array, short: str, count: int) -> Array:
    """The elements of 2 and 4 bits, low bits first."""
    bits = PACKED_BITS[short]
    parts = [raw >> shift & ((1 << bits) - 1) for shift in range(0, 8, bits)]
    codes = np.stack(parts, axis=-1).reshape(-1)[:count].astype(np.uint8)
    if short.startswith("i"):
        signed = codes.astype(np.int8)
        return np.where(signed >= 1 << bits - 1, signed - (1 << bits), signed).astype(DTYPES[short])
    if short.startswith("u"):
        return codes.astype(DTYPES[short])
    found: Array = codes.view(DTYPES[short])
    return found
