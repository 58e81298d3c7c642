"""The files that `irconv opt` writes for other people's viewers: DOT and Model Explorer's JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from irconv.commands import console
from irconv.errors import UsageError, printable
from irconv.inspector.trace import Trace
from irconv.interop.dot import to_dot
from irconv.interop.model_explorer import model_explorer

Dot = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Write the result for Graphviz; - for stdout."),
]
ModelExplorer = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Write every stage for Model Explorer (.json)."),
]


@dataclass(frozen=True)
class ViewerFiles:
    """Where the graph goes in each form; None where it was not asked for."""

    dot: str | None
    model_explorer: str | None

    @property
    def any(self) -> bool:
        return self.dot is not None or self.model_explorer is not None

    @property
    def to_stdout(self) -> bool:
        return "-" in (self.dot, self.model_explorer)

    def check(self) -> None:
        """Raises UsageError before any work where two things would go to stdout."""
        if self.dot == self.model_explorer == "-":
            raise UsageError("only one of --dot and --model-explorer can go to stdout")
        if self.model_explorer not in (None, "-") and Path(self.model_explorer).suffix != ".json":
            raise UsageError(
                "wrong --model-explorer",
                expected="a name that ends in .json: Model Explorer chooses its reader by it",
                got=printable(self.model_explorer),
            )

    def write(self, traced: Trace) -> None:
        """Writes what was asked for."""
        if self.dot is not None:
            _put(self.dot, to_dot(traced.result))
        if self.model_explorer is not None:
            _put(self.model_explorer, json.dumps(model_explorer(traced), indent=1) + "\n")


def _put(file: str, text: str) -> None:
    if file == "-":
        console.result(text.rstrip("\n"))
        return
    Path(file).write_text(text, encoding="utf-8")
    console.note(f"wrote {printable(file)}")
