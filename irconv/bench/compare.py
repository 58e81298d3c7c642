"""One model with one batch and one number of threads: our forms and the peers, in one run."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

import numpy as np

from irconv.backend import Precision
from irconv.bench.measure import Engine, Timing, interleaved
from irconv.bench.peers import PEERS
from irconv.bench.rows import Comparison, Row
from irconv.bench.source import Source
from irconv.bench.worker import OURS, Held, Job, compiled, measure
from irconv.errors import IrconvError, printable
from irconv.executable import Executable
from irconv.inspector.numerics import relative_error
from irconv.inspector.samples import seeded_inputs
from irconv.types import Array

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What to compare on one source, and how often. `memory`: processes of their own too."""

    peers: tuple[str, ...] = ("onnxruntime",)
    pipelines: tuple[str | None, ...] = (None,)
    precisions: tuple[Precision, ...] = ("fast",)
    backend: str = "numba_cpu"
    threads: int = 1
    runs: int = 20
    memory: bool = True
    tune: bool = False
    seed: int = 0


@dataclass
class Measured:
    """What `compare` found, and the engines that ran: layers are timed on them afterwards."""

    comparison: Comparison
    executables: dict[str, Executable]
    inputs: dict[str, Array]


@dataclass
class _Runner:
    """The engines of one comparison as they come up; `failures` tells why one did not."""

    engines: dict[str, Engine] = field(default_factory=dict)
    executables: dict[str, Executable] = field(default_factory=dict)
    results: dict[str, Sequence[Array]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def start(self, name: str, job: Job, source: Source, inputs: Mapping[str, Array]) -> None:
        """Compiles or loads an engine and runs it once."""
        try:
            if job.engine == OURS:
                self.engines[name] = self._ours(name, job, source, inputs)
            else:
                self.engines[name] = PEERS[job.engine](Path(job.file), job.threads)
            self.results[name] = self.engines[name](inputs)
        except Exception as error:  # noqa: BLE001 - whatever an engine raises: the others go on
            self.failed(name, error)

    def failed(self, name: str, error: Exception) -> None:
        """Takes an engine out."""
        self.engines.pop(name, None)
        self.executables.pop(name, None)
        kind = "" if isinstance(error, IrconvError) else f"{type(error).__name__}: "
        self.failures[name] = printable(f"{kind}{error}", 300)

    def _ours(self, name: str, job: Job, source: Source, inputs: Mapping[str, Array]) -> Engine:
        executable = compiled(job, source.graph, inputs)
        executable.release()
        self.executables[name] = executable
        return lambda given: tuple(executable.run(given).values())


def compare(source: Source, plan: Plan, progress: Progress = lambda _: None) -> Measured:
    """Measures a plan. An engine that fails has a row that says so."""
    load = load_average()
    inputs = seeded_inputs(source.graph, plan.seed)
    jobs = _jobs(source, plan)
    held = _all_held(source.model, jobs, inputs, progress) if plan.memory else {}
    runner = _Runner()
    for name, job in jobs.items():
        progress(f"{source.model}: {name}: compiling")
        runner.start(name, job, source, inputs)
    progress(f"{source.model}: {plan.runs} runs of each engine, interleaved")
    timings = interleaved(
        runner.engines, plan.runs, _drawer(source, plan.seed), failed=runner.failed
    )
    rows = tuple(_row(name, job, runner, timings, held) for name, job in jobs.items())
    shapes = {name: f"{a.dtype}{list(a.shape)}" for name, a in inputs.items()}
    loads = (load, load_average())
    found = Comparison(source.model, source.batch, plan.threads, shapes, rows, loads)
    return Measured(found, runner.executables, inputs)


def _drawer(source: Source, seed: int) -> Callable[[], Mapping[str, Array]]:
    """New inputs at each call: those of the seeds after the one of the comparison."""
    numbers: Iterator[int] = count(1)
    return lambda: seeded_inputs(source.graph, seed + next(numbers))


def _jobs(source: Source, plan: Plan) -> dict[str, Job]:
    """A job for each of our forms and for each peer, by the name it has in the table."""
    job = Job(
        OURS,
        source.spec,
        str(source.file),
        source.changed_batch,
        source.random_weights,
        plan.threads,
        plan.backend,
    )
    found = {}
    for precision in plan.precisions:
        for pipeline in plan.pipelines:
            form = "" if pipeline is None else f" {pipeline or '(as it stands)'}"
            own = replace(job, pipeline=pipeline, precision=precision, tune=plan.tune)
            found[f"{OURS} {precision}{form}"] = own
    return found | {peer: replace(job, engine=peer) for peer in plan.peers}


def _all_held(
    model: str, jobs: Mapping[str, Job], inputs: Mapping[str, Array], progress: Progress
) -> dict[str, tuple[Held, Held]]:
    """What each job holds with an empty cache, and with the cache that this filled."""
    found = {}
    with tempfile.TemporaryDirectory(prefix="irconv-bench-") as folder:
        stored = Path(folder) / "inputs.npz"
        np.savez(stored, allow_pickle=False, **dict(inputs))
        for name, job in jobs.items():
            progress(f"{model}: {name}: memory and compile time, in processes of its own")
            try:
                found[name] = _held(job, str(stored), folder)
            except IrconvError as error:
                progress(f"{model}: {name}: no memory is told: {error}")
    return found


def _held(job: Job, inputs: str, folder: str) -> tuple[Held, Held]:
    if job.engine != OURS:
        found = measure(job, inputs)
        return found, found
    with tempfile.TemporaryDirectory(dir=folder) as cache:
        return measure(job, inputs, cache), measure(job, inputs, cache)


def _row(
    name: str,
    job: Job,
    runner: _Runner,
    timings: Mapping[str, Timing],
    held: Mapping[str, tuple[Held, Held]],
) -> Row:
    """Ratios are of ours against each peer; errors against the first peer that ran."""
    ours = job.engine == OURS
    peers = [n for n in timings if n in PEERS]
    ratios, error = {}, None
    if ours and name in timings:
        median = timings[name].median
        ratios = {peer: timings[peer].median / median for peer in peers}
    if peers and name in timings and name != peers[0]:
        error = _difference(runner.results[name], runner.results[peers[0]])
    cold, cached = held.get(name, (None, None))
    return Row(
        name,
        OURS if ours else job.engine,
        job.pipeline if ours else None,
        job.precision if ours else None,
        timings.get(name),
        ratios,
        error,
        cold,
        cached,
        runner.failures.get(name),
        runner.executables[name].report.pipeline if name in runner.executables else None,
        job.tune and name in runner.executables,
    )


def _difference(result: Sequence[Array], expected: Sequence[Array]) -> float:
    if len(result) != len(expected):
        return float("inf")
    both = zip(result, expected, strict=True)
    return max((relative_error({"": y}, {"": ref}) for y, ref in both), default=0.0)


def load_average() -> float:
    """Processes that wanted a core, over the last minute."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
