"""What each value of a network sees of an input, from node to node: per axis, by intervals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from irconv.graph import Graph, Node, Value
from irconv.ops.conv import Conv, ConvTranspose
from irconv.ops.fused import FusedConv, FusedMatMul
from irconv.ops.linear import Gemm, MatMul
from irconv.ops.norm import LRN, BatchNormalization
from irconv.ops.pair import ConvPair
from irconv.ops.preact import PreactConv, ScaleShift
from irconv.ops.rearrange import ChannelShuffle, Concat, DepthToSpace, SpaceToDepth, Split
from irconv.ops.shape import Transpose
from irconv.ops.softmax import Softmax
from irconv.views.moves import RESHAPES, known_shape
from irconv.views.reach_rules import GLOBAL_POOLS, POOLS, is_pointwise
from irconv.views.sight import SELF, Interval, Sight, constant, hull, union
from irconv.window import Windowed

_REARRANGING = (*RESHAPES, Transpose, ChannelShuffle, Concat, DepthToSpace, SpaceToDepth)


@dataclass(frozen=True)
class AxisSeen:
    """One spatial axis of a value: `sights` is what its places see away from the border (the union
    of all), `places` what each of them sees inside the image.
    """

    sights: tuple[Sight, ...]
    places: tuple[Interval, ...]

    @property
    def together(self) -> Interval:
        """What all places see together."""
        return hull(self.places)

    def windowed(self, op: Windowed, axis: int) -> AxisSeen:
        """The same axis after the window `op`."""
        window = (op.kernel_shape[axis], op.strides[axis], op.dilations[axis], op.pads[axis])
        if isinstance(op, ConvTranspose):
            sights = union(sight.transposed(*window) for sight in self.sights)
        else:
            sights = union(sight.windowed(*window) for sight in self.sights)
        out = _out_size(op, axis, len(self.places))
        return AxisSeen(sights, tuple(self._window(op, axis, o) for o in range(out)))

    def _window(self, op: Windowed, axis: int, out: int) -> Interval:
        read = _read(op, axis, out)
        return hull(self.places[i] for i in read if 0 <= i < len(self.places))

    def gathered(self, count: int) -> AxisSeen:
        """An axis of `count` places that each see what all of these see."""
        seen = self.together
        return AxisSeen((constant(seen),), (seen,) * count)


def _read(op: Windowed, axis: int, out: int) -> Iterator[int]:
    """The places that output place `out` reads, the padding's among them."""
    stride, dilation = op.strides[axis], op.dilations[axis]
    for k in range(op.kernel_shape[axis]):
        if not isinstance(op, ConvTranspose):
            yield out * stride - op.pads[axis] + k * dilation
        elif (out + op.pads[axis] - k * dilation) % stride == 0:
            yield (out + op.pads[axis] - k * dilation) // stride


def _out_size(op: Windowed, axis: int, size: int) -> int:
    # sizes that fit, for the other axes
    sizes = [d * (k - 1) + 1 for d, k in zip(op.dilations, op.kernel_shape, strict=True)]
    sizes[axis] = size
    if isinstance(op, ConvTranspose):
        begin, end = op.pad_pairs[axis]
        return int(str(op.full_sizes(sizes)[axis])) - begin - end
    return int(str(op.out_sizes(sizes, bool(getattr(op, "ceil_mode", 0)))[axis]))


@dataclass(frozen=True)
class Seen:
    """What a value sees of an input.

    `mixed`: the value's elements lie on the input's axes no more; `axes` has then one place, what
    all of them see together. `each`: what is stated holds for each element of a place, and is not
    only enough for it. `together`: it holds for all elements of a place together.
    """

    axes: tuple[AxisSeen, ...]
    mixed: bool = False
    each: bool = True
    together: bool = True

    @property
    def is_one_place(self) -> bool:
        """Whether there are no two places, so that each element sees what all see."""
        return all(len(axis.places) == 1 for axis in self.axes)


def seen_values(graph: Graph, source: Value) -> dict[Value, Seen]:
    """What each value that depends on `source` [N, C, *spatial] sees of it; all sizes known."""
    image = known_shape(source)[2:]
    places = (tuple((i, i) for i in range(size)) for size in image)
    found = {source: Seen(tuple(AxisSeen((SELF,), p) for p in places))}
    for node in graph:
        known = {v: found[v] for v in node.operands if v is not None and v in found}
        if known:
            found |= dict.fromkeys(node.results, _step(node, known, len(image)))
    return found


def _step(node: Node, known: Mapping[Value, Seen], rank: int) -> Seen:
    if any(seen.mixed for seen in known.values()):
        return _mixed(node, known)
    chain = _chain(node.op)
    if chain is not None:
        return _through(node, chain, known)
    shape = known_shape(node.results[0])
    if isinstance(node.op, GLOBAL_POOLS):
        return _merged([_gathered(seen, (1,) * rank) for seen in known.values()])
    if _keeps_places(node, known, rank):
        parts = [_stretched(seen, shape[2:]) for seen in known.values()]
        return _of_channels(node, parts)
    return _mixed(node, known)


