"""Launches of 3x3 convolutions by Winograd's transforms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from irconv.backends.numba_cpu.activations import pass_code
from irconv.backends.numba_cpu.blocked import winograd_kernels as slot
from irconv.backends.numba_cpu.blocked.halo import clear_halo
from irconv.backends.numba_cpu.blocked.launches import F32, Blocked, blocked_launch
from irconv.backends.numba_cpu.blocked.tile import TileShape, lanes, most_rows, tile_address
from irconv.backends.numba_cpu.blocked.winograd_transforms import (
    AVERAGE_POOL,
    MAX_POOL,
    NO_POOL,
    OutputForm,
    input_code,
    input_edge_code,
)
from irconv.backends.numba_cpu.launch import Launch
from irconv.backends.numba_cpu.packing import aligned
from irconv.backends.numba_cpu.step import NOTHING, Epilogue
from irconv.types import Array
from irconv.winograd import KERNEL, weight_matrix

Form: TypeAlias = Literal["fused", "phased"]
POOLS = (NO_POOL, MAX_POOL, AVERAGE_POOL)
_CACHE = 640 << 10  # bytes of V and M of a block of tiles that stay in the second cache


@dataclass(frozen=True)
class WinogradLayer:
    """A 3x3 convolution with stride 1: `pads` above and left of x, `pool` (2x2, stride 2, no pads)
    one of NO_POOL, MAX_POOL, AVERAGE_POOL, `tile` 2 or 4.
    """

    tile: int
    x: Blocked
    y: Blocked
    residual: Blocked | None
    pads: tuple[int, int]
    ending: Epilogue = NOTHING
    pool: int = NO_POOL

    @property
    def step(self) -> int:
        """Pixels of y along an axis that a tile gives."""
        return self.tile if self.pool == NO_POOL else self.tile // 2

    @property
    def down(self) -> int:
        """Lines of tiles of an image."""
        return -(-self.y.storage.height // self.step)

    @property
    def across(self) -> int:
        """Tiles of a line."""
        return -(-self.y.storage.width // self.step)

    @property
    def tiles(self) -> int:
        """Tiles of all images."""
        return self.y.storage.images * self.down * self.across

    @property
    def points(self) -> int:
        """Products of a tile and a pair of channels."""
        return (self.tile + KERNEL - 1) ** 2


@dataclass(frozen=True)
class Cut:
    """How the tiles and the channels of a layer are cut for the register tile."""

    groups: int
    least: int  # tiles of the smaller groups
    vectors: int
    panels: int
    last: int  # vectors of the last panel
    block_groups: int  # groups that are worked on together


def winograd(
    layer: WinogradLayer, weights: Array, bias: Array | None, threads: int, form: Form
) -> list[Launch]:
    """y = pool(activation(conv(x, weights) + bias + residual)); and the halo of y.

    `weights` are [O, C, 3, 3], `bias` [O]. In the form "fused" each part takes blocks of tiles
    through all of the algorithm; "phased", all tiles are transformed, then multiplied, then
    transformed back, so that the weights are read once.
    """
    cut = _cut(layer, form)
    scratch = _scratch(layer, cut, form)
    values = [layer.y, layer.x, layer.residual or layer.y]
    block = layer.x.storage.block
    segments = np.arange(layer.x.storage.blocks, dtype=np.int64) * (scratch.room * block)
    others = (
        packed_weights(weights, layer.tile, cut.vectors, points_first=form == "phased"),
        _padded(bias, layer.y.storage.blocks * block),
        segments,
    )
    numbers = _numbers(layer, cut, scratch, form)
    parts = threads if form == "fused" else 1
    nbytes = scratch.each * parts * F32.itemsize
    name = f"winograd{layer.tile}"
    kernels = {
        "fused": ((name, slot.fused),),
        "phased": (
            (f"{name}_input", slot.transform_inputs),
            (f"{name}_products", slot.multiply_points),
            (f"{name}_output", slot.transform_outputs),
        ),
    }
    return clear_halo(layer.y) + [
        blocked_launch(each, kernel, values, others, numbers, nbytes)
        for each, kernel in kernels[form]
    ]


def _cut(layer: WinogradLayer, form: Form) -> Cut:
    blocks = layer.y.storage.blocks
    vectors = 3 if blocks % 3 == 0 and blocks % 2 and most_rows(3) > 1 else min(2, blocks)
    groups = -(-layer.tiles // most_rows(vectors))
    least = layer.tiles // groups
    panels = -(-blocks // vectors)
    last = blocks - (panels - 1) * vectors
    of_tile = layer.points * layer.x.storage.block * F32.itemsize
    each = of_tile * (layer.x.storage.blocks + vectors) * (least + 1)
    together = groups if form == "phased" else max(_CACHE // each, 1)
    return Cut(groups, least, vectors, panels, last, together)


@dataclass(frozen=True)
class _Scratch:
    """Elements of V and M: tiles of a line, from point to point, of V, of one part."""

    room: int
    v_point: int
    m_point: int
    v: int
    each: int


def _scratch(layer: WinogradLayer, cut: Cut, form: Form) -> _Scratch:
    block = layer.x.storage.block
    room = layer.tiles if form == "phased" else min(cut.block_groups * (cut.least + 1), layer.tiles)
    out_blocks = layer.y.storage.blocks if form == "phased" else cut.vectors
    # An odd number of vectors from point to point: those of a tile are in many sets of the cache.
    v_point, m_point = (
        (blocks * room | 1) * block for blocks in (layer.x.storage.blocks, out_blocks)
    )
    v, m = (-(-layer.points * point // 64) * 64 for point in (v_point, m_point))
    return _Scratch(room, v_point, m_point, v, v + m)


def _padded(bias: Array | None, count: int) -> Array:
    filled = aligned(count, F32)
    filled[:] = 0
    if bias is not None:
        filled[: bias.size] = bias
    return filled


def packed_weights(weights: Array, tile: int, vectors: int, points_first: bool) -> Array:
    """G w G^T of weights [O, C, 3, 3] as the register tile reads them, rounded once from float64.

    Flat: [panel][point][channel of x][channel of the panel], or [point][panel]... where
    `points_first`; channels are filled up to whole blocks with zeros.
    """
    lane = lanes()
    rows, depth = (-(-n // lane) * lane for n in weights.shape[:2])
    width = vectors * lane
    taps = np.zeros((KERNEL * KERNEL, depth, rows), np.float64)
    taps[:, : weights.shape[1], : weights.shape[0]] = weights.reshape(
        *weights.shape[:2], -1
    ).transpose(2, 1, 0)
    panels = [taps[:, :, i : i + width].reshape(len(taps), -1) for i in range(0, rows, width)]
    matrix = weight_matrix(tile)
    packed = aligned(len(matrix) * depth * rows, F32)
    if points_first:
        np.matmul(
            matrix,
            np.concatenate(panels, 1),
            out=packed.reshape(len(matrix), -1),
            casting="same_kind",
        )
        return packed
    start = 0
    for panel in panels:
        size = len(matrix) * panel.shape[1]
        packed[start : start + size] = (matrix @ panel).reshape(-1)
        start += size
    return packed


def _numbers(layer: WinogradLayer, cut: Cut, scratch: _Scratch, form: Form) -> list[int | float]:
    block = layer.x.storage.block
    x, y = layer.x.storage, layer.y.storage
    points_first = form == "phased"
    pieces = [x.blocks * block * n * block for n in (cut.vectors, cut.last)]
    everything = x.blocks * block * y.blocks * block
    top, left, bottom, right = x.halo
    conv_height, conv_width = _conv_sizes(layer)
    shape = OutputForm(layer.tile, layer.pool, int(layer.residual is not None))
    finish = layer.ending.activation
    found: dict[int, int | float] = {
        slot.TILE: layer.tile,
        slot.STEP: layer.step,
        slot.TILES: layer.tiles,
        slot.DOWN: layer.down,
        slot.ACROSS: layer.across,
        slot.POINTS: layer.points,
        slot.IN_BLOCKS: x.blocks,
        slot.OUT_BLOCKS: y.blocks,
        slot.HEIGHT_R: conv_height,
        slot.WIDTH_R: conv_width,
        slot.PAD_TOP: layer.pads[0],
        slot.PAD_LEFT: layer.pads[1],
        slot.FIRST_ROW: -top,
        slot.END_ROW: x.height + bottom,
        slot.FIRST_COLUMN: -left,
        slot.END_COLUMN: x.width + right,
        slot.INNER_FIRST: max(-(-(layer.pads[1] - left) // layer.tile), 0),
        slot.INNER_END: max(
            (x.width + right + layer.pads[1] - layer.tile - KERNEL + 1) // layer.tile + 1, 0
        ),
        slot.GROUPS: cut.groups,
        slot.LEAST: cut.least,
        slot.BLOCK_GROUPS: cut.block_groups,
        slot.SCRATCH_EACH: scratch.each,
        slot.ROOM: scratch.room,
        slot.V_POINT: scratch.v_point,
        slot.M_POINT: scratch.m_point,
        slot.M_PLACE: scratch.v,
        slot.PANELS: cut.panels,
        slot.VECTORS: cut.vectors,
        slot.PANEL_STEP: pieces[0] * (1 if points_first else layer.points),
        slot.POINT_STEP: everything if points_first else pieces[0],
        slot.LAST_POINT_STEP: everything if points_first else pieces[1],
        slot.PIECE: pieces[0],
        slot.LAST_PIECE: pieces[1],
        slot.INPUT: input_code(layer.tile, F32),
        slot.INPUT_EDGE: input_edge_code(layer.tile, F32),
        slot.OUTPUT: shape.code(F32),
        slot.OUTPUT_EDGE: shape.edge_code(F32),
        slot.FINISH: pass_code(finish, F32) if finish is not None else 0,
        slot.LOW: float(layer.ending.low),
        slot.HIGH: float(layer.ending.high),
        slot.ALPHA: float(layer.ending.alpha),
        slot.BETA: float(layer.ending.beta),
    }
    sizes = [min(cut.least + more, most_rows(cut.vectors)) for more in (0, 1)]
    for i, (vectors, size) in enumerate((v, s) for v in (cut.vectors, cut.last) for s in sizes):
        found[slot.CODES + i] = tile_address(TileShape(size, 1, vectors, block, block))
    return [found[i] for i in range(slot.TILE, slot.TILE + len(found))]


def _conv_sizes(layer: WinogradLayer) -> tuple[int, int]:
    """Height and width of y before the pool."""
    if layer.residual is not None:
        return layer.residual.storage.height, layer.residual.storage.width
    y = layer.y.storage
    if layer.pool == NO_POOL:
        return y.height, y.width
    return 2 * y.height, 2 * y.width
