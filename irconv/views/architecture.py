"""A network as a diagram: the volumes between its layers, with their sizes and weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import log2, prod, sqrt
from typing import TYPE_CHECKING, Any

from irconv.errors import UsageError, printable
from irconv.graph import Graph, Node, Value
from irconv.late import Late
from irconv.nx_bridge import to_networkx
from irconv.ops.conv import Conv, ConvTranspose
from irconv.ops.elementwise import Add, Sum
from irconv.ops.fused import FusedConv, FusedMatMul
from irconv.ops.linear import Gemm, MatMul
from irconv.ops.norm import BatchNormalization
from irconv.ops.pool import AveragePool
from irconv.ops.rearrange import Concat
from irconv.views import names, svg
from irconv.views.blocks import Block, below, beside, block, paragraph
from irconv.views.colours import FEW
from irconv.views.maps import drawn
from irconv.views.moves import known_shape
from irconv.views.picture import Picture
from irconv.views.reach_rules import GLOBAL_POOLS, POOLS
from irconv.views.sight_table import at_batch_one, image_input
from irconv.views.svg import Element
from irconv.window import Windowed

if TYPE_CHECKING:
    import networkx as nx
else:
    nx = Late("networkx")

STEPS = 40  # a diagram with more is no diagram
ROW = 940.0
GAP = 6.0
LEAN = 0.42  # of the height, by which a volume leans back

READING = (
    "How to read it: each box is what stands between two layers, as high and deep as its image and "
    "as thick as it has maps (on a scale that grows more slowly than the numbers). Under a box "
    "stand maps and pixels, over the arrow the layer that makes it: its filters look at the small "
    "square in the box before, at one place after the other, and every filter makes one map. A "
    "dense layer reads everything, so its results have no places any more."
)


@dataclass(frozen=True)
class Step:
    """One box: the node that makes it, what it is, its shape without the batch, and its weights.

    `window` is the filter's or pool's size, () where there is none; `weights` are the layer's free
    weights and biases; `followed` are the ops behind it that change no sizes; `branches` the nodes
    that lie beside the way here from the box before.
    """

    node: str
    kind: str
    shape: tuple[int, ...]
    window: tuple[int, ...] = ()
    detail: str = ""
    weights: int = 0
    followed: tuple[str, ...] = ()
    branches: int = 0


def steps_of(graph: Graph, of: str | None = None) -> tuple[Step, ...]:
    """The boxes of a diagram: the nodes through which every path from the input called `of` to the
    first output leads, as far as they make something new.
    """
    graph = at_batch_one(graph)
    source = image_input(graph, of)
    found = [Step(source.name, "input", known_shape(source)[1:])]
    left_out: list[Node] = []
    for node, beside_it in _spine(graph, source):
        left_out += beside_it
        step = _step(node, left_out)
        if step is not None:
            found.append(step)
            left_out = []
        else:
            found[-1] = _followed(found[-1], node)
    return tuple(found)


def _followed(step: Step, node: Node) -> Step:
    """The step with an op behind it that changes no sizes."""
    told = node.op.name not in {"Flatten", "Reshape", "Identity"}
    ops = (*step.followed, node.op.name) if told else step.followed
    return replace(step, followed=ops, weights=step.weights + _weights(node))


def _spine(graph: Graph, source: Value) -> list[tuple[Node, list[Node]]]:
    """The nodes through which every path to the first output leads, in order, each with the nodes
    that lie beside the way to it: the output's dominators.
    """
    end = graph.outputs[0].producer if graph.outputs else None
    if end is None:
        raise UsageError("the graph computes nothing", where=f"graph @{printable(graph.name)}")
    network = to_networkx(graph)
    dominators = nx.immediate_dominators(network, source.name)
    if end.name not in dominators:
        raise UsageError("the output does not depend on this input", got=printable(source.name))
    way = [end.name]
    while way[-1] != source.name:
        way.append(dominators[way[-1]])
    between = nx.ancestors(network, end.name) & set(dominators)
    found: list[tuple[Node, list[Node]]] = []
    waiting: list[Node] = []
    for node in graph:
        if node.name in way:
            found.append((node, waiting))
            waiting = []
        elif node.name in between:
            waiting.append(node)
    return found


def _weights(node: Node) -> int:
    """The trained numbers that a node holds; a batch norm's means and variances are measured."""
    own = node.operands[:3] if isinstance(node.op, BatchNormalization) else node.operands
    arrays = [v for v in own if v is not None and v.is_parameter and v.tensor_type.rank]
    return sum(prod(known_shape(v)) for v in arrays if v.tensor_type.dtype.kind == "f")


def _step(node: Node, beside_it: Sequence[Node]) -> Step | None:
    """The box that a node makes, or None where it changes no sizes and joins nothing."""
    kind, window, detail = _described(node)
    if not kind and not beside_it:
        return None
    shape = known_shape(node.results[0])[1:]
    weights = sum(_weights(n) for n in (node, *beside_it))
    return Step(node.name, kind or node.op.name, shape, window, detail, weights, (), len(beside_it))


