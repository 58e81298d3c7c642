"""The pages of the convolutions: their matrices in numbers, and some of them as pictures."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import chain, zip_longest
from math import prod
from typing import Any, TypeAlias

import numpy as np

from irconv.analysis.layer_matrix import has_matrix
from irconv.analysis.report import MatrixReport, matrix_report
from irconv.errors import BudgetError, UsageError, printable
from irconv.graph import Graph, Node
from irconv.inspector.lines import shown_name
from irconv.inspector.stages import at_one
from irconv.kinds import is_float
from irconv.registry import nearest
from irconv.report import node_cost
from irconv.types import Array, TensorType
from irconv.views.activation_maps import activation_maps
from irconv.views.catalogue import VIEWS
from irconv.views.composition import composition
from irconv.views.filters import filters
from irconv.views.layer import ConvLayer
from irconv.views.picture import Picture
from irconv.views.projection import projection
from irconv.views.receptive_field import receptive_field
from irconv.views.sight_table import LayerSight, receptive_fields
from irconv.views.translation import translation

# so many layers are drawn where nobody says which: the first of each kind, then the second, ...
DRAWN = 10
# a norm of a matrix up to this size is quick
NORM_BELOW = 1 << 18

# an image is sent through the network up to a layer where that takes at most so many multiply-adds
IMAGE_MACS = 40_000_000
IMAGE_ELEMENTS = 1 << 24
# and up to the first convolution where that takes more, for its maps alone
FIRST_MACS = 400_000_000

# in the order in which they answer what a newcomer asks: shared, zero, seen, found
ORDER = (
    *("matrix", "network", "dense_network", "locally_connected", "receptive_field", "filters"),
    *("activation_maps", "projection", "image_and_filter", "equation", "compact_equation"),
    *("volume", "shape_arithmetic", "composition", "translation"),
)
OF_NODES: Mapping[str, Callable[[Node], Picture]] = {
    "receptive_field": receptive_field,
    "filters": filters,
    "composition": composition,
}
OF_IMAGES: Mapping[str, Callable[[Node, Any], Picture]] = {
    "activation_maps": activation_maps,
    "projection": projection,
    "translation": translation,
}
OF_FIRST = {"activation_maps": activation_maps}
MADE_UP = "The image is a made-up test picture; inspect --input gives another."
Draw: TypeAlias = Callable[[], Picture]


def layer_pages(
    graph: Graph, names: Sequence[str] | None = None, inputs: Mapping[str, Array] | None = None
) -> dict[str, Any]:
    """The `layers` of a document, by the id of the node: every convolution with its facts.

    `names`: the layers that are drawn, every one with "all"; by default ten of different kinds.
    `inputs`: arrays by input name, of which an image is sent through the network; else the image is
    made up, and the captions say so. UsageError where a name is not that of a convolution.
    """
    nodes = [n for n in graph if has_matrix(n)]
    drawn = set(_chosen(nodes, names))
    given = _given(graph, inputs or {})
    image = _image(graph) if given is None else given
    sights = _sights(graph)
    near, first = _within(graph, IMAGE_MACS), _within(graph, FIRST_MACS) & set(nodes[:1])
    pages = {}
    for node in nodes:
        chosen = OF_IMAGES if node in near else OF_FIRST if node in first else {}
        tries = (
            {} if image is None else {name: partial(f, node, image) for name, f in chosen.items()}
        )
        page = _page(node, tries if node in drawn else None)
        if node.name in sights:
            page["sight"] = _sight(sights[node.name])
        if given is None:
            _say_made_up(page["views"])
        pages[str(node.uid)] = page
    return pages


def _sights(graph: Graph) -> dict[str, LayerSight]:
    """How far each node sees, by its name; empty where there is no image of known sizes."""
    try:
        return {row.node: row for row in receptive_fields(graph).rows}
    except (UsageError, BudgetError):
        return {}


def _sight(row: LayerSight) -> dict[str, Any]:
    """What the page says of how far a layer sees in the input."""
    return {
        "size": list(row.size),
        "step": [str(jump) for jump in row.jump],
        "exact": row.exact,
        "whole": row.whole,
    }


def _say_made_up(views: Iterable[dict[str, str]]) -> None:
    for view in views:
        if view["name"] in OF_IMAGES:
            view["caption"] += f" {MADE_UP}"


def _given(graph: Graph, inputs: Mapping[str, Array]) -> Array | None:
    """What was given for the only input of a graph; of an open batch the first image."""
    array = inputs.get(graph.inputs[0].name) if len(graph.inputs) == 1 else None
    if array is None or array.ndim not in {3, 4} or array.dtype.kind != "f":
        return None
    shown = array if isinstance(graph.inputs[0].shape[0], int) else array[:1]
    return shown if shown.size and np.isfinite(shown).all() else None


def _image(graph: Graph) -> Array | None:
    """A test image for the only input of a graph, once for each of its batch: a disc, a ring,
    stripes, an edge; in 0..1.
    """
    kind = graph.inputs[0].type if len(graph.inputs) == 1 else None
    if not isinstance(kind, TensorType) or not is_float(kind.dtype) or kind.rank != 4:
        return None
    batch = kind.shape[0] if isinstance(kind.shape[0], int) else 1
    known = [d for d in kind.shape[1:] if isinstance(d, int)]
    if len(known) != 3 or not 0 < batch * prod(known) <= IMAGE_ELEMENTS:
        return None
    channels, height, width = known
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    away = np.hypot(x + 0.35, y + 0.3)
    picture = np.where(away < 0.4, 0.9, 0.15 + 0.2 * (x > 0.25))
    picture = np.where(np.abs(np.hypot(x - 0.3, y - 0.35) - 0.4) < 0.08, 1.0, picture)
    stripes = (y > 0.55) & (x < -0.1) & (np.sin(9 * np.pi * x) > 0)
    picture = np.where(stripes, 0.8, picture)
    tints = 1 - 0.25 * np.arange(channels) / max(1, channels - 1)
    one = np.asarray(picture * tints[:, None, None], np.float32)
    return np.repeat(one[None], batch, axis=0)


def _within(graph: Graph, limit: int) -> set[Node]:
    """The nodes up to which the whole graph costs at most `limit` multiply-adds."""
    found, spent = set(), 0
    for node in graph:
        spent += at_one(node_cost(node).macs)
        if spent > limit:
            break
        found.add(node)
    return found


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


def _page(node: Node, of_image: Mapping[str, Draw] | None) -> dict[str, Any]:
    """The page of one layer; None: it is not drawn."""
    page = {"title": shown_name(node.name), "facts": _facts(node)}
    if of_image is None:
        return page | {"views": []}
    views = _views(node, of_image)
    return page | {"views": [_view(name, views[name]) for name in ORDER if name in views]}


def _views(node: Node, of_image: Mapping[str, Draw]) -> dict[str, Picture]:
    """The pictures that there are of a layer; some need known sizes, some a layer in front."""
    if _is_empty(node):
        return {}
    try:
        layer = ConvLayer.of(node)
    except UsageError:
        return {}
    tries: dict[str, Draw] = {name: partial(view, layer) for name, view in VIEWS.items()}
    tries |= {name: partial(view, node) for name, view in OF_NODES.items()}
    tries |= of_image
    found = {}
    for name, draw in tries.items():
        with contextlib.suppress(UsageError, BudgetError):
            found[name] = draw()
    return found


def _is_empty(node: Node) -> bool:
    """Whether there is nothing to draw: no images, no channels or no pixels."""
    values = (v for v in (*node.operands, *node.results) if v is not None)
    return any(isinstance(v.type, TensorType) and 0 in v.type.shape for v in values)


def _view(name: str, picture: Picture) -> dict[str, str]:
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
            {
                "rows": c.rows,
                "columns": c.columns,
                "tiles": c.tiles,
                "all_tiles": c.all_tiles,
                "use": c.use,
            }
            for c in report.crossbars
        ],
        "spectral_norm": report.spectral_norm.value if report.spectral_norm is not None else None,
        "rank": report.rank,
        "condition": report.condition,
    }
    if report.adjoint is not None:
        facts["adjoint"] = report.adjoint.difference
    return facts
