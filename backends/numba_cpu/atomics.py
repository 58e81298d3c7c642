"""Words that threads share inside compiled kernels: atomic access, and waiting for a change."""

from __future__ import annotations

import platform
import sys
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from irconv.backends.numba_cpu.jit import instruction

_I32, _I64 = ir.IntType(32), ir.IntType(64)
# Linux's number of the futex call, by machine; elsewhere a waiting thread looks now and then.
_FUTEX = {"x86_64": 202, "aarch64": 98, "riscv64": 98} if sys.platform == "linux" else {}
_WAIT, _WAKE = 128, 129  # within one process
_NAP = 100_000  # nanoseconds between two looks, where there is no futex
MASK_WORDS = 16  # of a set of cores, as the C library has it
_LINUX = sys.platform == "linux"
_SCHEDULING = ("sched_getcpu", "sched_setaffinity", "syscall")
C_FUNCTIONS = frozenset((*(_SCHEDULING if _LINUX else ()), "nanosleep"))  # that these call


@instruction
def add(typing: Any, word: Any, value: Any) -> Any:
    """`add(p, n)`: adds n to *p; what *p was. All before it comes before, all after it after."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.atomic_rmw("add", args[0], args[1], "seq_cst")

    return types.int64(word, types.int64), generate


@instruction
def swap(typing: Any, word: Any, value: Any) -> Any:
    """`swap(p, n)`: *p becomes n; what *p was. Ordered as `add`."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.atomic_rmw("xchg", args[0], args[1], "seq_cst")

    return types.int64(word, types.int64), generate


@instruction
def load(typing: Any, word: Any) -> Any:
    """`load(p)`: *p, before all that follows."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load_atomic(args[0], "seq_cst", 8)

    return types.int64(word), generate


@instruction
def take(typing: Any, word: Any, old: Any, new: Any) -> Any:
    """`take(p, old, new)`: *p becomes `new` if it is `old`; whether it was. Ordered as `add`."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pair = builder.cmpxchg(args[0], args[1], args[2], "seq_cst", "seq_cst")
        return builder.extract_value(pair, 1)

    return types.boolean(word, types.int64, types.int64), generate


@instruction
def pause(typing: Any) -> Any:
    """`pause()`: tells the core that this is a waiting loop."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if platform.machine() in ("x86_64", "AMD64"):
            _hint(builder, "llvm.x86.sse2.pause")
        elif platform.machine() in ("aarch64", "arm64"):
            _hint(builder, "llvm.aarch64.hint", ir.Constant(_I32, 1))
        return context.get_dummy_value()

    return types.none(), generate


def _hint(builder: Any, name: str, *args: Any) -> None:
    kind = ir.FunctionType(ir.VoidType(), [arg.type for arg in args])
    builder.call(cgutils.get_or_insert_function(builder.module, kind, name), args)


@instruction
def sleep_while(typing: Any, word: Any, value: Any) -> Any:
    """`sleep_while(p, n)`: sleeps until a `wake(p)`, if *p still is n; it may wake early."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if platform.machine() in _FUTEX:
            nothing = ir.Constant(_I64, 0)
            _futex(builder, args[0], ir.Constant(_I64, _WAIT), args[1], nothing)
        else:
            _nap(builder)
        return context.get_dummy_value()

    return types.none(word, types.int64), generate


@instruction
def wake(typing: Any, word: Any, most: Any) -> Any:
    """`wake(p, n)`: wakes at most n threads that sleep at p."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if platform.machine() in _FUTEX:
            nothing = ir.Constant(_I64, 0)
            _futex(builder, args[0], ir.Constant(_I64, _WAKE), args[1], nothing)
        return context.get_dummy_value()

    return types.none(word, types.int64), generate


def _futex(builder: Any, word: Any, operation: Any, value: Any, timeout: Any) -> None:
    # The kernel compares 32 bits: the low half, which comes first on all machines in the table.
    kind = ir.FunctionType(_I64, [_I64], var_arg=True)
    function = cgutils.get_or_insert_function(builder.module, kind, "syscall")
    number = ir.Constant(_I64, _FUTEX[platform.machine()])
    place = builder.ptrtoint(word, _I64)
    builder.call(function, [number, place, operation, value, timeout])


def _nap(builder: Any) -> None:
    time = ir.ArrayType(_I64, 2)
    place = cgutils.alloca_once_value(builder, ir.Constant(time, [0, _NAP]))
    nothing = ir.Constant(time.as_pointer(), None)
    kind = ir.FunctionType(_I32, [time.as_pointer()] * 2)
    function = cgutils.get_or_insert_function(builder.module, kind, "nanosleep")
    builder.call(function, [place, nothing])


@instruction
def this_core(typing: Any) -> Any:
    """`this_core()`: the number of the core that runs this; negative where nobody tells."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if not _LINUX:
            return ir.Constant(_I64, -1)
        kind = ir.FunctionType(_I32, [])
        function = cgutils.get_or_insert_function(builder.module, kind, "sched_getcpu")
        return builder.sext(builder.call(function, []), _I64)

    return types.int64(), generate


@instruction
def keep_off(typing: Any, thread: Any, allowed: Any, core: Any) -> Any:
    """`keep_off(t, p, c)`: thread number t runs on the cores of the set at p, but not on core c.

    The set has MASK_WORDS words. Nothing happens where no core is left, or nobody can say so.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if _LINUX:
            _keep_off(builder, *args)
        return context.get_dummy_value()

    return types.none(types.int64, allowed, types.int64), generate


def _keep_off(builder: Any, thread: Any, allowed: Any, core: Any) -> None:
    kind = ir.ArrayType(_I64, MASK_WORDS)
    others = cgutils.alloca_once(builder, kind)
    builder.store(builder.load(builder.bitcast(allowed, kind.as_pointer())), others)
    zero, inside = ir.Constant(_I64, 0), ir.Constant(_I64, 64 * MASK_WORDS)
    with builder.if_then(builder.icmp_unsigned("<", core, inside)):
        word = builder.gep(others, [zero, builder.lshr(core, ir.Constant(_I64, 6))])
        bit = builder.shl(ir.Constant(_I64, 1), builder.and_(core, ir.Constant(_I64, 63)))
        builder.store(builder.and_(builder.load(word), builder.not_(bit)), word)
        signature = ir.FunctionType(_I32, [_I32, _I64, others.type])
        name = "sched_setaffinity"
        function = cgutils.get_or_insert_function(builder.module, signature, name)
        size = ir.Constant(_I64, 8 * MASK_WORDS)
        builder.call(function, [builder.trunc(thread, _I32), size, others])
