"""Binds nodes whose operands or results lie in blocks of channels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from irconv.backends.numba_cpu.binders.kind import operand, source
from irconv.backends.numba_cpu.blocked.launches import Blocked
from irconv.backends.numba_cpu.blocked.pack import pack, unpack
from irconv.backends.numba_cpu.blocked.storage import Storage
from irconv.backends.numba_cpu.launch import Launch
from irconv.errors import BackendError, printable
from irconv.graph import Node, Value
from irconv.op import Op
from irconv.ops.layout import Pack, Unpack

Storages: TypeAlias = "Mapping[Value, Storage]"
# (node, number of threads, where values lie) -> its launches, or None where no kernel fits
BlockBinder: TypeAlias = "Callable[[Node, int, Storages], list[Launch] | None]"


def bind_in_blocks(node: Node, threads: int, storages: Storages) -> list[Launch]:
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


def _blocked(value: Value, storages: Storages) -> Blocked:
    return Blocked(value, storages[value])


def bind_pack(node: Node, threads: int, storages: Storages) -> list[Launch]:
    """Pack."""
    return pack(_blocked(node.result, storages), source(operand(node, 0)))


def bind_unpack(node: Node, threads: int, storages: Storages) -> list[Launch]:
    """Unpack."""
    return unpack(node.result, _blocked(operand(node, 0), storages))


BINDERS: dict[type[Op], BlockBinder] = {Pack: bind_pack, Unpack: bind_unpack}