def _described(node: Node) -> tuple[str, tuple[int, ...], str]:
    op = node.op
    match op:
        case Conv() | FusedConv():
            kind = "depthwise" if op.group > 1 and op.group == _channels(node) else "conv"
            return kind, op.kernel_shape, _window(op)
        case ConvTranspose():
            return "transposed conv", op.kernel_shape, _window(op)
        case Gemm() | MatMul() | FusedMatMul():
            return "dense", (), ""
        case Add() | Sum() if all(v is not None and not v.is_parameter for v in node.operands):
            return "sum", (), ""
        case Concat():
            return "concat", (), ""
        case _:
            return _pooled(node)


def _pooled(node: Node) -> tuple[str, tuple[int, ...], str]:
    op = node.op
    if isinstance(op, POOLS):
        kind = "mean pool" if isinstance(op, AveragePool) else "max pool"
        return kind, op.kernel_shape, _window(op)
    if isinstance(op, GLOBAL_POOLS):
        return "global pool", (), ""
    return "", (), ""


def _channels(node: Node) -> int:
    image = node.operand(0)
    return known_shape(image)[1] if image is not None else 0


def _window(op: Windowed) -> str:
    """`5×5, stride 2, pad 1`."""
    parts = [names.sizes(op.kernel_shape)]
    if max(op.strides) > 1:
        parts.append(f"stride {_one(op.strides)}")
    if max(op.pads):
        parts.append(f"pad {_one(op.pads)}")
    if max(op.dilations) > 1:
        parts.append(f"dilation {_one(op.dilations)}")
    return ", ".join(parts)


def _one(numbers: Sequence[int]) -> str:
    return str(numbers[0]) if len(set(numbers)) == 1 else names.sizes(numbers)


def architecture(graph: Graph, *, of: str | None = None, reading: bool = True) -> Picture:
    """The network as boxes from left to right: every volume with its size, every layer with its
    window and its weights, and below it how to read that.

    Where paths run beside one another, the boxes are those through which all of them lead, and the
    nodes between are counted. UsageError for a graph without an image, of unknown sizes, or of more
    than 40 boxes.
    """
    steps = steps_of(graph, of)
    if len(steps) > STEPS:
        raise UsageError(
            "too many layers for a diagram",
            expected=f"at most {STEPS}",
            got=len(steps),
            hint="inspect the graph itself: irconv inspect MODEL",
        )
    inner = below([_row(steps, row) for row in _rows(steps)], 26)
    if reading:
        inner = below([inner, paragraph(READING, max(60, int(inner.width / 6.8)))], 22)
    total = sum(step.weights for step in steps)
    title = f"The architecture of {printable(graph.name, 40)}"
    beside_way = sum(step.branches for step in steps)
    part = "" if not beside_way else (
        f"the nodes that every path passes; {names.count(beside_way, 'node')} beside them counted, "
        "not drawn"
    )  # fmt: skip
    return drawn(
        inner, title, _caption(graph, steps, total), {"steps": steps, "weights": total}, part
    )


def _caption(graph: Graph, steps: Sequence[Step], total: int) -> str:
    first, last = steps[0].shape, steps[-1].shape
    layers = sum(step.weights > 0 for step in steps)
    return (
        f"{printable(graph.name, 40)} makes {names.sizes(last)} of {names.sizes(first)} numbers in "
        f"{names.count(len(steps) - 1, 'step')}; {names.count(layers, 'layer')} of these have "
        f"weights, {names.count(total)} in all."
    )


# -- drawing -------------------------------------------------------------------------------------


def _rows(steps: Sequence[Step]) -> list[range]:
    """The numbers of the boxes in rows of about equal width, none much wider than a page."""
    widths = [_box(steps, i, 0).width + GAP for i in range(len(steps))]
    count = max(1, round(sum(widths) / ROW + 0.4))
    share = sum(widths) / count
    ends = [sum(sum(widths[: i + 1]) <= share * row + 1 for i in range(len(widths)))
            for row in range(count + 1)]  # fmt: skip
    return [range(a, b) for a, b in pairwise(ends) if a < b]


def _row(steps: Sequence[Step], row: range) -> Block:
    """Boxes that stand on one line, which leaves room for what stands over the arrows."""
    tallest = max(_Volume.of(steps[i].shape).total for i in row)
    return beside([_box(steps, i, max(tallest, 104)) for i in row], GAP, middle=False)


@dataclass(frozen=True)
class _Volume:
    """How large a box is drawn: thickness (maps), height and depth (pixels)."""

    thick: float
    high: float
    deep: float

    @classmethod
    def of(cls, shape: tuple[int, ...]) -> _Volume:
        if len(shape) == 1:
            return cls(12.0, 14 + 11 * log2(1 + shape[0]), 0.0)
        sizes = shape[1:]
        rows = sizes[-2] if len(sizes) > 1 else 1
        return cls(3 + 5.2 * log2(1 + shape[0]), _length(rows), _length(sizes[-1]))

    @property
    def lean(self) -> float:
        return LEAN * self.deep

    @property
    def total(self) -> float:
        """The height with the part that leans back."""
        return self.high + self.lean


