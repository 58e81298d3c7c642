"""Where the values of a graph that lie in blocks of channels have their elements."""

from __future__ import annotations

from irconv.backends.numba_cpu.binders.kind import shape_of
from irconv.backends.numba_cpu.blocked.storage import Storage, storage
from irconv.backends.numba_cpu.views import Views, layout_of
from irconv.graph import Graph, Value


def find_storages(graph: Graph, views: Views) -> dict[Value, Storage]:
    """The storage of each value in blocks, those that lie in another one included."""
    found: dict[Value, Storage] = {}
    for node in graph:
        for value in node.results:
            layout = layout_of(value)
            if layout is not None:
                found[value] = storage(shape_of(value), layout)
    for value, channel in views.channels.items():
        # the owner is the result of the last concatenation, a storage of its own
        found[value] = found[value].within(found[views.owners[value]], channel)
    return found