def _chain(op: object) -> tuple[Windowed, ...] | None:
    """The windows through which the first operand is seen, one after the other."""
    match op:
        case ConvPair():
            inner, outer = _chain(op.first), _chain(op.second)
            return None if inner is None or outer is None else (*inner, *outer)
        case PreactConv():
            return _chain(op.conv)
        case FusedConv():
            pool = op.pool
            return (op, pool) if isinstance(pool, Windowed) else None if pool else (op,)
        case Conv() | ConvTranspose():
            return (op,)
        case _:
            return (op,) if isinstance(op, POOLS) else None


def _through(node: Node, chain: tuple[Windowed, ...], known: Mapping[Value, Seen]) -> Seen:
    """The image through all windows; a residual through those after the last convolution."""
    pools = tuple(op for op in chain if isinstance(op, POOLS)) if len(chain) > 1 else ()
    parts = [
        _windowed(known[value], pools if index else chain)
        for index, value in enumerate(node.operands)
        if value is not None and value in known
    ]
    merged = _merged(parts)
    # a filter that reads all channels sees what they see together
    return replace(merged, each=merged.together) if _group(chain[0]) == 1 else merged


def _group(op: Windowed) -> int | None:
    """The groups of a convolution; None for a pool."""
    return getattr(op, "group", None)


def _of_channels(node: Node, parts: Sequence[Seen]) -> Seen:
    """Joined, of which channels may see unlike parts; one channel alone may then see less."""
    merged = _merged(parts)
    if isinstance(node.op, Concat):
        alike = len(parts) == len(set(node.operands)) and len({part.axes for part in parts}) == 1
        return replace(merged, each=merged.each and alike)
    if isinstance(node.op, Split):
        return replace(merged, together=merged.each)
    return merged


def _windowed(seen: Seen, chain: Sequence[Windowed]) -> Seen:
    axes = seen.axes
    for op in chain:
        axes = tuple(axis.windowed(op, i) for i, axis in enumerate(axes))
    return replace(seen, axes=axes)


def _keeps_places(node: Node, known: Mapping[Value, Seen], rank: int) -> bool:
    """Whether an element of the result sees what the elements at its own place see."""
    op = node.op
    if any(len(v.shape) != rank + 2 for v in (*known, node.results[0])):
        return False
    if isinstance(op, Concat | Split | Softmax):
        return op.axis % (rank + 2) < 2
    return is_pointwise(op) or isinstance(
        op, BatchNormalization | ScaleShift | LRN | ChannelShuffle
    )


def _stretched(seen: Seen, sizes: Sequence[int]) -> Seen:
    """A size of 1 that is broadcast: every place sees what the one place sees."""
    axes = (
        axis.gathered(size) if len(axis.places) == 1 != size else axis
        for axis, size in zip(seen.axes, sizes, strict=True)
    )
    return replace(seen, axes=tuple(axes))


def _gathered(seen: Seen, sizes: Sequence[int]) -> Seen:
    axes = zip(seen.axes, sizes, strict=True)
    return replace(seen, axes=tuple(axis.gathered(size) for axis, size in axes), each=seen.together)


def _mixed(node: Node, known: Mapping[Value, Seen]) -> Seen:
    """At most all that the operands see; where each element saw that already, exactly that."""
    rank = len(next(iter(known.values())).axes)
    merged = _merged([_gathered(seen, (1,) * rank) for seen in known.values()])
    together = all(seen.together for seen in known.values())
    each = all(seen.each and seen.is_one_place for seen in known.values())
    op = node.op
    if _reads_one_row(node, known):
        return replace(merged, mixed=True, each=together, together=together)
    if is_pointwise(op) or isinstance(op, Softmax):
        return replace(merged, mixed=True, each=each, together=each)
    moves = isinstance(op, _REARRANGING) and len(known) == 1
    return replace(merged, mixed=True, each=moves and each, together=moves and together)


def _reads_one_row(node: Node, known: Mapping[Value, Seen]) -> bool:
    """Whether each element of the product reads a whole row, and there is but one."""
    value = node.operand(0)
    if value is None or value not in known or not isinstance(node.op, Gemm | MatMul | FusedMatMul):
        return False
    return len(value.shape) == 2 and value.shape[0] == 1


def _merged(parts: Sequence[Seen]) -> Seen:
    axes = []
    for i in range(len(parts[0].axes)):
        each = [part.axes[i] for part in parts]
        sights = union(sight for axis in each for sight in axis.sights)
        places = tuple(map(hull, zip(*(axis.places for axis in each), strict=True)))
        axes.append(AxisSeen(sights, places))
    return Seen(
        tuple(axes),
        any(p.mixed for p in parts),
        all(p.each for p in parts),
        all(p.together for p in parts),
    )
