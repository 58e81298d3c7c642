"""What a benchmark found, as plain records: engines, layers, models, and the whole campaign."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from irconv.bench.data import Magnitudes
from irconv.bench.measure import Timing
from irconv.bench.worker import OURS, Held

FASTER = "the faster"  # of the peers, model by model


@dataclass(frozen=True)
class Row:
    """One engine: its times, how many times faster than each peer it is, what it holds.

    `ratios`: a peer's median / this one's. `error`: the largest difference from the first peer,
    relative to its largest output. `failed`: why there is no time. `passes`: what ran, as the text
    of a pipeline, with the choices of a `tuned` one stated; `pipeline` is what was asked for.
    """

    name: str
    engine: str
    pipeline: str | None
    precision: str | None
    timing: Timing | None
    ratios: dict[str, float]
    error: float | None
    cold: Held | None = None
    cached: Held | None = None
    failed: str | None = None
    passes: str | None = None
    tuned: bool = False

    @property
    def is_ours(self) -> bool:
        return self.engine == OURS

    @property
    def ratio(self) -> float | None:
        """Against the faster of the peers."""
        return min(self.ratios.values(), default=None)

    def to_json(self) -> dict[str, Any]:
        """Plain data for `json.dumps`."""
        cold, cached = self.cold, self.cached
        return {
            "name": self.name,
            "engine": self.engine,
            "pipeline": self.pipeline,
            "passes": self.passes,
            "tuned": self.tuned,
            "precision": self.precision,
            **(self.timing.to_json() if self.timing else {"median_ms": None}),
            "ratios": self.ratios,
            "ratio": self.ratio,
            "error": self.error,
            "compile_cold_s": cold.compile_seconds if cold else None,
            "compile_cached_s": cached.compile_seconds if cached else None,
            "memory_bytes": cached.resident if cached else None,
            "peak_bytes": cached.peak if cached else None,
            "peak_cold_bytes": cold.peak if cold else None,
            "failed": self.failed,
        }


@dataclass(frozen=True)
class Layer:
    """One layer of ours beside the same work in onnxruntime: steps and events that share nodes.

    `nodes` counts the nodes of the source graph; `flops` are those of the direct algorithm on
    them, so that an algorithm that needs fewer has a higher rate. `reason`: what our report says.
    """

    name: str
    op: str
    kernel: str
    nodes: int
    flops: int
    seconds: float | None
    peer_seconds: float | None
    reason: str = ""

    @property
    def ratio(self) -> float | None:
        """onnxruntime's time / ours."""
        if not self.seconds or self.peer_seconds is None:
            return None
        return self.peer_seconds / self.seconds

    @property
    def is_slower(self) -> bool:
        """Whether ours takes longer than onnxruntime."""
        both = self.seconds is not None and self.peer_seconds is not None
        return both and (self.seconds or 0.0) > (self.peer_seconds or 0.0)

    @property
    def gflops(self) -> float | None:
        return self.flops / self.seconds / 1e9 if self.flops and self.seconds else None

    def to_json(self) -> dict[str, Any]:
        """Plain data for `json.dumps`."""
        return asdict(self) | {"ratio": self.ratio, "gflops": self.gflops}


@dataclass(frozen=True)
class Comparison:
    """All rows of one model with one batch and one number of threads.

    `load`: the load of the machine before and after. `layers`: by the name of our row.
    """

    model: str
    batch: int | None
    threads: int
    inputs: dict[str, str]
    rows: tuple[Row, ...]
    load: tuple[float, float]
    layers: dict[str, tuple[Layer, ...]] = field(default_factory=dict)
    data: Magnitudes | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain data for `json.dumps`."""
        return {
            "model": self.model,
            "batch": self.batch,
            "threads": self.threads,
            "inputs": self.inputs,
            "load_average": list(self.load),
            "engines": [r.to_json() for r in self.rows],
            "layers": {n: [x.to_json() for x in found] for n, found in self.layers.items()},
            "data": self.data.to_json() if self.data else None,
        }

    def with_layers(self, layers: dict[str, tuple[Layer, ...]]) -> Comparison:
        return replace(self, layers=layers)


@dataclass(frozen=True)
class Summary:
    """Ratios of one of our rows against a peer (or the faster one) over several models."""

    name: str
    against: str
    threads: int
    batch: int | None
    count: int
    mean: float  # geometric
    worst: float
    worst_model: str

    def to_json(self) -> dict[str, Any]:
        """Plain data for `json.dumps`."""
        return asdict(self)


@dataclass(frozen=True)
class Results:
    """A whole campaign. `peak`: GFLOP/s of the machine by number of threads, where measured."""

    facts: dict[str, Any]
    comparisons: tuple[Comparison, ...]
    peak: dict[int, float] = field(default_factory=dict)
    complete: bool = True

    @property
    def settings(self) -> list[tuple[int | None, int]]:
        """(batch, threads) in the order of the campaign."""
        return list(dict.fromkeys((c.batch, c.threads) for c in self.comparisons))

    def at(self, batch: int | None, threads: int) -> list[Comparison]:
        """The comparisons of one setting."""
        return [c for c in self.comparisons if (c.batch, c.threads) == (batch, threads)]

    def summaries(self) -> list[Summary]:
        """For each setting, each row of ours and each peer."""
        return [s for b, t in self.settings for s in _summaries(self.at(b, t))]

    def to_json(self) -> dict[str, Any]:
        """Plain data for `json.dumps`."""
        return {
            **self.facts,
            "complete": self.complete,
            "peak_gflops": {str(t): p for t, p in self.peak.items()},
            "models": [c.to_json() for c in self.comparisons],
            "summary": [s.to_json() for s in self.summaries()],
        }


def _summaries(comparisons: list[Comparison]) -> Iterable[Summary]:
    ours = [(c, r) for c in comparisons for r in c.rows if r.is_ours and r.ratios]
    for name in dict.fromkeys(r.name for _, r in ours):
        peers = dict.fromkeys(p for _, r in ours if r.name == name for p in r.ratios)
        for against in (*peers, *((FASTER,) if len(peers) > 1 else ())):
            found = {
                c.model: ratio
                for c, r in ours
                if r.name == name
                and (ratio := r.ratio if against == FASTER else r.ratios.get(against))
            }
            if found:
                yield _summary(name, against, comparisons[0], found)


def _summary(name: str, against: str, any_of: Comparison, found: dict[str, float]) -> Summary:
    mean = math.exp(math.fsum(map(math.log, found.values())) / len(found))
    worst = min(found, key=found.__getitem__)
    setting = (any_of.threads, any_of.batch, len(found))
    return Summary(name, against, *setting, mean, found[worst], worst)
