"""What `irconv bench` prints: a table for each model, its layers, and the summary."""

from __future__ import annotations

from rich.table import Table

from irconv.bench.chart import setting_text, short_name, short_peer
from irconv.bench.markdown import LAYER_COLUMNS, layer_cells, megabytes
from irconv.bench.rows import FASTER, Comparison, Layer, Results, Row
from irconv.commands import console
from irconv.errors import printable


def print_comparison(comparison: Comparison, peak: float | None) -> None:
    """One model with one setting, and its layers where they were timed."""
    shapes = ", ".join(f"{n} {t}" for n, t in comparison.inputs.items())
    setting = setting_text(comparison.batch, comparison.threads)
    model = printable(comparison.model)
    console.result(f"{model}, {setting}  ({printable(shapes, 400)})")
    console.show(_engines(comparison))
    for row in comparison.rows:
        if row.failed:
            console.result(f"{row.name} failed: {printable(row.failed, 400)}")
        elif row.tuned:
            console.result(f"{row.name} tuned: {row.passes}")
    for name, layers in comparison.layers.items():
        console.show(_layers(f"{name}, layers", layers, peak))
        slower = sum(layer.is_slower for layer in layers)
        compared = sum(layer.ratio is not None for layer in layers)
        console.result(f"{slower} of {compared} layers are slower than onnxruntime's (marked <)")
    console.result("")


def _engines(comparison: Comparison) -> Table:
    peers = [r.name for r in comparison.rows if not r.is_ours]
    ratios = [f"vs {short_peer(p)}" for p in peers]
    right = ("median ms", "IQR", *ratios, "diff", "cold s", "cached s", "MB", "peak MB")
    table = console.table("engine", *right, right=right)
    table.columns[0].no_wrap = True
    for row in comparison.rows:
        table.add_row(console.name(row.name), *_cells(row, peers))
    return table


def _cells(row: Row, peers: list[str]) -> list[str]:
    cold, cached, timing = row.cold, row.cached, row.timing
    return [
        "failed" if timing is None else f"{timing.median * 1e3:.2f}",
        "" if timing is None else f"{timing.spread:.0%}",
        *(f"{row.ratios[p]:.2f}x" if p in row.ratios else "" for p in peers),
        "" if row.error is None else f"{row.error:.0e}",
        "" if cold is None else f"{cold.compile_seconds:.2f}",
        "" if cached is None else f"{cached.compile_seconds:.2f}",
        megabytes(cached.resident if cached else None),
        megabytes(cold.peak if cold else None),
    ]


def _layers(title: str, layers: tuple[Layer, ...], peak: float | None) -> Table:
    """All columns but the op, which the kernel tells nearly as well."""
    name, _, *rest = LAYER_COLUMNS
    table = console.table("", name, *rest, right=rest[1:-1], title=title)
    table.columns[2].no_wrap = True  # the kernel
    for layer in layers:
        first, _, *others = (console.name(cell, 200) for cell in layer_cells(layer, peak))
        table.add_row("<" if layer.is_slower else "", first, *others)
    return table


def print_summary(results: Results) -> None:
    """Means over the models, and what the figures were measured with."""
    summaries = [s for s in results.summaries() if s.count > 1]
    if summaries:
        right = ("mean", "worst", "models")
        table = console.table("ours", "setting", "against", *right, "worst of", right=right)
        for place in (0, 1):
            table.columns[place].no_wrap = True
        for s in summaries:
            setting = setting_text(s.batch, s.threads)
            numbers = (f"{s.mean:.2f}x", f"{s.worst:.2f}x", str(s.count))
            style = "bold" if s.against == FASTER else None
            names = (s.name, setting, short_peer(s.against))
            worst = console.name(short_name(s.worst_model))
            table.add_row(*names, *numbers, worst, style=style)
        console.show(table)
    facts, loads = results.facts, [x for c in results.comparisons for x in c.load]
    shown = ", ".join(f"{n} {v}" for n, v in facts["versions"].items())
    peak = "".join(
        f", peak {p:.0f} GFLOP/s with {setting_text(None, t)}" for t, p in results.peak.items()
    )
    console.result(
        f"{facts['date']}, irconv {facts['irconv']}, {shown}\n{facts['cpu']['model']}, "
        f"{facts['cpu']['cores']} cores{peak}, "
        f"load {min(loads, default=0):.2f} to {max(loads, default=0):.2f}"
    )
