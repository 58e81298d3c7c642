"""Binds nodes whose operands or results lie in blocks of channels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from irconv.backends.numba_cpu.blocked.storage import Storage
from irconv.backends.numba_cpu.launch import Launch
from irconv.errors import BackendError, printable
from irconv.graph import Node, Value
from irconv.op import Op
from irconv.ops.rearrange import Concat

# (node, number of threads, where values lie) -> its launches, or None where no kernel fits
BlockBinder: TypeAlias = "Callable[[Node, int, Mapping[Value, Storage]], list[Launch] | None]"


def bind_in_blocks(node: Node, threads: int, storages: Mapping[Value, Storage]) -> list[Launch]:
    """The launches of a node on blocks; raises BackendError where no kernel runs it so."""
    binder = BINDERS.get(type(node.op))
    launches = binder(node, threads, storages) if binder is not None else None
    if launches is None:
        raise BackendError(
            f"no kernel runs this {node.op.name} on blocks of channels",
            where=f"%{printable(node.name)}",
            hint="put an Unpack in front of it, as the pass pack does",
        )
    return launches


BINDERS: dict[type[Op], BlockBinder] = {}
