"""What a backend is: it turns a graph of known sizes into a program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, TypeAlias

from irconv.errors import BackendError, printable
from irconv.graph import Graph
from irconv.registry import backend_class, backends, nearest
from irconv.report import Report
from irconv.types import Array

Precision: TypeAlias = Literal["strict", "fast"]


@dataclass(frozen=True)
class Options:
    """How to compile: the precision class, threads, whether to measure alternatives."""

    precision: Precision = "fast"
    threads: int = 1
    tune: bool = False


class Program(Protocol):
    """A compiled graph. It may be called by several threads at once; outputs are fresh arrays.

    It may also have the method of `profiling.Profiled`: the time of each step, for `irconv bench`.
    """

    @property
    def report(self) -> Report: ...

    @property
    def source(self) -> str:
        """The emitted program, for people."""
        ...

    def __call__(self, arrays: Sequence[Array]) -> list[Array]:
        """Runs on arrays that were checked: in the graph's order, of the declared types,
        C-contiguous.
        """
        ...


class Backend(Protocol):
    """A folder in `backends/` with a class of this kind, called as the folder is.

    It may also have the methods of `profiling.MeasuresPeak` and `MeasuresBandwidth`: the limits of
    the machine, and that of `profiling.Tunes`: its choices can be measured.
    """

    name: ClassVar[str]
    default_pipeline: ClassVar[str]
    # where the default depends on precision and threads, a backend also has
    # `pipeline_for(options: Options) -> str`; `default_pipeline` is then that of `Options()`

    def unavailable(self) -> str | None:
        """Why this backend cannot run here (what is missing), or None."""
        ...

    def compile(self, graph: Graph, options: Options, pipeline: str) -> Program:
        """The program of a graph that was lowered by `pipeline` already and whose sizes are all
        known.
        """
        ...


def default_pipeline(backend: Backend, options: Options) -> str:
    """The text of the pipeline that `backend` runs first where none is given."""
    chosen = getattr(backend, "pipeline_for", None)
    return backend.default_pipeline if chosen is None else str(chosen(options))


def find_backend(name: str) -> Backend:
    """The backend called `name`, if it can run here; raises BackendError."""
    found = backend_class(name)
    if found is None:
        raise BackendError(
            f"unknown backend {printable(name)}", hint=nearest(name, list(backends()))
        )
    backend: Backend = found()
    missing = backend.unavailable()
    if missing is not None:
        raise BackendError(f"backend {name} cannot run here", got=missing)
    return backend
