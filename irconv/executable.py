"""A compiled model: checks its inputs, compiles for each new set of sizes, keeps the last few
programs.
"""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from operator import index
from typing import Any, get_args

from irconv.algorithms import AlgorithmChoice
from irconv.backend import (
    Backend,
    Options,
    Precision,
    Program,
    default_pipeline,
    find_backend,
)
from irconv.choices import with_choices
from irconv.dim import symbol
from irconv.errors import BackendError, IrconvError, printable
from irconv.graph import Graph, Value
from irconv.heap import trim
from irconv.inputs import bind_symbols, check_inputs
from irconv.interpret import content
from irconv.listing import parameter_line
from irconv.pipeline import Pipeline, Stage, lower, parse_pipeline, pipeline_text
from irconv.report import Report
from irconv.rewrite import Remark
from irconv.specialize import specialize
from irconv.text import parse
from irconv.tuning import Tuned
from irconv.tuning import tune as tune_by_measuring
from irconv.types import Array, TensorType
from irconv.verify import verify

KEPT_PROGRAMS = 8
THREADS_LIMIT = 256  # no machine that this is for has more cores; each thread takes scratch


def compile(  # noqa: A001 - the public name, as in torch.compile
    graph: Graph,
    backend: str = "numba_cpu",
    pipeline: Pipeline | None = None,
    precision: Precision = "fast",
    threads: int | None = None,
    tune: bool = False,
) -> Executable:
    """An Executable of `graph`.

    `pipeline` is the text of the passes to run first; None means the backend's default, `""` none
    at all. `threads` defaults to the number of cores that this process may use. With `tune`, the
    algorithms that the pipeline leaves open are measured here and now, or taken from what an
    earlier measurement left in the cache; the report's pipeline states them and can be given again.
    A graph of symbolic sizes is compiled when it is first called with a new set of sizes. Raises
    BackendError, PipelineError, VerifyError.
    """
    if precision not in get_args(Precision):
        raise BackendError(
            "unknown precision", expected=" or ".join(get_args(Precision)), got=precision
        )
    count = available_cores() if threads is None else _count(threads)
    found = find_backend(backend)
    options = Options(precision, count, tune)
    text = default_pipeline(found, options) if pipeline is None else pipeline
    passes: Pipeline = pipeline_text(text) if isinstance(text, str) else parse_pipeline(text)
    verify(graph)
    for value in graph.parameters.values():
        content(value)
    _check_symbols(graph)
    executable = Executable(graph, found, passes, options)
    if not graph.symbols():
        executable.prepare({})
    return executable


def _count(threads: int) -> int:
    try:
        count = index(threads)
    except TypeError:
        count = 0
    if not 1 <= count <= THREADS_LIMIT:
        raise BackendError(
            "wrong number of threads",
            expected=f"an integer from 1 to {THREADS_LIMIT}",
            got=printable(threads),
        )
    return count


def _check_symbols(graph: Graph) -> None:
    sizes = {d for value in graph.inputs for d in value.shape}
    for name in graph.symbols():
        if symbol(name) not in sizes:
            raise BackendError(
                f"the size {printable(name)} is no size of an input by itself",
                got=", ".join(f"%{printable(v.name)}: {v.type}" for v in graph.inputs),
            )


