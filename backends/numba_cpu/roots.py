"""The square root as one instruction: Numba's own would call Python's helpers."""

from __future__ import annotations

from typing import Any

from irconv.backends.numba_cpu.jit import instruction


@instruction
def square_root(typing: Any, value: Any) -> Any:
    """`square_root(x)`: NaN below 0."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = args[0].type
        root = builder.module.declare_intrinsic("llvm.sqrt", [kind])
        return builder.call(root, args)

    return value(value), generate
