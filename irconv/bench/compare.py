"""One model, several pipelines and peers, in one interleaved run."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from irconv.bench.measure import Timing, interleaved
from irconv.bench.peers import PEERS, peer_file
from irconv.bench.worker import OURS, Held, Job, compiled, measure
from irconv.graph import Graph
from irconv.inspector.numerics import relative_error
from irconv.inspector.samples import seeded_inputs
from irconv.models import resolve_model
from irconv.types import Array


@dataclass(frozen=True)
class Plan:
    """What to compare, and how often."""

    model: str
    peers: tuple[str, ...] = ("onnxruntime",)
    pipelines: tuple[str | None, ...] = (None,)
    backend: str = "numba_cpu"
    precision: str = "fast"
    threads: int = 1
    batch: int | None = None
    random_weights: int | None = None
    runs: int = 20
    memory: bool = True
    seed: int = 0


@dataclass(frozen=True)
class Row:
    """One engine: its times, how many times faster than the peer it is, what it holds."""

    engine: str
    pipeline: str | None
    timing: Timing
    ratio: float | None  # the first peer's median / this one's
    error: float | None  # largest difference from the first peer, relative to its largest output
    cold: Held | None = None
    cached: Held | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain data for `json.dumps`."""
        cold, cached = self.cold, self.cached
        return {
            "engine": self.engine,
            "pipeline": self.pipeline,
            **self.timing.to_json(),
            "ratio": self.ratio,
            "error": self.error,
            "compile_cold_s": cold.compile_seconds if cold else None,
            "compile_cached_s": cached.compile_seconds if cached else None,
            "memory_bytes": cached.resident if cached else None,
            "peak_bytes": cached.peak if cached else None,
            "peak_cold_bytes": cold.peak if cold else None,
        }


@dataclass(frozen=True)
class Comparison:
    """All rows of one model, and the load of the machine before and after."""

    model: str
    inputs: dict[str, str]
    rows: tuple[Row, ...]
    load: tuple[float, float]

    def to_json(self) -> dict[str, Any]:
        """Plain data for `json.dumps`."""
        return {
            "model": self.model,
            "inputs": self.inputs,
            "load_average": list(self.load),
            "engines": [r.to_json() for r in self.rows],
        }


def compare(plan: Plan, progress: Callable[[str], None] = lambda _: None) -> Comparison:
    """Measures a plan. Raises what resolving, compiling and the peers raise."""
    load = _load()
    graph = resolve_model(plan.model, plan.batch, plan.random_weights)
    inputs = seeded_inputs(graph, plan.seed)
    with tempfile.TemporaryDirectory(prefix="irconv-bench-") as folder:
        jobs = _jobs(plan, graph, inputs, Path(folder))
        held = {name: _held(job, folder, progress) for name, job in jobs.items() if plan.memory}
        progress(f"{plan.model}: compiling")
        engines = {name: _engine(job, graph, inputs) for name, job in jobs.items()}
        del graph
        progress(f"{plan.model}: {plan.runs} runs of each engine, interleaved")
        results = {name: run() for name, run in engines.items()}
        timings = interleaved(engines, plan.runs)
    rows = tuple(_row(n, jobs, timings, results, held.get(n)) for n in jobs)
    shapes = {name: f"{a.dtype}{list(a.shape)}" for name, a in inputs.items()}
    return Comparison(plan.model, shapes, rows, (load, _load()))


def _jobs(plan: Plan, graph: Graph, inputs: Mapping[str, Array], folder: Path) -> dict[str, Job]:
    """A job for each pipeline and each peer, by the name it has in the table."""
    stored = folder / "inputs.npz"
    np.savez(stored, allow_pickle=False, **dict(inputs))
    file = None
    if plan.peers:
        file = peer_file(plan.model, graph, plan.random_weights, plan.batch, folder)
    job = Job(
        OURS,
        plan.model,
        str(file) if file else None,
        str(stored),
        plan.batch,
        plan.random_weights,
        plan.threads,
        plan.backend,
        precision=plan.precision,  # type: ignore[arg-type]  # checked by compile
    )
    ours = {f"{OURS} {p or '(default)'}": replace(job, pipeline=p) for p in plan.pipelines}
    return ours | {peer: replace(job, engine=peer) for peer in plan.peers}


def _held(job: Job, folder: str, progress: Callable[[str], None]) -> tuple[Held, Held]:
    """What a job holds with an empty cache, and with the cache that this filled."""
    progress(f"{job.model}: memory and compile time of {job.engine} in processes of its own")
    if job.engine != OURS:
        found = measure(job)
        return found, found
    with tempfile.TemporaryDirectory(dir=folder) as cache:
        return measure(job, cache), measure(job, cache)


def _engine(job: Job, graph: Graph, inputs: Mapping[str, Array]) -> Callable[[], Sequence[Array]]:
    if job.engine != OURS:
        peer = PEERS[job.engine](Path(str(job.file)), job.threads)
        return lambda: peer(inputs)
    executable = compiled(job, graph, inputs)
    return lambda: tuple(executable.run(inputs).values())


def _row(
    name: str,
    jobs: Mapping[str, Job],
    timings: Mapping[str, Timing],
    results: Mapping[str, Sequence[Array]],
    held: tuple[Held, Held] | None,
) -> Row:
    job = jobs[name]
    peer = next((n for n, j in jobs.items() if j.engine != OURS), None)
    ratio = error = None
    if peer is not None and peer != name:
        ratio = timings[peer].median / timings[name].median
        places = range(len(results[peer]))
        error = relative_error(
            {str(i): results[name][i] for i in places}, {str(i): results[peer][i] for i in places}
        )
    cold, cached = held or (None, None)
    pipeline = job.pipeline if job.engine == OURS else None
    return Row(name, pipeline, timings[name], ratio, error, cold, cached)


def _load() -> float:
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
