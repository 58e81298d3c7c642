"""The kernels of a program as text: Python source, LLVM IR, assembly."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from irconv.backends.numba_cpu import native
from irconv.kernels import KernelText

_OURS = __name__.rpartition(".")[0]
_keys: dict[str, native.Key] = {}
_parts: dict[str, Callable[..., Any]] = {}


def key_text(key: native.Key) -> str:
    """A key as one text: the function below this package, and its argument types."""
    text = f"{_short(key[0])}{key[1].replace(',)', ')')}"
    _keys[text] = key
    return text


def kernel_text(key: str) -> KernelText:
    """The source of a kernel, or of a function that one calls, with what it calls itself."""
    function = native.function_of(_keys[key]) if key in _keys else _parts[key]
    calls = {_short(f"{f.__module__}.{f.__qualname__}"): f for f in _called(function)}
    _parts.update(calls)
    return KernelText(key, _source(function), tuple(calls))


@lru_cache(maxsize=64)
def machine_code(key: str) -> tuple[str, str] | None:
    """LLVM IR and assembly of a kernel; None of a function that one calls, which has none."""
    return native.texts(_keys[key]) if key in _keys else None


def _short(name: str) -> str:
    return name.removeprefix(f"{_OURS}.")


def _source(function: Callable[..., Any]) -> str:
    try:
        return textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError):
        return f"# {function.__qualname__}: the source is not at hand"


def _called(function: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """The functions of this package that `function` names."""
    found = inspect.getclosurevars(function)
    for value in {**found.globals, **found.nonlocals}.values():
        # of a compiled part, and of an instruction
        part = getattr(value, "py_func", None) or getattr(value, "_defn", None) or value
        if inspect.isfunction(part) and part.__module__.startswith(_OURS):
            yield part
