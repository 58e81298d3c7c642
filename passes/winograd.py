"""Computes 3x3 convolutions by Winograd's transforms where a cost model says that it is faster."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import heapify, heappop, heappush

from irconv.algorithms import AlgorithmChoice, Layer
from irconv.conv_costs import MACHINE, Machine, Prediction, predictions
from irconv.dim import known
from irconv.errors import PipelineError
from irconv.geometry import ConvGeometry
from irconv.graph import Graph, Node, Value
from irconv.ops.activation import Relu
from irconv.ops.conv import Conv
from irconv.ops.fused import Clamp, FusedConv
from irconv.ops.pool import AveragePool, MaxPool
from irconv.ops.winograd import WinogradConv
from irconv.passes.lowering import operand, with_pool
from irconv.passes.products import fused_form
from irconv.pipeline import Pass
from irconv.rewrite import Rewriter, rule
from irconv.types import DTYPES, dtype_name
from irconv.winograd import KERNEL, POINTS

CONVOLUTIONS = (Conv, FusedConv)
LEAST_CHANNELS = 16
DIRECT = 0
ALGORITHMS = {DIRECT: "direct", **{tile: f"F({tile}, {KERNEL})" for tile in sorted(POINTS)}}
TILES = {name: tile for tile, name in ALGORITHMS.items()}
# a choice that costs more memory, or exactness, must pay at least so much of the time
LEAST_GAIN = 0.03
LARGE_GROWTH = 8 << 20  # bytes of weights more, for which it must pay
LARGE_GAIN = 0.10
# of the third cache: weights of a whole graph that stay there, transformed ones among them
RESIDENT = 0.25


@dataclass(frozen=True)
class Winograd(Pass):
    """Computes 3x3 convolutions by Winograd's transforms where a cost model says that it is faster.

    The model takes `threads`, and of the machine: `peak` GFLOP/s of a core, GB/s of a core from its
    caches (`l2`, `l3`) and of all from memory (`dram`), `l2_bytes` of a core and `l3_bytes`.
    Transformed weights may take at most `budget` bytes, and `growth` of all weights of the graph,
    more than plain ones: the layers that gain most for their bytes come first. `tiles` states the
    choice instead: one character for each convolution that could be transformed, in the order of
    the graph, 0 (direct), 2 or 4.
    """

    threads: int = 1
    tiles: str = ""
    budget: int = 4 << 20
    growth: float = 0.27
    peak: float = MACHINE.peak
    l2: float = MACHINE.l2
    l3: float = MACHINE.l3
    dram: float = MACHINE.dram
    l2_bytes: int = MACHINE.l2_bytes
    l3_bytes: int = MACHINE.l3_bytes

    def __post_init__(self) -> None:
        numbers = (self.threads, self.peak, self.l2, self.l3, self.dram, self.l2_bytes)
        positive = all(0 < n < float("inf") for n in (*numbers, self.l3_bytes))
        if not positive or self.budget < 0 or not 0 <= self.growth < float("inf"):
            raise PipelineError("winograd: an option is out of range", expected="positive numbers")
        wrong = sorted(set(self.tiles) - set("0").union(map(str, POINTS)))
        if wrong:
            raise PipelineError(
                "winograd: wrong tiles", expected="the characters 0, 2 and 4", got=self.tiles
            )

    def run(self, graph: Graph, rewriter: Rewriter) -> None:
        layers = _layers(graph)
        costs = self._costs(graph)
        if self.tiles:
            tiles = self._stated(list(layers))
            reasons = dict.fromkeys(layers, "the option tiles says so")
        else:
            tiles, reasons = choose(costs, self._room(graph), _decided(layers))
        for name, node in layers.items():
            predicted = {ALGORITHMS[t]: cost.seconds for t, cost in costs[name].items()}
            rewriter.chose(node, AlgorithmChoice(ALGORITHMS[tiles[name]], predicted))
        rewriter.apply([conv_to_winograd.with_options(tiles=tiles, reasons=reasons)])

    @property
    def machine(self) -> Machine:
        """The machine that the options describe."""
        return Machine(self.peak, self.l2, self.l3, self.dram, self.l2_bytes, self.l3_bytes)

    def layers(self, graph: Graph) -> tuple[Layer, ...]:
        """The layers whose tiles are open, and those that are decided; none if `tiles` is given."""
        if self.tiles:
            return ()
        layers = _layers(graph)
        decided = _decided(layers)
        return tuple(
            Layer(name, _work(node), _names([decided[name]] if name in decided else ALGORITHMS))
            for name, node in layers.items()
        )

    def stated(self, algorithms: Sequence[str]) -> Winograd:
        """The same pass with the tiles of these algorithms."""
        return replace(self, tiles="".join(str(TILES[name]) for name in algorithms))

    def best(self, graph: Graph, measured: Sequence[Mapping[str, float]]) -> tuple[str, ...]:
        """The algorithm of each layer, by the same rules as if the model had said `measured`.

        Layers of equal work have equal ones: that of the first, for the bytes of all of them.
        """
        layers, predicted = _layers(graph), self._costs(graph)
        work = {name: _work(node) for name, node in layers.items()}
        first = {work[name]: name for name in reversed(layers)}
        counts = {first[text]: count for text, count in Counter(work.values()).items()}
        costs = {
            name: _as_measured(predicted[name], found)
            for name, found in zip(layers, measured, strict=True)
            if name in counts
        }
        decided = {name: tile for name, tile in _decided(layers).items() if name in counts}
        tiles, _ = choose(costs, self._room(graph), decided, counts)
        return tuple(ALGORITHMS[tiles[first[work[name]]]] for name in layers)

    def _costs(self, graph: Graph) -> dict[str, dict[int, Prediction]]:
        resident = _weight_bytes(graph) < RESIDENT * self.l3_bytes
        return {name: self._layer_costs(n, resident) for name, n in _layers(graph).items()}

    def _room(self, graph: Graph) -> int:
        """Bytes that the weights may grow by."""
        return self.budget + int(self.growth * _weight_bytes(graph))

    def _layer_costs(self, node: Node, resident: bool) -> dict[int, Prediction]:
        batch = known(operand(node, 0).shape[0])
        return predictions(geometry(node), batch, self.threads, self.machine, resident)

    def _stated(self, names: list[str]) -> dict[str, int]:
        if len(names) != len(self.tiles):
            raise PipelineError(
                "winograd: tiles does not fit the graph",
                expected=f"{len(names)} characters, one for each convolution of 3x3 with stride 1, "
                f"at least {LEAST_CHANNELS} channels and constant weights",
                got=f"{len(self.tiles)}",
            )
        return {name: int(tile) for name, tile in zip(names, self.tiles, strict=True)}


def _weight_bytes(graph: Graph) -> int:
    return sum(known(v.tensor_type.nbytes) for v in graph.parameters.values())


def _layers(graph: Graph) -> dict[str, Node]:
    return {n.name: n for n in graph if is_eligible(n)}


def _work(node: Node) -> str:
    """What a layer does, whatever its weights and where it stands."""
    types = ", ".join(str(v.type) if v is not None else "_" for v in node.operands)
    return f"{node.op!r} ({types})"


def _names(tiles: Iterable[int]) -> tuple[str, ...]:
    return tuple(ALGORITHMS[tile] for tile in tiles)


def _as_measured(
    costs: Mapping[int, Prediction], seconds: Mapping[str, float]
) -> dict[int, Prediction]:
    """The predictions with these seconds in place of theirs, where there are such."""
    return {
        tile: replace(cost, seconds=seconds.get(ALGORITHMS[tile], cost.seconds))
        for tile, cost in costs.items()
    }


def _decided(layers: Mapping[str, Node]) -> dict[str, int]:
    """The tiles of the layers that have one."""
    return {n.name: n.op.tile for n in layers.values() if isinstance(n.op, WinogradConv)}


def choose(
    costs: Mapping[str, Mapping[int, Prediction]],
    budget: int,
    decided: Mapping[str, int],
    counts: Mapping[str, int] | None = None,
) -> tuple[dict[str, int], dict[str, str]]:
    """The tile of each layer, and for layers that may stay direct the reason, in numbers.

    All begin as direct ones, but those that are `decided`; then, one by one, the step that saves
    most time for the bytes that it adds to the weights is taken, while it is worth it and fits the
    budget. `counts`: how many layers each stands for, 1 where it is not told.
    """
    counts = dict.fromkeys(costs, 1) | dict(counts or {})
    tiles = dict.fromkeys(costs, DIRECT) | dict(decided)
    reasons = {name: _times(found) for name, found in costs.items()}
    left = budget - sum(
        counts[name] * _growth(costs[name], DIRECT, tile) for name, tile in decided.items()
    )
    names = costs.keys() - decided.keys()
    ahead = [(-_rate(costs[name], DIRECT, tile), name, tile) for name in names for tile in POINTS]
    heapify(ahead)
    while ahead:
        rate, name, tile = heappop(ahead)
        present = tiles[name]
        growth = counts[name] * _growth(costs[name], present, tile)
        if not _is_worth(costs[name], present, tile):
            continue
        if -rate != _rate(costs[name], present, tile):  # from an earlier step: its turn is later
            heappush(ahead, (-_rate(costs[name], present, tile), name, tile))
        elif growth <= left:
            tiles[name], left = tile, left - growth
        elif present == DIRECT:
            reasons[name] = (
                f"its transformed weights take {growth} bytes more, {left} of {budget} are left"
            )
    return tiles, reasons


def _growth(costs: Mapping[int, Prediction], present: int, tile: int) -> int:
    """The bytes that the weights of a tile take more than the present ones."""
    return costs[tile].weight_bytes - costs[present].weight_bytes


def _rate(costs: Mapping[int, Prediction], present: int, tile: int) -> float:
    """Seconds saved for each byte that the weights grow."""
    saved = costs[present].seconds - costs[tile].seconds
    return saved / max(_growth(costs, present, tile), 1)


def _is_worth(costs: Mapping[int, Prediction], present: int, tile: int) -> bool:
    """Whether a tile with more weights than the present one gains enough."""
    growth = _growth(costs, present, tile)
    gain = LARGE_GAIN if growth > LARGE_GROWTH else LEAST_GAIN
    return growth > 0 and costs[tile].seconds < (1 - gain) * costs[present].seconds


def _times(costs: Mapping[int, Prediction]) -> str:
    return ", ".join(f"{ALGORITHMS[tile]} {1e6 * costs[tile].seconds:.1f} us" for tile in costs)


@rule(Conv, FusedConv, WinogradConv)
def conv_to_winograd(
    node: Node, rewriter: Rewriter, tiles: Mapping[str, int], reasons: Mapping[str, str]
) -> Value | None:
    """Conv(x, w) => WinogradConv(x, w) with the tile that was chosen for it, or back.

    A pool whose windows are not within one tile becomes a node of its own.
    """
    reason = refusal(node)
    if reason is not None:
        return rewriter.declined(node, reason)
    present = node.op.tile if isinstance(node.op, WinogradConv) else DIRECT
    tile = tiles.get(node.name, present)
    if tile == DIRECT and present == DIRECT:
        return rewriter.declined(node, reasons[node.name])
    if tile == present:
        return None
    op = node.op.direct if isinstance(node.op, WinogradConv) else fused_form(node.op)
    assert isinstance(op, FusedConv)
    if tile == DIRECT:
        return rewriter.emit(op, *node.operands)
    window = (op.kernel_shape, op.strides, op.pads, op.dilations, op.group)
    if _pools_in_tiles(op):
        new = WinogradConv(*window, op.activation, op.pool, tile=tile)
        return rewriter.emit(new, *node.operands)
    new = WinogradConv(*window, op.activation, tile=tile)
    return with_pool(rewriter, op, rewriter.emit(new, *node.operands, name="image"))


def _pools_in_tiles(op: FusedConv) -> bool:
    """Whether the pool, if any, is over pixels of one tile that have been clamped, if at all."""
    if op.pool is None:
        return True
    if not isinstance(op.pool, MaxPool | AveragePool) or op.pool.ceil_mode:
        return False
    window = (op.pool.kernel_shape, op.pool.strides, set(op.pool.pads), set(op.pool.dilations))
    simple = op.activation is None or isinstance(op.activation, Relu | Clamp)
    return simple and window == ((2, 2), (2, 2), {0}, {1})


def is_eligible(node: Node) -> bool:
    """Whether it is a convolution that has a Winograd form."""
    return isinstance(node.op, CONVOLUTIONS) and refusal(node) is None


def refusal(node: Node) -> str | None:
    """Why a convolution has no Winograd form here, None where it has one."""
    op = node.op
    assert isinstance(op, Conv | FusedConv)
    if op.kernel_shape != (KERNEL, KERNEL):
        return f"its kernel is {list(op.kernel_shape)}, not [{KERNEL}, {KERNEL}]"
    if {*op.strides, *op.dilations, op.group} != {1}:
        return (
            f"its strides are {list(op.strides)}, dilations {list(op.dilations)}, "
            f"group {op.group}: not all 1"
        )
    x, w = operand(node, 0), operand(node, 1)
    if x.tensor_type.dtype != DTYPES["f32"]:
        return f"its element type is {dtype_name(x.tensor_type.dtype)}, not f32"
    if not w.is_parameter:
        return "its weights are not constant"
    sizes = (*x.shape, *node.result.shape)
    if not all(isinstance(d, int) and d > 0 for d in sizes):
        return "its sizes are not known"
    channels = min(known(d) for d in w.shape[:2])
    if channels < LEAST_CHANNELS:
        return f"it has {channels} channels, fewer than {LEAST_CHANNELS}"
    return None


def geometry(node: Node) -> ConvGeometry:
    """The geometry of an eligible convolution."""
    op = node.op
    assert isinstance(op, Conv | FusedConv)
    return op.conv_geometry(operand(node, 0).tensor_type, known(operand(node, 1).shape[0]), 1)
