"""What a pass that chooses among algorithms tells: what it chose for a layer, and from what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from irconv.graph import Graph
    from irconv.pipeline import Pass


@dataclass(frozen=True, slots=True)
class AlgorithmChoice:
    """How a layer is computed, and what was predicted and measured of each way: seconds by name.

    `error`: of a sample of the layer, the largest difference from float64 / the largest
    `sum|x||w|`; `error_bound`: what it must stay within. None for an algorithm that is direct.
    """

    algorithm: str
    predicted: dict[str, float]
    measured: dict[str, float] = field(default_factory=dict)
    error: float | None = None
    error_bound: float | None = None

    @property
    def is_within_bound(self) -> bool:
        return self.error is None or self.error_bound is None or self.error <= self.error_bound


@dataclass(frozen=True, slots=True)
class Layer:
    """A node that can be computed in several ways, by the name of its first result.

    Layers whose `work` is the same text take the same time. `algorithms`: what there is to choose
    from; one, where the choice was made already.
    """

    node: str
    work: str
    algorithms: tuple[str, ...]


@runtime_checkable
class Tunable(Protocol):
    """A pass that chooses algorithms, and can be told what they take."""

    def layers(self, graph: Graph) -> tuple[Layer, ...]:
        """What it chooses for, in the order of the graph; nothing where its options state it."""
        ...

    def stated(self, algorithms: Sequence[str]) -> Pass:
        """The same pass with these algorithms as its options, one for each of the layers."""
        ...

    def best(self, graph: Graph, measured: Sequence[Mapping[str, float]]) -> tuple[str, ...]:
        """The algorithms that it would choose if its layers took so many seconds."""
        ...


def owners(names: Iterable[str], nodes: Iterable[str]) -> dict[str, str]:
    """For each name after later passes, which of the former `nodes` it comes from, if from one.

    A rewrite keeps a node's name, and begins with it the names of what else it makes.
    """
    known = frozenset(nodes)
    found = {}
    for name in names:
        stem = name
        while stem and stem not in known:
            stem = stem.rpartition(".")[0]
        if stem:
            found[name] = stem
    return found
