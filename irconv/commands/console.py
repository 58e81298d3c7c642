"""What commands print with: results on stdout, the rest on stderr, plain text where it is piped."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from irconv.errors import NAME_LIMIT, printable

T = TypeVar("T")

WIDE = 4000  # columns where nobody looks: a row is a line there

_state = {"quiet": False}


def configure(quiet: bool) -> None:
    """Sets what this call of the command line shows beside its result."""
    _state["quiet"] = quiet


def _console(stderr: bool = False) -> Console:
    # made for each use: colours and width depend on where the stream goes now
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else WIDE
    return Console(stderr=stderr, width=width, highlight=False, markup=False, emoji=False)


def result(text: str) -> None:
    """A line or more of plain text, on stdout."""
    sys.stdout.write(f"{text}\n")


def show(thing: RenderableType) -> None:
    """A table, or text with styles, on stdout."""
    _print(_console(), thing)


def _print(console: Console, thing: RenderableType) -> None:
    with console.capture() as shown:
        console.print(thing)
    # rich fills each line up to the longest
    console.file.write("\n".join(line.rstrip() for line in shown.get().split("\n")))


def result_json(data: Any) -> None:
    """A result for programs, on stdout."""
    result(json_text(data))


def json_text(data: Any) -> str:
    """A result as JSON that every reader takes: infinity and NaN are text."""
    return json.dumps(_plain(data), indent=2, allow_nan=False)


def _plain(data: Any) -> Any:
    """`data` in the types that JSON has; infinity and NaN, which it has not, as text."""
    match data:
        case dict():
            return {str(key): _plain(value) for key, value in data.items()}
        case list() | tuple():
            return [_plain(value) for value in data]
        case float():
            return data if math.isfinite(data) else str(data)
        case None | bool() | int() | str():
            return data
    return str(data)


def note(text: str) -> None:
    """Progress, on stderr; nothing with --quiet."""
    if not _state["quiet"]:
        sys.stderr.write(f"{text}\n")


def complain(text: str) -> None:
    """An error, on stderr, also with --quiet."""
    sys.stderr.write(f"{text}\n")


def show_beside(thing: RenderableType) -> None:
    """A table on stderr, where stdout holds a result that a program reads."""
    _print(_console(stderr=True), thing)


def name(text: object, limit: int = NAME_LIMIT) -> Text:
    """A name or sentence that is not ours, safe for a terminal; a longer one is shortened."""
    return Text(printable(text, limit))


def table(*columns: str, right: Iterable[str] = (), title: str | None = None) -> Table:
    """An empty table; the columns in `right` are aligned to the right."""
    found = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    aligned = set(right)
    for column in columns:
        justify: Any = "right" if column in aligned else "left"
        found.add_column(column, justify=justify, overflow="fold", header_style="bold")
    return found


@contextmanager
def progress(what: str, total: int) -> Iterator[Progress]:
    """A progress bar on stderr; shown only on a terminal, and not with --quiet."""
    console = _console(stderr=True)
    hidden = _state["quiet"] or not console.is_terminal
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True, disable=hidden) as bar:
        bar.add_task(what, total=total)
        yield bar


def watched(what: str, items: list[T]) -> Iterator[T]:
    """The items, with a progress bar."""
    with progress(what, len(items)) as bar:
        for item in items:
            yield item
            bar.advance(bar.task_ids[0])
