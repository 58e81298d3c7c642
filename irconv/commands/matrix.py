"""`irconv matrix`: the matrix of each convolution in numbers."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from irconv.analysis.layer_matrix import LayerMatrix, has_matrix
from irconv.analysis.report import CROSSBARS, MatrixReport, matrix_report
from irconv.analysis.spectral_norm import ITERATIONS
from irconv.commands import console
from irconv.commands.options import Batch, Json, Model, RandomWeights, Seed, read_model
from irconv.errors import UsageError, printable
from irconv.graph import Graph, Node
from irconv.pipeline import lower
from irconv.registry import nearest

_SIZE = re.compile(r"(\d{1,9})x(\d{1,9})")
# multiply-adds of a norm's steps from which on it takes seconds
LONG = 10**9


def matrix(
    model: Model,
    node: Annotated[
        list[str] | None,
        typer.Option("--node", "-n", metavar="NAME", help="A layer; default: a table of all."),
    ] = None,
    pipeline: Annotated[
        str, typer.Option("--pipeline", "-p", help="The passes to run first, as text.")
    ] = "",
    crossbar: Annotated[
        list[str] | None,
        typer.Option(metavar="ROWSxCOLUMNS", help="An array size; may be given several times."),
    ] = None,
    norm: Annotated[
        bool | None,
        typer.Option(help="Spectral norm, rank, adjoint test; default: where --node names layers."),
    ] = None,
    iterations: Annotated[
        int, typer.Option(min=1, help="The most steps that a spectral norm takes.")
    ] = ITERATIONS,
    batch: Batch = None,
    random_weights: RandomWeights = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Tell the matrix of each convolution: zeros, sharing, diagonals, crossbar tiles, norm, rank.

    The matrix is not built: what is counted comes from index arithmetic and is exact.
    """
    sizes = [_size(t) for t in crossbar] if crossbar else CROSSBARS[: None if node else 1]
    graph = lower(read_model(model, batch, random_weights), pipeline)
    chosen = _chosen(graph, node)
    wanted = norm if norm is not None else bool(node)
    watched = console.watched("measuring" if wanted else "counting", chosen)
    found = []
    for n in watched:
        if wanted:
            _foretell(n, iterations)
        found.append(
            matrix_report(n, crossbars=sizes, norm=wanted, iterations=iterations, seed=seed)
        )
    if json:
        console.result_json([r.to_json() for r in found])
    elif node:
        console.result("\n\n".join(str(r) for r in found))
    else:
        _table(found, wanted)


def _foretell(node: Node, iterations: int) -> None:
    """Says before a long norm what takes so long; each step is two products with the matrix."""
    layer = LayerMatrix.of(node)
    is_iterated = layer.weights is not None and layer.geometry.taps > 1
    if is_iterated and 2 * iterations * layer.geometry.nnz > LONG:
        console.note(
            f"%{printable(node.name)}: the norm of a matrix of {layer.rows} x {layer.columns} "
            f"takes up to {iterations} steps, a minute perhaps (--no-norm leaves it out)"
        )


def _size(text: str) -> tuple[int, int]:
    match = _SIZE.fullmatch(text)
    if match is None or not int(match[1]) or not int(match[2]):
        raise UsageError("wrong --crossbar", expected="a size such as 128x128", got=printable(text))
    return int(match[1]), int(match[2])


def _chosen(graph: Graph, names: list[str] | None) -> list[Node]:
    layers = {n.name: n for n in graph if has_matrix(n)}
    if not names:
        if not layers:
            raise UsageError("no convolution in this model", got=printable(graph.name))
        return list(layers.values())
    for name in names:
        if name not in graph:
            raise UsageError(
                "no such node", got=printable(name), hint=nearest(name, list(layers)[:50])
            )
    return [graph.node(name) for name in names]


def _table(reports: list[MatrixReport], norm: bool) -> None:
    """One line a layer, as wide as it has to be: numbers that are folded cannot be read."""
    head = ["layer", "op", "rows", "columns", "density", "weights", "places", "diagonals"]
    for c in reports[0].crossbars:
        head += [f"tiles {c.rows}x{c.columns}", "use"]
    head += ["norm", "rank"] if norm else []
    lines = [head, *([*_cells(r), *_norm(r, norm)] for r in reports)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        left = [text.ljust(width) for text, width in zip(line[:2], widths[:2], strict=True)]
        right = [text.rjust(width) for text, width in zip(line[2:], widths[2:], strict=True)]
        console.result("  ".join([*left, *right]))
    console.result(
        "\nRows are output elements, columns input elements; a weight stands at most at so many\n"
        "places. irconv matrix MODEL --node LAYER tells all that there is about one layer."
    )


def _cells(r: MatrixReport) -> list[str]:
    tiles = (text for c in r.crossbars for text in (str(c.tiles), f"{c.use:.1%}"))
    return [
        printable(r.node, 40), r.op, str(r.rows), str(r.columns), f"{r.density:.2g}",
        str(r.free_weights), str(r.places[1]), str(r.diagonals.count) if r.diagonals else "?",
        *tiles,
    ]  # fmt: skip


def _norm(report: MatrixReport, wanted: bool) -> list[str]:
    if not wanted:
        return []
    value = f"{report.spectral_norm.value:.4g}" if report.spectral_norm else "?"
    return [value, str(report.rank) if report.rank is not None else "?"]
