"""Launches of 3x3 convolutions of values in blocks by Winograd's transforms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from irconv.backends.numba_cpu import native, slots
from irconv.backends.numba_cpu.activations import pass_code
from irconv.backends.numba_cpu.blocked import winograd_kernels as slot
from irconv.backends.numba_cpu.blocked.halo import clear_halo
from irconv.backends.numba_cpu.blocked.launches import F32, Blocked
from irconv.backends.numba_cpu.blocked.storage import Storage
from irconv.backends.numba_cpu.blocked.tile import TileShape, lanes, most_rows, tile_address
from irconv.backends.numba_cpu.blocked.tiling import Panels, Pieces
from irconv.backends.numba_cpu.blocked.weights import pack_bias
from irconv.backends.numba_cpu.blocked.winograd_transforms import (
    AVERAGE_POOL,
    MAX_POOL,
    NO_POOL,
    OutputForm,
    input_code,
    input_edge_code,
)
from irconv.backends.numba_cpu.launch import Launch, Source
from irconv.backends.numba_cpu.packing import aligned
from irconv.backends.numba_cpu.step import NOTHING, Epilogue, PoolWindow
from irconv.conv_costs import Form
from irconv.conv_costs import winograd as predicted
from irconv.geometry import ConvGeometry
from irconv.types import Array
from irconv.winograd import KERNEL, MOST_ADDED, transform_taps

_CACHE = 768 << 10  # bytes of V and M of a block of tiles: most of a second cache
_LINE = 64  # bytes


@dataclass(frozen=True)
class WinogradLayer:
    """y = pool(activation(conv(x, w) + b + residual)) by F(tile, 3), all in blocks.

    `pool` is NO_POOL, or a pool of 2x2 with stride 2.
    """

    geometry: ConvGeometry
    tile: int
    x: Storage
    y: Storage
    residual: Storage | None
    ending: Epilogue
    pool: int
    form: Form

    @property
    def step(self) -> int:
        """Pixels of y along an axis that a tile gives."""
        return self.tile if self.pool == NO_POOL else self.tile // 2

    @property
    def down(self) -> int:
        """Lines of tiles of an image."""
        return -(-self.y.height // self.step)

    @property
    def across(self) -> int:
        """Tiles of a line."""
        return -(-self.y.width // self.step)

    @property
    def points(self) -> int:
        """Products of a tile and a pair of channels."""
        return (self.tile + KERNEL - 1) ** 2

    @property
    def panels(self) -> Panels:
        """Blocks of channels of y that are multiplied together."""
        blocks = self.y.blocks
        vectors = 3 if blocks % 3 == 0 and blocks % 2 and most_rows(3) > 1 else min(2, blocks)
        return Panels(-(-blocks // vectors), vectors, (blocks - 1) % vectors + 1)

    @property
    def groups(self) -> Pieces:
        """Tiles that are multiplied together."""
        return Pieces.most(self.y.images * self.down * self.across, most_rows(self.panels.vectors))

    @property
    def block_groups(self) -> int:
        """Groups that go through the algorithm together."""
        if self.form == "phased":
            return self.groups.count
        channels = (self.x.blocks + self.panels.vectors) * lanes()
        of_group = self.groups.size * self.points * channels * F32.itemsize
        return min(max(_CACHE // of_group, 1), self.groups.count)


@dataclass(frozen=True)
class Scratch:
    """Elements of V and M: of `room` tiles; from point to point; where M begins; of one part."""

    room: int
    v_point: int
    m_point: int
    m_place: int
    each: int

    @classmethod
    def of(cls, layer: WinogradLayer) -> Scratch:
        room = min(layer.block_groups * layer.groups.size, layer.groups.total)
        rows = layer.y.blocks if layer.form == "phased" else layer.panels.vectors
        # An odd number of vectors: the points of a tile are in many sets of the first cache.
        v_point, m_point = ((blocks * room | 1) * lanes() for blocks in (layer.x.blocks, rows))
        line = _LINE // F32.itemsize
        v, m = (-(-layer.points * point // line) * line for point in (v_point, m_point))
        return cls(room, v_point, m_point, v, v + m)


@dataclass(frozen=True)
class WinogradStep:
    """A row whose numbers include the addresses of functions, which `bind` looks up or compiles."""

    name: str
    kernel: Callable[..., None] = field(repr=False)
    layer: WinogradLayer
    scratch: Scratch
    scratch_bytes: int

    def bind(self) -> Array:
        """The row of int64 with all addresses of data 0."""
        layer, activation = self.layer, self.layer.ending.activation
        output = OutputForm(layer.tile, layer.pool, int(layer.residual is not None))
        numbers: dict[int, int | float] = {
            slot.CODE: native.address(self.kernel, F32),
            slot.INPUT: input_code(layer.tile, F32),
            slot.INPUT_EDGE: input_edge_code(layer.tile, F32),
            slot.OUTPUT: output.code(F32),
            slot.OUTPUT_EDGE: output.edge_code(F32),
            slot.FINISH: pass_code(activation, F32) if activation is not None else 0,
            **_sizes(layer),
            **_cuts(layer, self.scratch),
            **_weight_steps(layer),
        }
        kinds = (layer.panels.vectors, layer.panels.last)
        for i, (v, n) in enumerate((v, n) for v in kinds for n in layer.groups.sizes):
            numbers[slot.CODES + i] = tile_address(TileShape(n, 1, v, lanes(), lanes()))
        row = np.zeros(slot.ROW, np.int64)
        for place, value in numbers.items():
            row[place] = np.float64(value).view(np.int64) if isinstance(value, float) else value
        return row


def winograd(
    x: Blocked,
    y: Blocked,
    geometry: ConvGeometry,
    tile: int,
    weights: Array,
    bias: Array | None = None,
    residual: Blocked | None = None,
    ending: Epilogue = NOTHING,
    pool: PoolWindow | None = None,
    parts: int = 1,
    form: Form | None = None,
) -> list[Launch] | None:
    """y = pool(activation(conv(x, weights) + bias + residual)) by F(tile, 3), and the halo of y.

    `weights` are float32 `[out_channels, in_channels, 3, 3]`; `parts` is the most threads that
    will run it. In the form "fused" each part takes blocks of tiles through the whole algorithm;
    in "phased" all tiles are transformed, then multiplied, then transformed back, so that the
    weights are read once; None leaves it to the cost model. The halo of x may be of any size.
    None is the answer where no kernel does it: the blocks are not one vector, or the pool is not
    one of 2x2 with stride 2 and no padding after a clamp.
    """
    kind = _pool_kind(pool, geometry, ending)
    blocked = (x, y) if residual is None else (x, y, residual)
    if kind is None or any(v.storage.block != lanes() for v in blocked):
        return None
    form = form or predicted(geometry, tile, x.storage.images, parts).form
    held = residual.storage if residual is not None else None
    layer = WinogradLayer(geometry, tile, x.storage, y.storage, held, ending, kind, form)
    scratch = Scratch.of(layer)
    sources, offsets = _sources(layer, scratch, x, y, residual, weights, bias)
    name = f"winograd{tile}"
    kernels: tuple[tuple[str, Callable[..., None]], ...] = (
        (f"{name}_input", slot.transform_inputs),
        (f"{name}_products", slot.multiply_points),
        (f"{name}_output", slot.transform_outputs),
    )
    count = 1
    if form == "fused":
        kernels, count = ((name, slot.fused),), parts
    steps = (
        WinogradStep(each, kernel, layer, scratch, scratch.each * count * F32.itemsize)
        for each, kernel in kernels
    )
    return [*clear_halo(y), *(Launch(step, sources, slot.SCRATCH, offsets) for step in steps)]


def _pool_kind(pool: PoolWindow | None, geometry: ConvGeometry, ending: Epilogue) -> int | None:
    """What the output transform does for this pool; None where it cannot."""
    if pool is None:
        return NO_POOL
    window = (pool.kernel, pool.strides, pool.dilations, set(pool.pads))
    inside = all(2 * size <= image for size, image in zip(pool.out, geometry.out, strict=True))
    if window != ((2, 2), (2, 2), (1, 1), {0}) or not inside or ending.activation is not None:
        return None
    return MAX_POOL if pool.kind == slots.MAX else AVERAGE_POOL


def _sources(
    layer: WinogradLayer,
    scratch: Scratch,
    x: Blocked,
    y: Blocked,
    residual: Blocked | None,
    weights: Array,
    bias: Array | None,
) -> tuple[dict[int, Source], dict[int, int]]:
    """The sources of the addresses, and the bytes to add to them."""
    channels = layer.geometry.out_channels
    bias = np.zeros(channels, F32) if bias is None else bias
    sources: dict[int, Source] = {
        slot.X: x.source,
        slot.Y: y.source,
        slot.U: pack_points(weights, layer.tile, layer.panels, layer.form == "phased"),
        slot.BIAS: pack_bias(bias, channels),
        slot.SEGMENTS: np.arange(x.storage.blocks, dtype=np.int64) * (scratch.room * lanes()),
    }
    origins = {slot.X: x.storage.origin, slot.Y: y.storage.origin}
    if residual is not None:
        sources[slot.R] = residual.source
        origins[slot.R] = residual.storage.origin
    return sources, {place: origin * F32.itemsize for place, origin in origins.items()}


def pack_points(weights: Array, tile: int, panels: Panels, points_first: bool) -> Array:
    """G w G^T of weights [O, C, 3, 3] as the register tile reads them, rounded once from float64.

    Flat: [panel][point][channel of x][channel of the panel], or [point][panel]... where
    `points_first`; channels are filled up to whole blocks with zeros.
    """
    rows, depth = panels.blocks * lanes(), -(-weights.shape[1] // lanes()) * lanes()
    points = (tile + KERNEL - 1) ** 2
    packed = aligned(points * depth * rows, F32)
    by_point = packed.reshape(points, -1)
    first = 0
    for vectors in panels.each():
        end = first + vectors * lanes()
        of_panel = weights[first:end]
        taps = np.zeros((KERNEL, KERNEL, depth, end - first))
        taps[:, :, : weights.shape[1], : len(of_panel)] = of_panel.transpose(2, 3, 1, 0)
        target = packed[points * depth * first : points * depth * end].reshape(points, -1)
        target = by_point[:, depth * first : depth * end] if points_first else target
        for place, values in zip(target, transform_taps(list(taps), tile), strict=True):
            place[:] = values.reshape(-1)
        first = end
    return packed


def _sizes(layer: WinogradLayer) -> dict[int, int | float]:
    x, y, r = layer.x, layer.y, layer.residual or layer.y
    g, ending = layer.geometry, layer.ending
    top, left, bottom, right = x.halo
    reach = x.width + right + g.pads[1] - (layer.tile + KERNEL - 1)
    return {
        slot.TILE: layer.tile,
        slot.STEP: layer.step,
        slot.POINTS: layer.points,
        slot.TILES: layer.groups.total,
        slot.DOWN: layer.down,
        slot.ACROSS: layer.across,
        slot.IN_BLOCKS: x.blocks,
        slot.OUT_BLOCKS: y.blocks,
        slot.X_IMAGE: x.image,
        slot.X_PLANE: x.plane,
        slot.X_LINE: x.line,
        slot.Y_IMAGE: y.image,
        slot.Y_PLANE: y.plane,
        slot.Y_LINE: y.line,
        slot.R_IMAGE: r.image,
        slot.R_PLANE: r.plane,
        slot.R_LINE: r.line,
        slot.HEIGHT: y.height,
        slot.WIDTH: y.width,
        slot.HEIGHT_R: g.out[0],
        slot.WIDTH_R: g.out[1],
        slot.PAD_TOP: g.pads[0],
        slot.PAD_LEFT: g.pads[1],
        slot.FIRST_ROW: -top,
        slot.END_ROW: x.height + bottom,
        slot.FIRST_COLUMN: -left,
        slot.END_COLUMN: x.width + right,
        slot.INNER_FIRST: max(-(-(g.pads[1] - left) // layer.tile), 0),
        slot.INNER_END: max(reach // layer.tile + 1, 0),
        slot.LOW: float(ending.low),
        slot.HIGH: float(ending.high),
        slot.ALPHA: float(ending.alpha),
        slot.BETA: float(ending.beta),
    }


def _cuts(layer: WinogradLayer, scratch: Scratch) -> dict[int, int | float]:
    return {
        slot.GROUPS: layer.groups.count,
        slot.GROUP_SIZE: layer.groups.size,
        slot.GROUP_LONGER: layer.groups.longer,
        slot.BLOCK_GROUPS: layer.block_groups,
        slot.ROOM: scratch.room,
        slot.V_POINT: scratch.v_point,
        slot.M_POINT: scratch.m_point,
        slot.M_PLACE: scratch.m_place,
        slot.SCRATCH_EACH: scratch.each,
        slot.PANELS: layer.panels.count,
        slot.VECTORS: layer.panels.vectors,
        slot.LAST: layer.panels.last,
        slot.PIECES: -(-layer.x.blocks * lanes() // MOST_ADDED),
    }


def _weight_steps(layer: WinogradLayer) -> dict[int, int | float]:
    """How U is gone through: see `pack_points`."""
    block = layer.x.blocks * lanes() * lanes()  # of one point, for one block of channels of y
    piece, last = layer.panels.vectors * block, layer.panels.last * block
    if layer.form == "phased":
        steps = (piece, layer.y.blocks * block, layer.y.blocks * block)
    else:
        steps = (piece * layer.points, piece, last)
    return {
        slot.PANEL_STEP: steps[0],
        slot.POINT_STEP: steps[1],
        slot.LAST_POINT_STEP: steps[2],
    }