def available_cores() -> int:
    """The number of cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Executable:
    """A model compiled for one backend; made by `compile`. Several threads may call it at once.

    `exe(x)` takes arrays in the graph's order and returns a tuple; `exe.run({"x": x})` takes and
    returns a dict by name. It keeps a graph of its own: later changes of the one that was compiled
    do not reach it. It pickles by its graph and options and is compiled anew where it is loaded.
    """

    def __init__(
        self, graph: Graph, backend: Backend, pipeline: Pipeline, options: Options
    ) -> None:
        self._graph: Graph | None = graph.copy()
        self._inputs = tuple(Value(v.name, v.type) for v in graph.inputs)
        self._output_names = tuple(v.name for v in graph.outputs)
        self._backend = backend
        self._pipeline = pipeline
        self._options = options
        self._programs: OrderedDict[tuple[tuple[str, int], ...], Program] = OrderedDict()
        self._locks: dict[int, threading.Lock] = {}
        self.outputs: dict[str, TensorType] = {v.name: v.tensor_type for v in graph.outputs}
        self.inputs: dict[str, TensorType] = {v.name: v.tensor_type for v in graph.inputs}

    def __call__(self, *arrays: Any) -> tuple[Array, ...] | dict[str, Array]:
        """Runs the model on arrays in the graph's order, or on one dict by name (then a dict comes
        back).
        """
        if len(arrays) == 1 and isinstance(arrays[0], Mapping):
            return self.run(arrays[0])
        return tuple(self._execute(check_inputs(self._inputs, arrays)))

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Array]:
        """The outputs by name, from the inputs by name."""
        results = self._execute(check_inputs(self._inputs, inputs))
        return dict(zip(self._output_names, results, strict=True))

    @property
    def _lock(self) -> threading.Lock:
        # of this process: a lock that a thread held at a fork is held for ever in the child
        return self._locks.setdefault(os.getpid(), threading.Lock())

    def prepare(self, sizes: Mapping[str, int]) -> Program:
        """The program for these sizes of the graph's symbols, compiled if it is not there yet."""
        key = tuple(sorted(sizes.items()))
        with self._lock:
            program = self._programs.get(key)
            if program is None:
                program = self._compile(key)
                self._programs[key] = program
                if len(self._programs) > KEPT_PROGRAMS:
                    self._programs.popitem(last=False)
            self._programs.move_to_end(key)
        return program

    def release(self) -> None:
        """Lets go of the source graph and its weights; only sizes compiled already can run after
        this. Memory that compiling has left goes back to the system.
        """
        self._graph = None
        trim()

    @property
    def report(self) -> Report:
        """The report of the program used last (of one compiled for sizes 1, if none was called
        yet). Raises BackendError where the model cannot be compiled for sizes 1.
        """
        return self._latest().report

    @property
    def source(self) -> str:
        """The emitted program used last, readable."""
        return self._latest().source

    def _latest(self) -> Program:
        with self._lock:
            if self._programs:
                return next(reversed(self._programs.values()))
        names = self._graph.symbols() if self._graph is not None else ()
        try:
            return self.prepare(dict.fromkeys(names, 1))
        except IrconvError as error:
            raise BackendError(
                "nothing is compiled yet", got=f"for sizes 1: {error}", hint="call it once"
            ) from error

    def _execute(self, arrays: Sequence[Array]) -> list[Array]:
        return self.prepare(bind_symbols(self._inputs, arrays))(arrays)

    def _compile(self, sizes: tuple[tuple[str, int], ...]) -> Program:
        if self._graph is None:
            raise BackendError("the source graph was released", got=f"new sizes {dict(sizes)}")
        start = time.perf_counter()
        graph = specialize(self._graph, dict(sizes)) if sizes else self._graph
        tuned = self._tuned(graph)
        told = _Told(tuned)
        lowered = lower(graph, tuned.passes, told)
        program = self._backend.compile(lowered, self._options, pipeline_text(tuned.passes))
        report = program.report
        complete = replace(
            report,
            sizes=sizes,
            nodes=with_choices(report.nodes, lowered, told.choices, told.former),
            remarks=tuple(told.remarks),
            notes=(*report.notes, *((tuned.note,) if tuned.note else ())),
            compile_seconds=time.perf_counter() - start,
        )
        program.report = complete  # type: ignore[misc]  # a program's report is a plain attribute
        return program

    def _tuned(self, graph: Graph) -> Tuned:
        """The passes to run, their choices measured where that is asked for."""
        passes = parse_pipeline(self._pipeline)
        if not self._options.tune:
            return Tuned(passes)
        return tune_by_measuring(graph, passes, self._backend, self._options)

    def __reduce__(self) -> tuple[Any, ...]:
        if self._graph is None:
            raise BackendError("an Executable whose graph was released cannot be pickled")
        big = {
            v.digest: v.array
            for v in self._graph.parameters.values()
            if f"#{v.digest}" in parameter_line(v)
        }
        return (_loaded, (str(self._graph), big, self._backend.name, self._pipeline, self._options))

    def __repr__(self) -> str:
        return f"<Executable {self._backend.name}: {self.inputs} -> {self.outputs}>"


class _Told:
    """What the passes tell: remarks, and choices by the names of `former` nodes."""

    def __init__(self, tuned: Tuned) -> None:
        self.remarks: list[Remark] = []
        self.choices: dict[str, AlgorithmChoice] = {}
        self.former: list[str] = []
        self._tuned = tuned

    def __call__(self, stage: Stage) -> None:
        self.remarks.extend(stage.remarks)
        if stage.choices:
            self.choices = self._tuned.choices(stage)
            self.former = [node.name for node in stage.before]


def _loaded(
    text: str, big: Mapping[str, Array], backend: str, pipeline: Pipeline, options: Options
) -> Executable:
    """What was pickled: a graph as its listing, since pickle would recurse along its nodes."""
    graph = parse(text, big)
    return compile(graph, backend, pipeline, options.precision, options.threads, options.tune)
