"""The pages of the convolutions: their matrices in numbers, and some of them as pictures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain, zip_longest
from typing import Any

from irconv.analysis.layer_matrix import has_matrix
from irconv.analysis.report import MatrixReport, matrix_report
from irconv.errors import BudgetError, UsageError, printable
from irconv.graph import Graph, Node
from irconv.inspector.lines import shown_name
from irconv.registry import nearest
from irconv.views.equations import equation
from irconv.views.filters import filters
from irconv.views.formula import compact_equation
from irconv.views.matrices import matrix
from irconv.views.networks import dense_network, locally_connected, network
from irconv.views.sliding import image_and_filter
from irconv.views.picture import Picture
from irconv.views.receptive_field import receptive_field

# so many layers are drawn where nobody says which: the first of each kind, then the second, ...
DRAWN = 10
# a norm of a matrix up to this size is quick
NORM_BELOW = 1 << 22

VIEWS: Mapping[str, Callable[[Node], Picture]] = {
    "matrix": matrix,
    "network": network,
    "dense_network": dense_network,
    "image_and_filter": image_and_filter,
    "equation": equation,
    "compact_equation": compact_equation,
    "receptive_field": receptive_field,
    "filters": filters,
    "locally_connected": locally_connected,
}


def layer_pages(graph: Graph, names: Sequence[str] | None = None) -> dict[str, Any]:
    """The `layers` of a document, by the id of the node: every convolution with its facts.

    `names`: the layers that are drawn, every one with "all"; by default ten of different kinds.
    UsageError where a name is not that of a convolution.
    """
    nodes = [n for n in graph if has_matrix(n)]
    drawn = set(_chosen(nodes, names))
    return {str(n.uid): _page(n, n in drawn) for n in nodes}


def _chosen(nodes: Sequence[Node], names: Sequence[str] | None) -> Iterable[Node]:
    if names is None:
        kinds: defaultdict[Any, list[Node]] = defaultdict(list)
        for node in nodes:
            kinds[_kind(node)].append(node)
        rounds = zip_longest(*kinds.values())
        return [n for n in chain.from_iterable(rounds) if n is not None][:DRAWN]
    if list(names) == ["all"]:
        return nodes
    known = {n.name: n for n in nodes}
    for name in names:
        if name not in known:
            raise UsageError(
                "no convolution has this name", got=printable(name), hint=nearest(name, list(known))
            )
    return [known[name] for name in names]


def _kind(node: Node) -> tuple[Any, ...]:
    """What makes layers look alike: window, strides, dilations, and whether it is grouped."""
    told = node.op.attributes()
    window = tuple(told.get(key) for key in ("kernel_shape", "strides", "dilations"))
    return node.op.name, window, told.get("group", 1) == 1


def _page(node: Node, drawn: bool) -> dict[str, Any]:
    return {
        "title": shown_name(node.name),
        "facts": _facts(node),
        "views": [v for name in VIEWS if (v := _view(node, name))] if drawn else [],
    }


def _view(node: Node, name: str) -> dict[str, str] | None:
    """One picture; none where this layer has none, such as a matrix without known sizes."""
    try:
        picture = VIEWS[name](node)
    except (UsageError, BudgetError):
        return None
    return {
        "name": name,
        "title": picture.title,
        "caption": picture.caption,
        "part": picture.part,
        "svg": picture.svg,
    }


def _facts(node: Node) -> dict[str, Any]:
    """What the page says of a layer's matrix; see `irconv.analysis.report.MatrixReport`."""
    try:
        report = matrix_report(node, norm=False)
        if report.rows * report.columns <= NORM_BELOW:
            report = matrix_report(node, norm=True)
    except (UsageError, BudgetError):
        return {}
    return _told(report)


def _told(report: MatrixReport) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "rows": report.rows,
        "columns": report.columns,
        "entries": report.entries,
        "free_weights": report.free_weights,
        "fixed_zeros": report.fixed_zeros,
        "density": report.density,
        "places": list(report.places),
        "diagonals": report.diagonals.count if report.diagonals is not None else None,
        "crossbars": [
            {"rows": c.rows, "columns": c.columns, "tiles": c.tiles, "use": c.use}
            for c in report.crossbars
        ],
        "spectral_norm": report.spectral_norm.value if report.spectral_norm is not None else None,
        "rank": report.rank,
        "condition": report.condition,
    }
    if report.adjoint is not None:
        facts["adjoint"] = report.adjoint.difference
    return facts
