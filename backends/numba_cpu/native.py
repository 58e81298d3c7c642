"""Turns a kernel function into machine code with a C address, once per machine."""

from __future__ import annotations

import ctypes
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import llvmlite
import llvmlite.binding as llvm
import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import dispatcher, registry
from numba.core.compiler import Compiler
from numba.core.compiler_lock import global_compiler_lock

from irconv import code_cache
from irconv.backends.numba_cpu import machine
from irconv.backends.numba_cpu.atomics import C_FUNCTIONS

# of a compiled function: its name, and the types of its arguments
Key: TypeAlias = "tuple[str, str]"

_lock = threading.RLock()
_engines: list[Any] = []
_functions: dict[Key, tuple[Callable[..., Any], tuple[Any, ...]]] = {}
_asked = threading.local()
_addresses: dict[Key, int] = {}
# What LLVM may call of its own accord, and the C library's part in float64 activations.
_C_FUNCTIONS = C_FUNCTIONS | frozenset(
    ("memset", "memcpy", "memmove", "exp", "expm1", "log1p", "tanh", "clock_gettime")
)


def _before_fork() -> None:
    """Waits until nobody compiles: a lock that another thread holds is held for ever in a child."""
    _lock.acquire()
    global_compiler_lock.acquire()


def _after_fork() -> None:
    global_compiler_lock.release()
    _lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork
    )

_OPTIONS = {"nopython": True, "nogil": True, "error_model": "numpy", "boundscheck": False}


@lru_cache(maxsize=1)
def version() -> str:
    """Digest of what the machine code depends on: our source, the compilers, the CPU."""
    digest = hashlib.sha256()
    folder = Path(__file__).parent
    for file in sorted([*folder.glob("*.py"), *folder.glob("blocked/*.py")]):
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
    getattr(_asked, "keys", {})[key] = None
    with _lock:
        _functions.setdefault(key, (function, arguments))
        if key not in _addresses:
            _addresses[key] = _load(key) or _compile(function, arguments, key)
        return _addresses[key]


@contextmanager
def asked_for() -> Iterator[dict[Key, None]]:
    """The keys of the functions that this thread asks for meanwhile."""
    keys: dict[Key, None] = {}
    outer = getattr(_asked, "keys", {})
    _asked.keys = keys
    try:
        yield keys
    finally:
        _asked.keys = outer


def function_of(key: Key) -> Callable[..., Any]:
    """The Python function behind a key."""
    return _functions[key][0]


def texts(key: Key) -> tuple[str, str]:
    """The LLVM IR, optimised, and the assembly of a function; it is compiled anew for this."""
    with _lock, global_compiler_lock:
        library, _ = _entry(_native(*_functions[key]))
        return str(library.get_llvm_str()), str(library.get_asm_str())


def _file_name(key: Key) -> str:
    digest = hashlib.sha256("\0".join((*key, version())).encode()).hexdigest()
    return f"{key[0].rpartition('.')[2]}-{digest[:32]}"


def _load(key: Key) -> int | None:
    found = code_cache.load(_file_name(key))
    if found is None:
        return None
    symbol, code = found
    engine = _engine()
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return int(engine.get_function_address(symbol)) or None


def _provide_symbols() -> None:
    """Tell LLVM where the C functions are that kernels may call; it looks nowhere else."""
    library = ctypes.CDLL(None)
    for name in sorted(_C_FUNCTIONS):
        place = ctypes.cast(getattr(library, name), ctypes.c_void_p).value
        llvm.add_symbol(name, place or 0)


def _is_self_contained(library: Any) -> bool:
    """Whether the code calls nothing but C functions that every process has."""
    module = library._final_module
    outside = {f.name for f in module.functions if f.is_declaration}
    variables = {v.name for v in module.global_variables if v.is_declaration}
    return not variables and all(
        name in _C_FUNCTIONS or name.startswith("llvm.") for name in outside
    )


def _engine() -> Any:
    if not _engines:
        _provide_symbols()
    # One engine per object: two objects may both define a linked helper of the same name.
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_default_triple().create_target_machine(jit=True)
    nothing = llvm.parse_assembly("")
    engine = llvm.create_mcjit_compiler(nothing, target)
    # Else the engine compiles it: a millisecond, and 5 MB of LLVM's own code for the first one.
    engine.remove_module(nothing)
    _engines.append(engine)
    return engine


def _compile(function: Callable[..., Any], arguments: Any, key: Key) -> int:
    with global_compiler_lock:
        library, symbol = _entry(_native(function, arguments))
    _engines.append(library)
    place = int(library.get_pointer_to_function(symbol))
    if _is_self_contained(library):
        code_cache.store(_file_name(key), symbol, library._get_compiled_object())
    return place


_FunctionCompiler: Any = vars(dispatcher)["_FunctionCompiler"]


class _NativeOnly(_FunctionCompiler):  # type: ignore[misc]  # numba has no types
    """Numba's compiler without the wrappers through which Python would call the result."""

    def _customize_flags(self, flags: Any) -> Any:
        flags.no_cpython_wrapper = True
        flags.no_cfunc_wrapper = True
        flags.no_compile = True
        flags.enable_pyobject = False
        return flags


def _native(function: Callable[..., Any], arguments: Any) -> Any:
    compiler = _NativeOnly(function, registry.cpu_target, dict(_OPTIONS), {}, Compiler)
    return compiler.compile(arguments, types.none)


def _entry(result: Any) -> tuple[Any, str]:
    """A library with the C function `void entry(arguments)` around Numba's own convention.

    Numba's own C wrapper would print an error that a kernel raised, and for that needs Python.
    Ours drops the status: kernels are written so that they cannot raise (see `jit`).
    """
    context, descriptor = result.target_context, result.fndesc
    symbol = f"entry.{descriptor.llvm_func_name}"
    library = result.library
    module = library.create_ir_module(symbol)
    native_kind = context.call_conv.get_function_type(descriptor.restype, descriptor.argtypes)
    native = ir.Function(module, native_kind, descriptor.llvm_func_name)
    kinds = [context.get_value_type(kind) for kind in descriptor.argtypes]
    entry = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), symbol)
    builder = ir.IRBuilder(entry.append_basic_block())
    context.call_conv.call_function(
        builder, native, descriptor.restype, descriptor.argtypes, entry.args
    )
    builder.ret_void()
    library.add_ir_module(module)
    library.finalize()
    return library, symbol


_ENTRY = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, use_errno=False
)


def run(code: int, step: np.ndarray, part: int = 0, parts: int = 1) -> None:
    """Run the kernel at address `code` on one step; the GIL is free meanwhile."""
    _ENTRY(code)(step.ctypes.data, None, part, parts)
