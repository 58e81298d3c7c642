"""The process that makes the reports of a live session, bounded in time and memory."""

from __future__ import annotations

import contextlib
import importlib.util
import multiprocessing
import resource
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from irconv.errors import BackendError, BudgetError, ExportError, IrconvError, printable
from irconv.graph import Graph
from irconv.inspector.document import document
from irconv.inspector.html import report
from irconv.inspector.layer_pages import layer_pages
from irconv.inspector.trace import Trace, trace
from irconv.listing import parameter_line
from irconv.registry import register_plugin
from irconv.text import parse
from irconv.types import Array


@dataclass(frozen=True)
class Limits:
    """What one request may take: seconds, and bytes above what the process holds before it.

    `start` seconds are for reading the model; `report` bytes for the page that is made.
    """

    seconds: float = 120.0
    memory: int = 4 << 30
    start: float = 120.0
    report: int = 64 << 20


@dataclass(frozen=True, slots=True)
class Shows:
    """What a report shows beside the passes, all of it slower than they are.

    `numerics`: each pass's error; `program`: the backend's program and kernels, with `assembly`
    their LLVM IR and assembly; `export`: the ONNX graph and what onnxruntime makes of it; `layers`:
    the convolutions as pictures and their matrices in numbers.
    """

    numerics: bool = False
    program: bool = False
    assembly: bool = False
    export: bool = False
    layers: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """One report: the passes as text and what else is shown.

    `backend` makes the program; `seed` is that of the random inputs; `command` stands in the
    report.
    """

    pipeline: str
    shows: Shows = Shows()
    seed: int = 0
    backend: str = "numba_cpu"
    command: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """The report as HTML, what each pass did and what is left out, or the line of an error."""

    html: bytes = b""
    pipeline: str = ""
    steps: tuple[Mapping[str, Any], ...] = ()
    notes: tuple[str, ...] = ()
    error: str = ""


@dataclass(frozen=True)
class Subject:
    """A graph as it goes to another process: its listing, since pickle would recurse along its
    nodes, its big arrays by their digests, and the plugins' files.
    """

    listing: str
    arrays: Mapping[str, Array] = field(repr=False)
    plugins: Sequence[str] = ()

    @classmethod
    def of(cls, graph: Graph, plugins: Sequence[str] = ()) -> Subject:
        big = {
            v.digest: v.array
            for v in graph.parameters.values()
            if v.array is not None and f"#{v.digest}" in parameter_line(v)
        }
        return cls(str(graph), big, tuple(plugins))

    def graph(self) -> Graph:
        """The graph, in the process that was given this."""
        for number, file in enumerate(self.plugins):
            _load_plugin(Path(file), number)
        return parse(self.listing, self.arrays)


