"""The table of passes, as a terminal shows it."""

from __future__ import annotations

import textwrap
from io import StringIO
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from irconv.errors import printable
from irconv.inspector.numerics import Numerics

if TYPE_CHECKING:
    from irconv.inspector.trace import Trace, TracedPass

_NO_BREAK = "\N{NO-BREAK SPACE}"


def pass_table(trace: Trace) -> Table:
    """One row a pass: changed, matches, nodes, error, multiply-adds and bytes, time."""
    numbers = any(p.numerics for p in trace.passes)
    table = Table(box=None, pad_edge=False, collapse_padding=True, header_style="bold")
    table.add_column("pass", overflow="fold")
    table.add_column("changed")
    for column in ("matches", "nodes"):
        table.add_column(column, justify="right")
    if numbers:
        table.add_column("error", justify="right")
    for column in ("Mmac", "MB", "ms"):
        table.add_column(column, justify="right")
    for traced in trace.passes:
        table.add_row(*_row(traced, numbers), style=None if traced.stage.changed else "dim")
    return table


def table_text(trace: Trace) -> str:
    """The table of passes as plain text, and below it the ops that went and came."""
    page = StringIO()
    # plain also in a notebook, which would show it instead
    wide = Console(file=page, width=4000, color_system=None, force_jupyter=False, markup=False)
    wide.print(pass_table(trace))
    rows = [line.rstrip() for line in page.getvalue().split("\n")]
    return "\n".join([*rows, *delta_lines(trace)]).rstrip()


def _row(traced: TracedPass, numbers: bool) -> list[Text]:
    before, after = traced.before, traced.after
    cells = [
        traced.name,
        "yes" if traced.stage.changed else "no",
        str(traced.matches),
        _change(str(before.nodes), str(after.nodes)),
    ]
    cells += [error_text(traced.numerics)] if numbers else []
    cells += [
        _change(f"{before.macs / 1e6:.2f}", f"{after.macs / 1e6:.2f}"),
        _change(f"{before.bytes / 1e6:.2f}", f"{after.bytes / 1e6:.2f}"),
        f"{traced.stage.seconds * 1e3:.1f}",
    ]
    return [Text(printable(cell)) for cell in cells]


def _change(before: str, after: str) -> str:
    return before if before == after else f"{before}->{after}"


def error_text(numerics: Numerics | None) -> str:
    """`exact` where bit-equality was shown, else the error to one digit; `void` where the outputs
    hardly depend on the input.
    """
    if numerics is None:
        return ""
    exact = numerics.exact
    if exact is not None and not exact.void:
        return "exact" if exact.holds else "NOT EXACT"
    if numerics.void:
        return "void"
    return f"{numerics.error:.0e}" if numerics.error else "0"


def delta_lines(trace: Trace, width: int = 80) -> list[str]:
    """Which ops went and came with each pass that changed something; lines of at most `width`."""
    lines = []
    for traced in trace.passes:
        changes = sorted(traced.delta.items(), key=lambda item: item[1])
        # the space inside an entry is none to break a line at
        entries = [f"{count:+d}{_NO_BREAK}{printable(name)}" for name, count in changes]
        if traced.stage.changed:
            text = f"{traced.name}: " + ("  ".join(entries) or "the same ops")
            lines += textwrap.wrap(text, width, subsequent_indent="  ", break_on_hyphens=False)
    return [line.replace(_NO_BREAK, " ") for line in lines]


def time_lines(trace: Trace) -> list[str]:
    """The seconds of each pass (with its verification) and their share, the slowest first."""
    total = sum(p.stage.seconds for p in trace.passes)
    rows = sorted(trace.passes, key=lambda p: -p.stage.seconds)
    shares = [f"{p.stage.seconds / total:6.1%}" if total else "     -" for p in rows]
    lines = [
        f"{p.stage.seconds:9.4f} s {share}  {p.name}" for p, share in zip(rows, shares, strict=True)
    ]
    return [*lines, f"{total:9.4f} s 100.0%  all passes"]
