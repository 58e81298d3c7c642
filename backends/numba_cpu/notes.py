"""What the shape of a node costs its kernel, for the report: vectors and tiles not full."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from irconv.backends.numba_cpu.binders.kind import shape_of
from irconv.backends.numba_cpu.blocked.convolve_row import ConvolveStep
from irconv.backends.numba_cpu.blocked.tile import most_rows
from irconv.backends.numba_cpu.blocked.winograd import WinogradStep
from irconv.backends.numba_cpu.launch import Launch
from irconv.backends.numba_cpu.views import layout_of
from irconv.graph import Node, Value

_WORTH_TELLING = 0.95  # of the whole


def note_of(node: Node, launches: Sequence[Launch]) -> str:
    """Why this shape does not reach the rate of the best one, empty where nothing is lost."""
    found = dict.fromkeys(_blocks(node))
    for launch in launches:
        if isinstance(launch.step, ConvolveStep):
            found.update(dict.fromkeys(_tiles(launch.step)))
        if isinstance(launch.step, WinogradStep):
            found.update(dict.fromkeys(_cover(launch.step)))
    return "; ".join(found)


def _blocks(node: Node) -> Iterator[str]:
    values: list[Value] = [v for v in node.operands[:1] if v is not None]
    for value in (*values, *node.results[:1]):
        layout = layout_of(value)
        if layout is None:
            continue
        channels = shape_of(value)[1]
        held = -(-channels // layout.block) * layout.block
        if channels < _WORTH_TELLING * held:
            yield f"{channels} of {held} channels of its blocks are used"


def _tiles(step: ConvolveStep) -> Iterator[str]:
    """The fullest tile tells: the others are what is left of a line."""
    shapes = list(step.tiles.values())
    if shapes:
        best = max(shapes, key=lambda shape: shape.rows * shape.vectors)
        most = most_rows(best.vectors)
        if best.rows < _WORTH_TELLING * most:
            yield f"its tiles have {best.rows} of {most} pixels"


def _cover(step: WinogradStep) -> Iterator[str]:
    layer = step.layer
    height, width = layer.y.height, layer.y.width
    covered = layer.down * layer.across * layer.step**2 / (height * width)
    if covered * _WORTH_TELLING > 1:
        size = f"{layer.tile}x{layer.tile}"
        yield f"its tiles of {size} cover {covered:.2f} times the image"
