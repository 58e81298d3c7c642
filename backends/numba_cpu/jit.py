"""How the functions that kernels are made of are compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit
from numba.extending import intrinsic

_PART: dict[str, Any] = {
    "error_model": "numpy",
    "nogil": True,
    "boundscheck": False,
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
}
Function = TypeVar("Function", bound=Callable[..., Any])


def compiled_part(function: Function) -> Function:
    """A function that kernels call. It must not raise: then kernels need nothing of Python.

    So division follows NumPy (no ZeroDivisionError), and `range` has no step unless it is a
    constant. Python itself cannot call it: without wrappers a kernel is compiled a tenth faster.
    """
    part: Any = njit(**_PART)(function)
    return cast(Function, part)


def instruction(function: Callable[..., Any]) -> Any:
    """A function that emits LLVM instructions where a kernel calls it (Numba's `@intrinsic`)."""
    return intrinsic(prefer_literal=True)(function)
