"""Reads the int32 arrays of an index inside compiled kernels."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from irconv.backends.numba_cpu.jit import instruction


@instruction
def int32_at(typing: Any, address: Any, index: Any) -> Any:
    """`int32_at(address, i)`: element i of the int32 array at an integer address, as int64."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        base = builder.inttoptr(args[0], ir.IntType(32).as_pointer())
        value = builder.load(builder.gep(base, [args[1]]), align=4)
        return builder.sext(value, ir.IntType(64))

    return types.int64(types.int64, types.int64), generate
