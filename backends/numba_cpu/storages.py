"""Where the values of a graph that lie in blocks of channels have their elements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from irconv.backends.numba_cpu.binders.kind import shape_of
from irconv.backends.numba_cpu.blocked.launches import Blocked
from irconv.backends.numba_cpu.blocked.storage import Storage, storage
from irconv.backends.numba_cpu.views import Views, keeps_order, layout_of
from irconv.graph import Graph, Value
from irconv.op import Op
from irconv.ops.rearrange import ChannelShuffle


@dataclass(frozen=True)
class Storages:
    """The storage of each value in blocks; `owners`: those that lie in a larger one."""

    held: Mapping[Value, Storage]
    owners: Mapping[Value, Value]

    def blocked(self, value: Value) -> Blocked:
        """A value as kernels on blocks take it."""
        return Blocked(value, self.held[value])

    def share(self, value: Value, whole: Value) -> bool:
        """Whether two values lie in one buffer."""
        return self.owners.get(value, value) is self.owners.get(whole, whole)


def find_storages(graph: Graph, views: Views) -> Storages:
    """The storages of all values in blocks."""
    found: dict[Value, Storage] = {}
    for node in graph:
        for value in node.results:
            layout = layout_of(value)
            if layout is not None:
                found[value] = storage(shape_of(value), layout)
    for value, channel in views.channels.items():
        # the owner is the result of the last concatenation, a storage of its own
        found[value] = found[value].within(found[views.owners[value]], channel)
    for node in graph:
        held = found.get(node.operands[0]) if node.operands and node.operands[0] else None
        if held is not None and node in views.shuffles:
            found[node.result] = replace(held, order=_shuffled(node.op, held))
        elif held is not None and held.order is not None and keeps_order(node):
            found[node.result] = replace(found[node.result], order=held.order)
    return Storages(found, views.owners)


def _shuffled(op: Op, held: Storage) -> tuple[int, ...]:
    """Where the channels lie that a shuffle makes of those of `held`."""
    assert isinstance(op, ChannelShuffle)
    return tuple(held.slots[channel] for channel in op.order(held.channels))
