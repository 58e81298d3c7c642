"""Checks what a caller passes in: names, count, shapes and element types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from irconv.dim import Dim, Expr, substitute
from irconv.errors import InputError, printable
from irconv.graph import Value
from irconv.registry import nearest
from irconv.types import AnyDType, Array, TensorType, dtype_name


def check_inputs(
    declared: Sequence[Value], given: Mapping[str, Any] | Sequence[Any]
) -> list[Array]:
    """The arrays in the order of `declared`, C-contiguous, in native byte order, of the declared
    types.

    Accepts what NumPy converts without loss, by dtype: other byte orders, narrower integers and
    floats; never float64 for float32. Python's own numbers, and lists of them, have no dtype: they
    are taken where they fit. Raises InputError.
    """
    named = _by_name(declared, given)
    arrays = [_array(value, named[value.name]) for value in declared]
    bind_symbols(declared, arrays)
    return arrays


def _by_name(declared: Sequence[Value], given: Mapping[str, Any] | Sequence[Any]) -> dict[str, Any]:
    names = [v.name for v in declared]
    shown = ", ".join(map(printable, names)) or "none"
    if isinstance(given, np.ndarray):
        raise InputError("an array stands for all inputs", expected="a dict by name, or a sequence")
    if not isinstance(given, Mapping):
        if len(given) != len(names):
            raise InputError(
                "wrong number of inputs", expected=f"{len(names)} ({shown})", got=len(given)
            )
        return dict(zip(names, given, strict=True))
    for name in given:
        if name not in names:
            raise InputError(
                f"no input is called {printable(name)}", hint=nearest(str(name), names)
            )
    missing = [n for n in names if n not in given]
    if missing:
        raise InputError(f"input {printable(missing[0])} is missing", expected=shown)
    return dict(given)


def _array(value: Value, given: Any) -> Array:
    declared = value.tensor_type
    where = f"input {printable(value.name)}"
    if isinstance(given, np.ma.MaskedArray):
        raise InputError("a masked array has no plain content", where=where, hint="fill it first")
    try:
        array = np.asarray(given)
    except (ValueError, TypeError) as error:
        raise InputError(
            "not an array", where=where, expected=declared, got=printable(error)
        ) from error
    if array.dtype != declared.dtype:
        array = _cast(array, given, declared, where)
    if array.ndim != declared.rank or any(
        isinstance(d, int) and d != n for d, n in zip(declared.shape, array.shape, strict=True)
    ):
        raise InputError(
            "wrong shape", where=where, expected=list_text(declared.shape), got=list(array.shape)
        )
    # compiled code reads whole aligned elements
    return np.require(array, requirements=("C", "A")).reshape(array.shape)


def _cast(array: Array, given: Any, declared: TensorType, where: str) -> Array:
    if array.dtype != object and np.can_cast(array.dtype, declared.dtype, "safe"):
        return array.astype(declared.dtype)
    cast = None if hasattr(given, "dtype") else _fitting(array, declared.dtype)
    if cast is None:
        raise InputError(
            "wrong element type",
            where=where,
            expected=dtype_name(declared.dtype),
            got=str(array.dtype),
            hint=f"use .astype({declared.dtype.name!r}) if losing precision is what you want",
        )
    return cast


def _fitting(array: Array, dtype: AnyDType) -> Array | None:
    """An array made of Python's numbers as `dtype`: integers exact, floats rounded; else None."""
    if array.dtype.kind not in "iuf" or dtype.kind == "b":
        return None
    with np.errstate(all="ignore"):
        cast = array.astype(dtype)
        if dtype.kind in "fc":
            fits = np.isfinite(cast) == np.isfinite(array)
        else:
            fits = cast.astype(array.dtype) == array
    return cast if fits.all() and (array.dtype.kind != "f" or dtype.kind in "fcV") else None


def list_text(shape: Sequence[Dim]) -> str:
    """A shape as a list of its sizes."""
    return f"[{', '.join(map(str, shape))}]"


def bind_symbols(declared: Sequence[Value], arrays: Sequence[Array]) -> dict[str, int]:
    """The sizes of all symbols, from the shapes of the arrays; raises InputError where they
    disagree.
    """
    sizes: dict[str, int] = {}
    for value, array in zip(declared, arrays, strict=True):
        for dim, size in zip(value.shape, array.shape, strict=True):
            if isinstance(dim, Expr) and _is_symbol(dim):
                _bind(sizes, str(next(iter(dim.terms[0][0]))[0]), size, value)
    for value, array in zip(declared, arrays, strict=True):
        expected = [substitute(d, sizes) for d in value.shape]
        if any(isinstance(d, int) and d != n for d, n in zip(expected, array.shape, strict=True)):
            raise InputError(
                "wrong shape",
                where=f"input {printable(value.name)}",
                expected=list_text(expected),
                got=list(array.shape),
            )
    return sizes


def _is_symbol(dim: Expr) -> bool:
    (monomial, coefficient), *rest = dim.terms
    return not rest and coefficient == 1 and len(monomial) == 1 and monomial[0][1] == 1


def _bind(sizes: dict[str, int], name: str, size: int, value: Value) -> None:
    if sizes.setdefault(name, size) != size:
        raise InputError(
            f"size {printable(name)} differs between inputs",
            where=f"input {printable(value.name)}",
            expected=sizes[name],
            got=size,
        )