def _length(pixels: int) -> float:
    return 8 + 9.2 * sqrt(pixels)


def _box(steps: Sequence[Step], number: int, base: float) -> Block:
    """One volume that stands on the line `base`, its label below, the next layer's arrow beside."""
    step = steps[number]
    following = steps[number + 1] if number + 1 < len(steps) else None
    volume, label = _Volume.of(step.shape), _label(step)
    wide = volume.thick + volume.lean
    width = max(wide, *(svg.text_width(text, size) for text, size, _ in label))
    left, top = (width - wide) / 2, base - volume.total
    colour = "#b1bac4" if number == 0 else FEW[_HUES.get(step.kind, 4)]
    elements = list(_faces(volume, left, top, colour))
    if following is not None and following.window and len(step.shape) > 1:
        elements += _looked_at(volume, step.shape[1:], following.window, left, top)
    elements += [
        svg.text(width / 2, base + 18 + 15 * i, text, f"{style} middle")
        for i, (text, _, style) in enumerate(label)
    ]
    marked = svg.group(elements, data_step=number, data_shape=" ".join(map(str, step.shape)))
    box = block([marked], width, base + 18 + 15 * len(label))
    return box if following is None else beside([box, _arrow(following, base)], 4, middle=False)


_HUES = {"conv": 1, "depthwise": 1, "transposed conv": 1, "max pool": 2, "mean pool": 2}
_HUES |= {"global pool": 2, "dense": 0, "sum": 3, "concat": 3}


def _label(step: Step) -> list[tuple[str, float, str]]:
    found = [(names.sizes(step.shape), 12.0, "number")]
    if step.kind == "input":
        found.append((printable(step.node, 14), 11.0, "small muted"))
    if step.weights:
        found.append((f"{names.count(step.weights, 'weight')}", 11.0, "small muted"))
    shown = [op for op in step.followed if op != "BatchNormalization"][:2]
    if shown:
        found.append((", ".join(op.lower() for op in shown), 11.0, "small muted"))
    return found


def _arrow(step: Step, base: float) -> Block:
    """The layer that makes the next box, over an arrow."""
    lines = [step.kind, *step.detail.split(", ")] if step.detail else [step.kind]
    if step.branches:
        lines.append(f"+ {names.count(step.branches, 'node')}")
    width = max(34.0, *(svg.text_width(text, 9.4) for text in lines))
    y = base - 38
    texts = [
        svg.text(
            width / 2,
            y - 10 - 14 * (len(lines) - 1 - i),
            text,
            f"small middle{' muted' if i else ''}",
        )
        for i, text in enumerate(lines)
    ]
    head = f"M{width - 7:g} {y - 4:g} L{width:g} {y:g} L{width - 7:g} {y + 4:g}"
    arrow = [
        svg.line(0, y, width, y, "break"),
        svg.element("path", d=head, class_="break", fill="none"),
    ]
    return block([*texts, *arrow], width, y + 6)


def _faces(volume: _Volume, x: float, y: float, colour: str) -> Iterator[Element]:
    """The front (thickness by height), and the top and the side that lean back by the depth."""
    lean, high, thick = volume.lean, volume.high, volume.thick
    front = y + lean
    style: dict[str, Any] = {"fill": colour, "stroke": "#57606a", "stroke_width": 0.8}
    top = [(x, front), (x + lean, y), (x + lean + thick, y), (x + thick, front)]
    side = [(x + thick, front), (x + thick + lean, y), (x + thick + lean, y + high),
            (x + thick, front + high)]  # fmt: skip
    yield svg.element("polygon", points=_points(top), fill_opacity="0.45", **style)
    yield svg.element("polygon", points=_points(side), fill_opacity="0.7", **style)
    yield svg.rect(x, front, thick, high, fill_opacity="0.95", **style)


def _looked_at(
    volume: _Volume, sizes: tuple[int, ...], window: tuple[int, ...], x: float, y: float
) -> list[Element]:
    """The window of the next layer, on the side of the box that shows rows and columns."""
    rows, columns = ((1, *sizes)[-2:], (1, *window)[-2:])
    part_rows = min(1.0, columns[0] / rows[0])
    part_columns = min(1.0, columns[1] / rows[1])
    high, lean = volume.high * part_rows, volume.lean * part_columns
    left = x + volume.thick + (volume.lean - lean) * 0.5
    # down the side and back into the depth, in the middle of the face
    start = y + volume.lean - (left - x - volume.thick) + (volume.high - high) * 0.5
    corners = [(left, start), (left + lean, start - lean), (left + lean, start - lean + high),
               (left, start + high)]  # fmt: skip
    return [svg.element("polygon", points=_points(corners), class_="mark", stroke_width=1.4)]


def _points(corners: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in corners)
