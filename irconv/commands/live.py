"""What `irconv inspect --serve` does: the report in a browser, its pipeline edited in the page."""

from __future__ import annotations

import contextlib
import shlex
import sys
import threading
from dataclasses import dataclass
from typing import Annotated

import typer

from irconv.commands import console
from irconv.commands.options import batch_size
from irconv.errors import UsageError, printable
from irconv.graph import Graph
from irconv.inspector.live.server import LiveServer
from irconv.inspector.live.session import Session, Texts
from irconv.inspector.live.worker import Limits, Shows, Subject, Worker
from irconv.registry import plugin_files

TEXT_LIMIT = 4000
# the system's waits and limits know no infinity
DAY = 86_400
TEBIBYTES = 1 << 24

Serve = Annotated[
    bool,
    typer.Option("--serve", help="Edit the pipeline in a browser, on this machine only."),
]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Of --serve; 0: any that is free.")]
TimeLimit = Annotated[
    float,
    typer.Option("--time-limit", min=1, max=DAY, help="Of --serve: seconds for each report."),
]
MemoryLimit = Annotated[
    int,
    typer.Option("--memory-limit", min=64, max=TEBIBYTES, help="Of --serve: MiB for each report."),
]


@dataclass(frozen=True)
class Words:
    """The command line that a session came from, to be told again with other passes."""

    model: str
    batch: str | None
    random_weights: int | None
    seed: int
    backend: str = "numba_cpu"

    def command(self, pipeline: str, shows: Shows) -> str:
        """The command that writes the same report to a file."""
        words = ["irconv", "inspect", self.model, "-p", pipeline]
        words += ["--numerics", "--seed", str(self.seed)] if shows.numerics else []
        words += [] if shows.program or shows.assembly else ["--no-program"]
        words += [] if shows.export else ["--no-export"]
        words += ["--with-llvm", "--with-asm"] if shows.assembly else []
        words += ["--backend", self.backend] if self.backend != "numba_cpu" else []
        words += ["--batch", self.batch] if self.batch is not None else []
        if self.random_weights is not None:
            words += ["--random-weights", str(self.random_weights)]
        return printable(shlex.join([*words, "-o", "report.html"]), TEXT_LIMIT)

    def python(self, pipeline: str, shows: Shows) -> str:
        """The same in Python."""
        given = [repr(self.model)]
        size = batch_size(self.batch)
        given += [f"batch={size!r}"] if size is not None else []
        if self.random_weights is not None:
            given.append(f"random_weights={self.random_weights}")
        checked = f", numerics=True, seed={self.seed}" if shows.numerics else ""
        checked += f", backend={self.backend!r}" if shows.program or shows.assembly else ""
        checked += ", export=True" if shows.export else ""
        return "\n".join(
            [
                "import irconv as ic",
                "from irconv.models import resolve_model",
                "",
                f"graph = resolve_model({', '.join(given)})",
                f"lowered = ic.lower(graph, {pipeline!r})",
                f'ic.trace(graph, {pipeline!r}{checked}).save_html("report.html")',
            ]
        )


def serve(
    graph: Graph,
    pipeline: str,
    words: Words,
    *,
    shows: Shows | None = None,
    port: int = 0,
    limits: Limits | None = None,
) -> None:
    """Serves until the keyboard interrupts; the address goes to stdout."""
    worker = Worker(Subject.of(graph, [str(file) for file in plugin_files()]), limits)
    texts = Texts(words.command, words.python)
    session = Session(
        worker, graph.name, pipeline, texts, shows=shows, seed=words.seed, backend=words.backend
    )
    with _server(session, port) as server:
        threading.Thread(target=_warm, args=(worker,), daemon=True).start()
        console.result(server.url)
        sys.stdout.flush()
        console.note("open this address in a browser on this machine; Ctrl-C ends it")
        server.serve_forever()


def _warm(worker: Worker) -> None:
    """Reads the model before it is asked for; what fails then is told with the first report."""
    with contextlib.suppress(EOFError, OSError):
        worker.start()


def _server(session: Session, port: int) -> LiveServer:
    try:
        return LiveServer(session, port)
    except OSError as error:
        raise UsageError(
            f"port {port} cannot be used: {error.strerror}", hint="--port 0 takes any that is free"
        ) from error
