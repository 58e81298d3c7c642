"""Writes a campaign as docs/benchmarks.md: every table, and what made it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from irconv.bench.chart import setting_text, short_name, short_peer
from irconv.bench.measure import PAUSE_SECONDS
from irconv.bench.rows import FASTER, Comparison, Layer, Results, Row
from irconv.bench.worker import OURS
from irconv.errors import printable

REASON = "reason"
SHOWN_LAYERS = 5  # of one model; the JSON has all
PRECISIONS = {
    "strict": "direct products (no Winograd), sums in any order, FMA, batch norm folded",
    "fast": "Winograd too, where its error stays within 2e-6 of the layer's largest sum|x||w|",
}
METHOD = """\
Every time is a median of {runs} timed runs, in ms; in brackets the interquartile range as a part
of the median. All engines run in one process and take turns of five runs; a turn begins with a
pause of {pause} ms and one run that is not timed, so that no engine is slowed by the threads of
another that still spin. Each run of a turn has fresh random inputs, the same for every engine. The
weights of light and zoo models are random and scaled, layer by layer, to unit variance (the data is
looked at below). All engines compute in float32 and read the very same model: where the batch is
changed, the same changed file. A ratio is the other engine's median / ours, so more than 1 means
that ours is faster; ORT is onnxruntime, OV is OpenVINO, and "the faster" is the faster of them,
chosen anew for each model. A result that differs from onnxruntime's by more than 1e-3 of the
largest output fails the benchmark."""
MEMORY = """\
Each engine in a fresh process of its own. *Held* is the memory above the imports, while the model
runs from the cache and with our source graph released; *peak* is the highest it was until then,
the model being read included. *Cold* compiles with an empty cache, *cached* with the cache that
this filled; for the others it is the time to load the file. Imports are not in these times.
{setting}."""
LAYERS = """\
Our steps are timed by a clock that is written between them while the whole network runs; beside
them stands onnxruntime's own profile of the same file. A layer is the smallest set of steps of ours
and of kernels of onnxruntime that computes the same nodes, so that what one of them fuses and the
other does not is compared as a whole. GFLOP/s counts the operations of the direct algorithm, so an
algorithm that needs fewer may pass the peak ({peak}, measured with our micro-kernel on operands
in the first cache). Listed are the layers where ours takes longer than onnxruntime, those that lose
most first, at most {shown} a model."""


def markdown(results: Results, picture: str | None = None) -> str:
    """The whole file. `picture` is the path of the chart as seen from it."""
    parts = [*_head(results), *_summary(results)]
    if picture is not None:
        parts += [f"![Speed of each engine beside the faster of the others]({picture})"]
    for batch, threads in results.settings:
        parts += _setting(results.at(batch, threads), setting_text(batch, threads))
    parts += [*_layers(results), *_memory(results), *_data(results), *_made_by(results)]
    return "\n\n".join(parts) + "\n"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """A Markdown table; numbers, all but the first `left` columns and reasons, to the right."""
    marks = [":--" if i < left or c == REASON else "--:" for i, c in enumerate(columns)]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in (columns, marks, *rows))


def _cell(text: str) -> str:
    return printable(text, 300).replace("|", "\\|") or " "


def _name(text: str) -> str:
    """A name from a model or a path as Markdown that shows it as it is."""
    return f"`{printable(text).replace('`', chr(39))}`"


def _head(results: Results) -> Iterator[str]:
    facts = results.facts
    yield "# Benchmarks"
    yield "Written by `irconv bench`, and not by hand; the command is at the end."
    if not results.complete:
        yield "**The campaign was interrupted: what is here is what was done by then.**"
    loads = [load for c in results.comparisons for load in c.load]
    span = f"{min(loads, default=0):.2f} to {max(loads, default=0):.2f}"
    cpu = facts["cpu"]
    shown = ", ".join(f"{n} {v}" for n, v in facts["versions"].items())
    used = dict.fromkeys(r.precision for c in results.comparisons for r in c.rows if r.precision)
    lines = [
        f"- {facts['date']}, irconv {facts['irconv']}, {shown}",
        f"- {cpu['model']}, {cpu['cores']} cores, {', '.join(cpu['features'])}; load {span}",
        *(f"- precision *{p}*: {PRECISIONS.get(p, '')}" for p in used),
    ]
    yield "\n".join(lines)
    runs = max(
        (len(r.timing.seconds) for c in results.comparisons for r in c.rows if r.timing), default=0
    )
    yield METHOD.format(runs=runs, pause=f"{PAUSE_SECONDS * 1e3:g}")


def _summary(results: Results) -> Iterator[str]:
    found = results.summaries()
    if not found:
        return
    yield "## Summary"
    rows = [
        [
            s.name,
            setting_text(s.batch, s.threads),
            s.against,
            f"**{s.mean:.2f}**" if s.against == FASTER else f"{s.mean:.2f}",
            f"{s.worst:.2f}",
            short_name(s.worst_model),
            str(s.count),
        ]
        for s in found
    ]
    columns = ("ours", "setting", "against", "geometric mean", "worst", "of", "models")
    yield table(columns, rows, left=3)


def _setting(comparisons: Sequence[Comparison], title: str) -> Iterator[str]:
    rows = {r.name: r for c in comparisons for r in c.rows}
    ours = [n for n, r in rows.items() if r.is_ours]
    peers = [n for n, r in rows.items() if not r.is_ours]
    against = [*peers, *([FASTER] if len(peers) > 1 else [])]
    forms = {n: n.removeprefix(f"{OURS} ") for n in ours}
    columns = ["ms", *rows, *(f"{forms[n]} vs {short_peer(p)}" for n in ours for p in against)]
    columns.append("largest difference")
    lines = []
    for comparison in comparisons:
        by_name = {r.name: r for r in comparison.rows}
        cells = [_time(by_name.get(n)) for n in rows]
        cells += [_ratio(by_name.get(n), p) for n in ours for p in against]
        errors = [r.error for r in comparison.rows if r.error is not None]
        lines.append([short_name(comparison.model), *cells, f"{max(errors, default=0):.0e}"])
    yield f"## Times: {title}"
    yield table(columns, lines)
    tuned = [(c.model, r) for c in comparisons for r in c.rows if r.tuned]
    if tuned:
        yield "\n".join(
            f"- {short_name(m)}: {r.name} tuned: {_name(r.passes or '')}" for m, r in tuned
        )
    failed = [(c.model, r) for c in comparisons for r in c.rows if r.failed]
    if failed:
        yield "\n".join(
            f"- {short_name(m)}: {r.name} failed: {_name(r.failed or '')}" for m, r in failed
        )


def _time(row: Row | None) -> str:
    if row is None:
        return ""
    if row.timing is None:
        return "failed"
    return f"{row.timing.median * 1e3:.2f} ({row.timing.spread:.0%})"


def _ratio(row: Row | None, peer: str) -> str:
    if row is None:
        return ""
    ratio = row.ratio if peer == FASTER else row.ratios.get(peer)
    return "" if ratio is None else f"{ratio:.2f}"


def _layers(results: Results) -> Iterator[str]:
    if not any(c.layers for c in results.comparisons):
        return
    peak = ", ".join(
        f"{p:.0f} GFLOP/s with {setting_text(None, t)}" for t, p in results.peak.items()
    )
    yield "## Layers slower than onnxruntime's"
    yield LAYERS.format(peak=peak or "not measured here", shown=SHOWN_LAYERS)
    for batch, threads in results.settings:
        comparisons = results.at(batch, threads)
        for name in dict.fromkeys(n for c in comparisons for n in c.layers):
            yield from _slow_layers(results, comparisons, name, setting_text(batch, threads))


def _slow_layers(
    results: Results, comparisons: Sequence[Comparison], name: str, setting: str
) -> Iterator[str]:
    counts, rows = [], []
    for comparison in comparisons:
        layers = comparison.layers.get(name, ())
        compared = [x for x in layers if x.ratio is not None]
        slower = sorted((x for x in compared if x.is_slower), key=_lost, reverse=True)
        lost = sum(map(_lost, slower)) * 1e3
        model = short_name(comparison.model)
        counts.append([model, str(len(compared)), str(len(slower)), f"{lost:.3f}"])
        peak = results.peak.get(comparison.threads)
        rows += [[model, *layer_cells(x, peak)] for x in slower[:SHOWN_LAYERS]]
    yield f"### {name}, {setting}"
    yield table(("model", "layers compared", "slower", "ms lost in these"), counts)
    if rows:
        yield "<details><summary>The layers</summary>"
        yield table(("model", *LAYER_COLUMNS), rows, left=4)
        yield "</details>"


LAYER_COLUMNS = (
    *("layer", "op", "kernel", "us", "ORT us", "ratio"),
    *("GFLOP/s", "% of peak", REASON),
)


def layer_cells(layer: Layer, peak: float | None) -> list[str]:
    """A layer as texts, in the order of `LAYER_COLUMNS`."""
    rate = layer.gflops
    return [
        layer.name,
        layer.op,
        layer.kernel,
        "" if layer.seconds is None else f"{layer.seconds * 1e6:.1f}",
        "" if layer.peer_seconds is None else f"{layer.peer_seconds * 1e6:.1f}",
        "" if layer.ratio is None else f"{layer.ratio:.2f}",
        "" if rate is None else f"{rate:.1f}",
        "" if rate is None or not peak else f"{rate / peak:.0%}",
        layer.reason,
    ]


def _lost(layer: Layer) -> float:
    return (layer.seconds or 0.0) - (layer.peer_seconds or 0.0)


def _memory(results: Results) -> Iterator[str]:
    found = [(c, r) for c in results.comparisons for r in c.rows if r.cached is not None]
    if not found:
        return
    yield "## Memory and compile time"
    first = found[0][0]
    yield MEMORY.format(setting=setting_text(first.batch, first.threads).capitalize())
    columns = ("model", "engine", "cold s", "cached s", "held MB", "peak MB", "peak, cold, MB")
    yield table(columns, [_memory_cells(c.model, r) for c, r in found], left=2)


def _memory_cells(model: str, row: Row) -> list[str]:
    cold, cached = row.cold, row.cached
    assert cold is not None
    assert cached is not None
    return [
        short_name(model),
        row.name,
        f"{cold.compile_seconds:.2f}",
        f"{cached.compile_seconds:.2f}",
        *(megabytes(b) for b in (cached.resident, cached.peak, cold.peak)),
    ]


def megabytes(count: int | None) -> str:
    """Bytes in MB (10^6), nothing where they are not known."""
    return "" if count is None else f"{count / 1e6:.0f}"


def _data(results: Results) -> Iterator[str]:
    found = {c.model: c.data for c in results.comparisons if c.data is not None}
    if not found:
        return
    yield "## The data"
    yield (
        "Results of the nodes in the float32 interpreter: the smallest and the largest root mean "
        "square of a node, the part of all elements that is zero (a ReLU makes them), denormal "
        "numbers (weights too) and numbers that are not finite."
    )
    columns = ("model", "smallest RMS", "largest RMS", "zeros", "denormals", "not finite")
    rows = [
        [
            short_name(model),
            f"{d.low:.2g}",
            f"{d.high:.2g}",
            f"{d.zeros:.0%}",
            str(d.denormals),
            str(d.not_finite),
        ]
        for model, d in found.items()
    ]
    yield table(columns, rows)


def _made_by(results: Results) -> Iterator[str]:
    yield "## The command"
    yield f"```\n{printable(results.facts['command'], 2000)}\n```"
