"""`irconv bench --forms`: the forms of one layer beside each other, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from irconv.bench.forms import LAYERS, Form, chosen_layers, forms_of
from irconv.bench.markdown import table
from irconv.commands import console
from irconv.errors import UsageError, printable

COLUMNS = (
    "layer",
    "form",
    "kernels",
    "threads",
    "ms",
    "GFLOP/s",
    "% of peak",
    "MB",
    "GB/s",
    "% of bandwidth",
    "% of bound",
    "% of direct",
)
LEFT = 3  # columns of words


def bench_forms(
    names: Sequence[str],
    backend: str,
    threads: Sequence[int],
    turns: int,
    facts: dict[str, Any],
    json: str | None,
    page: Path | None,
) -> None:
    """Measures the forms of the named layers, prints a table, and writes it where asked."""
    layers, found = chosen_layers(names), list[Form]()
    for file in (Path(json) if json and json != "-" else None, page):
        if file is not None and not file.absolute().parent.is_dir():
            raise UsageError("no such folder", got=printable(file.parent))
    for name in layers:
        for count in threads:
            found += forms_of(name, backend, count, turns, console.note)
    data = {"facts": facts, "forms": [form.to_json() for form in found]}
    if json == "-":
        console.result_json(data)
    else:
        _show(found, facts)
    if json is not None and json != "-":
        _put(Path(json), console.json_text(data) + "\n")
    if page is not None:
        _put(page, _page(found, facts))


def _show(found: Sequence[Form], facts: dict[str, Any]) -> None:
    right = ("threads", "ms", "GFLOP/s", "peak", "GB/s", "memory", "bound", "direct")
    shown = console.table("layer", "form", *right, right=right)
    for place in (0, 1):
        shown.columns[place].no_wrap = True
    for form in found:
        _, name, _, *numbers = cells(form)
        del numbers[4]  # the bytes
        shown.add_row(*map(console.name, (form.layer, name, *numbers)))
    console.show(shown)
    console.result(_machine(found, facts))


def cells(form: Form) -> list[str]:
    """A row of the table. What comes from a cache has no share of the memory's bandwidth."""
    rate, per_byte = form.flops / form.seconds, form.nbytes / form.seconds
    from_memory = form.comes_from_memory
    return [
        str(LAYERS[form.layer]),
        form.form,
        form.kernels,
        str(form.threads),
        f"{form.seconds * 1e3:.3f}",
        f"{rate / 1e9:.1f}",
        f"{rate / form.peak:.0%}",
        f"{form.nbytes / 1e6:.1f}",
        f"{per_byte / 1e9:.1f}" if from_memory else "",
        f"{per_byte / form.bandwidth:.0%}" if from_memory else "",
        f"{form.share:.0%}",
        "" if form.of_direct is None else f"{form.of_direct:.0%}",
    ]


def _machine(found: Sequence[Form], facts: dict[str, Any]) -> str:
    versions = ", ".join(f"{n} {v}" for n, v in facts["versions"].items())
    limits = []
    for threads in dict.fromkeys(form.threads for form in found):
        some = [form for form in found if form.threads == threads]
        peaks = [form.peak / 1e9 for form in some]
        reads = [form.bandwidth / 1e9 for form in some]
        limits.append(
            f"{threads} thread{'s' if threads > 1 else ''}: peak {min(peaks):.0f} to "
            f"{max(peaks):.0f} GFLOP/s, reads {min(reads):.1f} to {max(reads):.1f} GB/s"
        )
    return (
        f"{facts['date']}, irconv {facts['irconv']}, {versions}\n"
        f"{facts['cpu']['model']}, {facts['cpu']['cores']} cores; {'; '.join(limits)}"
    )


def _page(found: Sequence[Form], facts: dict[str, Any]) -> str:
    machine = _machine(found, facts).replace("\n", "\n- ")
    rows = table(COLUMNS, [cells(form) for form in found], LEFT)
    return f"{rows}\n\n- {machine}\n- `{facts['command']}`\n"


def _put(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")
    console.note(f"wrote {printable(file)}")
