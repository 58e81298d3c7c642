"""How a number of items is cut: into cache blocks, and among the parts of a launch."""

from __future__ import annotations

from typing import Any

from irconv.backends.numba_cpu.jit import compiled_part


@compiled_part
def share(count: Any, part: Any, parts: Any) -> Any:
    """The first and the end of the items that `part` of `parts` works on."""
    return count * part // parts, count * (part + 1) // parts


@compiled_part
def blocks(count: Any, size: Any) -> Any:
    """How many blocks of `size` hold `count` items."""
    return (count + size - 1) // size
