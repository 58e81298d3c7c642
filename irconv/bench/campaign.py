"""Many models, batches and numbers of threads, one after another."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from irconv.backend import Precision, find_backend
from irconv.bench.compare import Measured, Plan, Progress, compare
from irconv.bench.data import magnitudes
from irconv.bench.layers import matched, our_steps, peer_steps
from irconv.bench.reasons import Limits
from irconv.bench.rows import Comparison, Layer
from irconv.bench.source import Source, read_source, with_weights
from irconv.errors import ModelError, printable
from irconv.inspector.samples import seeded_inputs
from irconv.light_models import LIGHT_MODELS, light_name
from irconv.models import model_specs
from irconv.profiling import MeasuresPeak
from irconv.registry import nearest
from irconv.zoo import networks


@dataclass(frozen=True)
class Request:
    """What `irconv bench` was asked for.

    Memory and compile times are measured with the first batch and the first number of threads.
    """

    models: tuple[str, ...]
    peers: tuple[str, ...] = ("onnxruntime",)
    pipelines: tuple[str | None, ...] = (None,)
    precisions: tuple[Precision, ...] = ("fast",)
    backend: str = "numba_cpu"
    threads: tuple[int, ...] = (1,)
    batches: tuple[int | None, ...] = (None,)
    random_weights: int = 0
    runs: int = 20
    memory: bool = True
    layers: bool = False
    tune: bool = False
    seed: int = 0

    def plan(self, threads: int, memory: bool) -> Plan:
        """The plan of one comparison."""
        return Plan(
            self.peers,
            self.pipelines,
            self.precisions,
            self.backend,
            threads,
            self.runs,
            memory,
            self.tune,
            self.seed,
        )


def expanded(models: Sequence[str]) -> tuple[str, ...]:
    """The models, `light:all` and `zoo:all` written out; raises ModelError for an unknown name.

    So a name that is wrong is told before the first of them is measured.
    """
    every = {"light:all": LIGHT_MODELS, "zoo:all": tuple(networks())}
    found: list[str] = []
    for model in models:
        if model in every:
            found += [f"{model.partition(':')[0]}:{name}" for name in every[model]]
        else:
            _check_name(model)
            found.append(model)
    return tuple(dict.fromkeys(found))


def _check_name(model: str) -> None:
    kind, colon, name = model.partition(":")
    if colon and kind == "light":
        light_name(name)
    elif colon and kind == "zoo":
        if model not in model_specs():
            hint = nearest(model[:60], list(model_specs()))
            raise ModelError("no such network in the zoo", got=printable(name), hint=hint)
    elif not Path(model).exists():
        raise ModelError(
            "no such file", got=printable(model), hint=nearest(model[:60], list(model_specs()))
        )


def peaks(request: Request) -> dict[int, float]:
    """GFLOP/s of the machine by number of threads, where the backend can measure it."""
    backend = find_backend(request.backend)
    if not isinstance(backend, MeasuresPeak):
        return {}
    return {t: backend.peak_flops(t) / 1e9 for t in dict.fromkeys(request.threads)}


def run_campaign(request: Request, progress: Progress = lambda _: None) -> Iterator[Comparison]:
    """The comparisons as they are done: models first, in them batches, in them threads."""
    for model in request.models:
        with tempfile.TemporaryDirectory(prefix="irconv-bench-") as folder:
            progress(f"{model}: reading")
            kind = model.partition(":")[0]
            seed = request.random_weights if kind in ("light", "zoo") else None
            spec, weights = with_weights(model, seed, Path(folder))
            for batch in request.batches:
                source = read_source(model, spec, weights, batch, Path(folder))
                yield from _one_source(request, source, progress)


def _one_source(request: Request, source: Source, progress: Progress) -> Iterator[Comparison]:
    first_batch = source.batch == request.batches[0]
    data = None
    if first_batch:
        progress(f"{source.model}: looking at the data")
        data = magnitudes(source.graph, seeded_inputs(source.graph, request.seed))
    for threads in request.threads:
        first = first_batch and threads == request.threads[0]
        plan = request.plan(threads, request.memory and first)
        measured = compare(source, plan, progress)
        found = replace(measured.comparison, data=data)
        if request.layers:
            progress(f"{source.model}: layers")
            found = replace(found, layers=_layers(request, source, measured, progress))
        del measured  # the weights of every engine
        yield found


def _layers(
    request: Request, source: Source, measured: Measured, progress: Progress
) -> dict[str, tuple[Layer, ...]]:
    """The layers of each row of ours, beside onnxruntime's where it runs the model."""
    theirs = []
    if any(r.engine == "onnxruntime" and not r.failed for r in measured.comparison.rows):
        threads = measured.comparison.threads
        theirs = peer_steps(source, threads, request.runs, request.seed)
    found = {}
    limits = Limits(measured.comparison.threads, peaks(request).get(measured.comparison.threads))
    for name, executable in measured.executables.items():
        ours = our_steps(executable, source.graph, measured.inputs, request.runs)
        if ours is None:
            progress(f"{source.model}: {name}: the backend times no layers")
            continue
        found[name] = matched(source.graph, ours, theirs, limits)
    return found
