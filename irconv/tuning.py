"""Chooses the algorithms of a pipeline by measuring them: each for all layers, with all kernels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import TypeAlias

from irconv import tuning_cache
from irconv.algorithms import AlgorithmChoice, Layer, Tunable, owners
from irconv.backend import Backend, Options
from irconv.errors import BackendError, InputError, printable
from irconv.graph import Graph
from irconv.heap import trim
from irconv.inspector.samples import seeded_inputs
from irconv.pipeline import Pass, Stage, lower, pipeline_text
from irconv.profiling import Profiled, Tunes
from irconv.sources import modules_digest
from irconv.types import Array

ROUNDS = 5  # in which the programs take turns
RUNS = 3  # of a program at its turn
# seconds of each algorithm for one layer
Seconds: TypeAlias = "Mapping[str, float]"


@dataclass(frozen=True)
class Tuned:
    """A pipeline whose choices are stated; what was measured for the layers of `chosen`, in order;
    and what the report says about it.
    """

    passes: tuple[Pass, ...]
    note: str = ""
    chosen: Pass | None = None
    measured: tuple[Seconds, ...] = ()

    def choices(self, stage: Stage) -> dict[str, AlgorithmChoice]:
        """The choices of a stage, with what was measured of them."""
        if stage.pass_ is not self.chosen:
            return dict(stage.choices)
        both = zip(stage.choices.items(), self.measured, strict=True)
        return {name: replace(choice, measured=dict(m)) for (name, choice), m in both}


def tune(graph: Graph, passes: tuple[Pass, ...], backend: Backend, options: Options) -> Tuned:
    """`passes` with the choices of the first one that leaves choices open stated as measured.

    `graph` must have known sizes. The times are of this machine, with its load of the moment; they
    are kept on disk, and read there by whoever compiles the same structure with the same options.
    """
    if not isinstance(backend, Tunes):
        return Tuned(passes, f"tune: the backend {backend.name} has nothing to choose from")
    if options.precision == "strict":
        return Tuned(passes, "tune: strict allows direct products only: nothing is to be chosen")
    for place, chosen in enumerate(passes):
        if isinstance(chosen, Tunable):
            before = lower(graph, passes[:place])
            layers = chosen.layers(before)
            if any(len(layer.algorithms) > 1 for layer in layers):
                return _Tuning(before, passes, place, layers, backend, options).result(chosen)
    return Tuned(passes, "tune: the pipeline leaves nothing to choose for this graph")


class _NotMeasuredError(BackendError):
    """A layer's time cannot be told apart from that of others."""


@dataclass(frozen=True)
class _Tuning:
    """The graph `before` the pass at `place`, and its layers."""

    before: Graph
    passes: tuple[Pass, ...]
    place: int
    layers: tuple[Layer, ...]
    backend: Backend
    options: Options

    def result(self, chosen: Tunable) -> Tuned:
        key = self._key()
        times = tuning_cache.load(key, self.layers)
        source = "from the cache"
        if times is None:
            try:
                times = self._measured(chosen)
            except (InputError, _NotMeasuredError) as error:
                return Tuned(self.passes, f"tune: nothing was measured: {error}")
            finally:
                trim()  # three programs, each with weights of its own
            source = "measured now"
            tuning_cache.store(key, times)
        measured = tuple(times[layer.work] for layer in self.layers)
        stated = chosen.stated(chosen.best(self.before, measured))
        passes = self._with(stated)
        count = f"{len(self.layers)} layers, {len(times)} of them different"
        return Tuned(passes, f"tune: choices {source}: {count}", stated, measured)

    def _with(self, stated: Pass) -> tuple[Pass, ...]:
        return (*self.passes[: self.place], stated, *self.passes[self.place + 1 :])

    def _key(self) -> str:
        assert isinstance(self.backend, Tunes)
        rest = pipeline_text(self.passes[self.place :])
        made_by = modules_digest(type(p).__module__ for p in self.passes[self.place :])
        version = f"{self.backend.name} {self.backend.machine_version()} {made_by}"
        return tuning_cache.key_of(
            self.before, rest, version, self.options.precision, str(self.options.threads)
        )

    def _measured(self, chosen: Tunable) -> tuning_cache.Times:
        """The median seconds of each work by each algorithm, over rounds and equal layers."""
        programs = [(a, self._program(chosen, a)) for a in self._algorithms()]
        arrays = list(seeded_inputs(self.before).values())
        found: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
        for _ in range(ROUNDS):
            for algorithm, program in programs:
                seconds = self._layer_seconds(program, arrays)
                for layer in self.layers:
                    found[layer.work, algorithm].append(seconds[layer.node])
        return {
            layer.work: {a: median(found[layer.work, a]) for a in layer.algorithms}
            for layer in self.layers
        }

    def _algorithms(self) -> list[str]:
        return list(dict.fromkeys(a for layer in self.layers for a in layer.algorithms))

    def _program(self, chosen: Tunable, algorithm: str) -> Profiled:
        """The whole graph with one algorithm wherever it is possible."""
        stated = chosen.stated(
            [algorithm if algorithm in x.algorithms else x.algorithms[0] for x in self.layers]
        )
        lowered = lower(self.before, (stated, *self.passes[self.place + 1 :]))
        program = self.backend.compile(lowered, self.options, pipeline_text(self._with(stated)))
        if not isinstance(program, Profiled):
            raise BackendError("a program cannot be timed", where=self.backend.name)
        return program

    def _layer_seconds(self, program: Profiled, arrays: Sequence[Array]) -> dict[str, float]:
        steps = program.profile(arrays, RUNS)
        owner = owners({s.node for s in steps}, (node.name for node in self.before))
        found = dict.fromkeys((layer.node for layer in self.layers), 0.0)
        for step in steps:
            name = owner.get(step.node)
            if name in found:
                found[name] += step.seconds
        missing = [name for name, seconds in found.items() if not seconds > 0]
        if missing:
            raise _NotMeasuredError("a layer has no steps", where=f"%{printable(missing[0])}")
        return found
