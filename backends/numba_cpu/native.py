"""Turns a kernel function into machine code with a C address, once per machine."""

from __future__ import annotations

import ctypes
import hashlib
import threading
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding as llvm
import numba
import numpy as np
from numba import types
from numba.core.ccallback import CFunc

from irconv.backends.numba_cpu import cache, machine

_lock = threading.RLock()
_engines: list[Any] = []
_addresses: dict[tuple[str, str], int] = {}
_OPTIONS = {"nopython": True, "nogil": True, "error_model": "numpy", "boundscheck": False}


@lru_cache(maxsize=1)
def version() -> str:
    """Digest of what the machine code depends on: our source, the compilers, the CPU."""
    digest = hashlib.sha256()
    for file in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    digest.update(f"{numba.__version__} {llvmlite.__version__} {machine.identity()}".encode())
    return digest.hexdigest()


def address(function: Callable[..., Any], dtype: np.dtype) -> int:
    """The C address of a kernel `function(step, like, part, parts)` for a float dtype.

    Compiled at the first request of a process, or taken from the cache on disk. Safe to call
    from several threads.
    """
    scalar = numba.from_dtype(dtype)
    return compiled(
        function, (types.CPointer(types.int64), types.CPointer(scalar), types.int64, types.int64)
    )


def compiled(function: Callable[..., Any], arguments: tuple[Any, ...]) -> int:
    """The C address of `function` for Numba argument types; it returns nothing."""
    name = f"{function.__module__}.{function.__qualname__}"
    key = (name, str(arguments))
    with _lock:
        if key not in _addresses:
            _addresses[key] = _load(key) or _compile(function, arguments, key)
        return _addresses[key]


def _file_name(key: tuple[str, str]) -> str:
    digest = hashlib.sha256("\0".join((*key, version())).encode()).hexdigest()
    return f"{key[0].rpartition('.')[2]}-{digest[:32]}"


def _load(key: tuple[str, str]) -> int | None:
    found = cache.load(_file_name(key))
    if found is None:
        return None
    symbol, code = found
    engine = _engine()
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return int(engine.get_function_address(symbol)) or None


def _engine() -> Any:
    # One engine per object: two objects may both define a linked helper of the same name.
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_default_triple().create_target_machine(jit=True)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target)
    _engines.append(engine)
    return engine


def _compile(function: Callable[..., Any], arguments: Any, key: tuple[str, str]) -> int:
    compiled = CFunc(function, (arguments, types.none), {}, _OPTIONS)
    compiled.compile()
    _engines.append(compiled)
    code = compiled._library._get_compiled_object()
    cache.store(_file_name(key), compiled.native_name, code)
    return int(compiled.address)


_ENTRY = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, use_errno=False
)


def run(code: int, step: np.ndarray, part: int = 0, parts: int = 1) -> None:
    """Run the kernel at address `code` on one step; the GIL is free meanwhile."""
    _ENTRY(code)(step.ctypes.data, None, part, parts)
