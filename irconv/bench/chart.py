"""Draws a campaign as an SVG: how fast each engine is, for every model, beside the faster peer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from irconv.bench.rows import FASTER, Comparison, Results, Row
from irconv.errors import printable

WIDTH, LEFT, RIGHT = 860, 150, 86
BAR, GAP, MODEL_GAP, HEAD = 11, 2, 12, 58
# Okabe and Ito's colours, told apart by colour-blind readers, and by lightness in print
OURS, PEERS = ("#0072b2", "#56b4e9", "#009e73", "#004b75"), ("#e69f00", "#cc79a7", "#8c959f")
STYLE = """
  .paper { fill: #ffffff } text { font: 12px sans-serif; fill: #1f2328 }
  .title { font-size: 14px; font-weight: bold } .name { text-anchor: end }
  .value { font-size: 10px; fill: #59636e; stroke: #ffffff; stroke-width: 3px; paint-order: stroke }
  .tick { font-size: 10px; text-anchor: middle }
  .grid { stroke: #d1d9e0 } .one { stroke: #1f2328; stroke-dasharray: 3 3 }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #0d1117 } text { fill: #e6edf3 } .value { fill: #9198a1; stroke: #0d1117 }
    .grid { stroke: #3d444d } .one { stroke: #e6edf3 }
  }
"""


def chart(results: Results) -> str:
    """The whole SVG file: one panel for each batch and number of threads."""
    names = _row_names(results)
    panels: list[str] = []
    top = 8
    for batch, threads in results.settings:
        comparisons = results.at(batch, threads)
        panels += _panel(comparisons, names, setting_text(batch, threads), top)
        top += _height(comparisons)
    size = f'viewBox="0 0 {WIDTH} {top}" width="{WIDTH}" height="{top}"'
    about = "Speed of each engine relative to the faster of the others, model by model"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
        f"<title>{about}</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="paper" width="{WIDTH}" height="{top}" rx="6"/>',
        *panels,
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def setting_text(batch: int | None, threads: int) -> str:
    """`batch 8, 2 threads`."""
    count = f"{threads} thread{'s' if threads > 1 else ''}"
    return count if batch is None else f"batch {batch}, {count}"


SHORT = {"onnxruntime": "ORT", "openvino": "OV", FASTER: "faster"}


def short_peer(name: str) -> str:
    """`ORT` for onnxruntime: a peer in the head of a narrow column."""
    return SHORT.get(name, name)


def _row_names(results: Results) -> dict[str, str]:
    """Name of a row -> its colour, ours first."""
    rows = {r.name: r for c in results.comparisons for r in c.rows}
    ours = [n for n, r in rows.items() if r.is_ours]
    peers = [n for n, r in rows.items() if not r.is_ours]
    colours = {n: OURS[i % len(OURS)] for i, n in enumerate(ours)}
    return colours | {n: PEERS[i % len(PEERS)] for i, n in enumerate(peers)}


def _timed(comparison: Comparison) -> list[Row]:
    return [r for r in comparison.rows if r.timing is not None]


def _height(comparisons: Sequence[Comparison]) -> int:
    bars = sum(len(_timed(c)) for c in comparisons)
    return HEAD + bars * (BAR + GAP) + len(comparisons) * MODEL_GAP + 34


def _reference(comparison: Comparison) -> float:
    """The median that is 1: the faster peer's, or our best where there is no peer."""
    timed = _timed(comparison)
    medians = [r.timing.median for r in timed if r.timing and not r.is_ours]
    return min(medians or [r.timing.median for r in timed if r.timing] or [1.0])


def _panel(
    comparisons: Sequence[Comparison], colours: dict[str, str], title: str, top: int
) -> Iterator[str]:
    speeds = [_reference(c) / r.timing.median for c in comparisons for r in _timed(c) if r.timing]
    step = 0.25 if max(speeds, default=1.0) <= 2 else 1.0
    limit = max(1.25, -(-max(speeds, default=1.0) // step) * step)
    scale = (WIDTH - LEFT - RIGHT) / limit
    bottom = top + _height(comparisons) - 26
    yield _text(16, top + 20, f"Speed, the faster peer = 1 ({title})", "title")
    x = float(LEFT)
    for name, colour in colours.items():
        yield _rect(x, top + 30, 10, 10, colour)
        yield _text(x + 14, top + 39, name)
        x += 34 + 7 * len(name)
    for i in range(round(limit / step) + 1):
        x = LEFT + i * step * scale
        kind = "one" if i * step == 1 else "grid"
        yield f'<line class="{kind}" x1="{x:g}" x2="{x:g}" y1="{top + HEAD - 8}" y2="{bottom}"/>'
        yield _text(x, bottom + 14, f"{i * step:g}", "tick")
    y = top + HEAD
    for comparison in comparisons:
        rows = _timed(comparison)
        middle = y + len(rows) * (BAR + GAP) / 2 + 4
        yield _text(LEFT - 8, middle, printable(short_name(comparison.model), 22), "name")
        for row in rows:
            yield from _bar(row, _reference(comparison), scale, y, colours[row.name])
            y += BAR + GAP
        y += MODEL_GAP


def _bar(row: Row, reference: float, scale: float, y: int, colour: str) -> Iterator[str]:
    assert row.timing is not None
    width = reference / row.timing.median * scale
    yield _rect(LEFT, y, width, BAR, colour)
    yield _text(LEFT + width + 4, y + BAR - 2, _milliseconds(row.timing.median), "value")


def _milliseconds(seconds: float) -> str:
    ms = seconds * 1e3
    return f"{ms:.3g} ms" if ms < 999.5 else f"{ms:.0f} ms"


def short_name(model: str) -> str:
    """`light:vgg19` as `vgg19`, `zoo:` kept, a path as its file's name."""
    return model.removeprefix("light:").replace("\\", "/").rpartition("/")[2]


def _rect(x: float, y: float, width: float, height: float, colour: str) -> str:
    return f'<rect x="{x:g}" y="{y:g}" width="{width:.1f}" height="{height:g}" fill="{colour}"/>'


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    attribute = f' class="{kind}"' if kind else ""
    return f'<text{attribute} x="{x:g}" y="{y:g}">{escape(text)}</text>'