class Worker:
    """A process of its own that answers requests, one at a time.

    One that takes too long, too much memory, or ends, is replaced by a fresh one.
    """

    def __init__(self, subject: Subject, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._subject = subject
        self._process: Any = None
        self._pipe: Connection | None = None
        self._lock = threading.Lock()

    def start(self) -> None:
        """Starts the process, unless it runs, and gives it the model; raises EOFError, OSError."""
        with self._lock:
            if self._pipe is not None:
                return
            self._pipe, theirs = multiprocessing.Pipe()
            try:
                self._begin(self._pipe, theirs)
            except (EOFError, OSError):
                self.close()
                raise

    def _begin(self, ours: Connection, theirs: Connection) -> None:
        context = multiprocessing.get_context("spawn")
        # the model follows by the pipe: as an argument it would wait for a process that failed
        process = context.Process(target=work, args=(theirs, self.limits), daemon=True)
        process.start()
        self._process = process
        theirs.close()
        self._expect(ours)
        ours.send(self._subject)
        self._expect(ours)

    def _expect(self, pipe: Connection) -> None:
        if not pipe.poll(self.limits.start):
            raise TimeoutError
        pipe.recv()

    def ask(self, request: Request) -> Answer:
        """The answer to a request, within the limits."""
        try:
            self.start()
            assert self._pipe is not None
            self._pipe.send(request)
            if not self._pipe.poll(self.limits.seconds):
                return self._ended(f"stopped: it took more than {self.limits.seconds:g} s")
            answer: Answer = self._pipe.recv()
        except TimeoutError:
            return self._ended(f"the model was not read within {self.limits.start:g} s")
        except (EOFError, OSError):
            return self._ended("the process that made the report ended, probably out of memory")
        if answer.error.startswith(_NO_MEMORY):
            self.close()
        return answer

    def _ended(self, why: str) -> Answer:
        self.close()
        return Answer(error=why)

    def close(self) -> None:
        """Ends the process."""
        process, pipe = self._process, self._pipe
        self._process = self._pipe = None
        if process is not None:
            process.kill()
            process.join()
        if pipe is not None:
            pipe.close()


_NO_MEMORY = "the memory of one request is not enough"


def work(pipe: Connection, limits: Limits) -> None:
    """The process: answers requests until the other end closes the pipe."""
    # the keyboard's interrupt is for the server, which ends this process
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        pipe.send("here")
        reporter = Reporter(pipe.recv().graph(), limits)
        _bound_memory(limits.memory)
        pipe.send("ready")
        while True:
            pipe.send(reporter.answer(pipe.recv()))


class Reporter:
    """Makes the reports of one graph; its layers, which no pass changes, are drawn once."""

    def __init__(self, graph: Graph, limits: Limits | None = None) -> None:
        self._graph = graph
        self._limits = limits or Limits()
        self._layers: dict[str, Any] | None = None

    def answer(self, request: Request) -> Answer:
        """The report, or the line that says why there is none."""
        limits = self._limits
        try:
            found = self._made(request)
        except IrconvError as error:
            return Answer(error=printable(f"error[{error.code}]: {error}", 2000))
        except MemoryError:
            return Answer(error=f"{_NO_MEMORY} ({limits.memory >> 20} MiB)")
        except Exception as error:  # noqa: BLE001 - a defect must not end the session
            kind = type(error).__name__
            return Answer(error=printable(f"error[internal]: {kind}: {error}", 2000))
        if len(found.html) > limits.report:
            return Answer(
                error=f"the report has {len(found.html)} bytes, more than {limits.report}"
            )
        return found

    def _made(self, request: Request) -> Answer:
        shows, notes = request.shows, list[str]()
        traced = trace(self._graph, request.pipeline, numerics=shows.numerics, seed=request.seed)
        steps = tuple(_steps(traced))
        if shows.program or shows.assembly:
            traced = _tried("program", lambda t: t.with_program(request.backend), traced, notes)
        if shows.export:
            traced = _tried("exported graph", lambda t: t.with_export(), traced, notes)
        kernels = {"llvm": shows.assembly, "assembly": shows.assembly}
        told = document(traced, request.command or None, **kernels)
        if shows.layers and self._layers is None:
            self._layers = layer_pages(self._graph)
        told |= {"layers": self._layers if shows.layers else {}}
        return Answer(report(told).encode(), traced.pipeline, steps, tuple(notes))


def _tried(what: str, step: Callable[[Trace], Trace], traced: Trace, notes: list[str]) -> Trace:
    """The trace with one stage more; without it, and a note, where it cannot be made."""
    try:
        return step(traced)
    except (BackendError, BudgetError, ExportError) as error:
        notes.append(f"no {what}: {printable(error, 400)}")
        return traced


def _steps(traced: Trace) -> list[dict[str, Any]]:
    return [
        {
            "pass": p.name,
            "changed": p.stage.changed,
            "matches": p.matches,
            "nodes": [p.before.nodes, p.after.nodes],
            "milliseconds": round(1e3 * p.stage.seconds, 1),
            "failed": p.numerics.failed if p.numerics else None,
        }
        for p in traced.passes
    ]


def _bound_memory(extra: int) -> None:
    """Lets this process take `extra` bytes more than it has now."""
    if not sys.platform.startswith("linux"):
        return
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    bound = pages * resource.getpagesize() + extra
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard == resource.RLIM_INFINITY or bound < hard:
        resource.setrlimit(resource.RLIMIT_AS, (bound, hard))


def _load_plugin(file: Path, number: int) -> None:
    spec = importlib.util.spec_from_file_location(f"irconv_plugin_{number}", file)
    if spec is None or spec.loader is None:
        return
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    register_plugin(module)
