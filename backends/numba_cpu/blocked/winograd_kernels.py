"""The loops of a Winograd convolution: transform tiles of x, multiply, transform the products.

Tiles are numbered image by image, line by line. They are multiplied in groups of nearly equal
size: the rows of one register tile. V, the transformed x, is [point][block of channels][tile],
M, the products, [point][block][tile], one vector for each tile.
"""

from __future__ import annotations

from math import inf
from typing import Any

from irconv.backends.numba_cpu.jit import compiled_part
from irconv.backends.numba_cpu.pointers import at, call, double_bits, lanes, number, pointer
from irconv.backends.numba_cpu.work import blocks, share

# The row of each kernel: addresses, then numbers.
# fmt: off
(
    CODE, X, Y, R, U, BIAS, SEGMENTS, SCRATCH,
    TILE, STEP, POINTS,                     # pixels of a tile before and after the pool
    TILES, DOWN, ACROSS,                    # of all images; lines of an image, tiles of a line
    IN_BLOCKS, OUT_BLOCKS,                  # of channels
    X_IMAGE, X_PLANE, X_LINE, Y_IMAGE, Y_PLANE, Y_LINE, R_IMAGE, R_PLANE, R_LINE,
    HEIGHT, WIDTH, HEIGHT_R, WIDTH_R,       # of y; before the pool
    PAD_TOP, PAD_LEFT,
    FIRST_ROW, END_ROW, FIRST_COLUMN, END_COLUMN,   # of x, as it is stored
    INNER_FIRST, INNER_END,                 # the tiles of a line all of whose columns are stored
    GROUPS, GROUP_SIZE, GROUP_LONGER,       # groups of tiles; see `tiling.Pieces`
    BLOCK_GROUPS,                           # of a block of tiles of the fused form
    ROOM, V_POINT, M_POINT, M_PLACE, SCRATCH_EACH,  # see `winograd.Scratch`
    PANELS, VECTORS, LAST,                  # of channels of y, blocks of a panel and of the last
    PANEL_STEP, POINT_STEP, LAST_POINT_STEP,        # of U, from one to the next
    PIECES,                                 # of the channels of x: see `winograd.MOST_ADDED`
    INPUT, INPUT_EDGE, OUTPUT, OUTPUT_EDGE,         # transforms
    LOW, HIGH, FINISH, ALPHA, BETA,         # the epilogue; see `slots`
    CODES,                                  # of four tiles: [last panel or not][shorter group]
) = range(63)
ROW = CODES + 4
# fmt: on


@compiled_part
def _clipped(value: Any, low: Any, high: Any) -> Any:
    return min(max(value, low), high)


@compiled_part
def _group_start(step: Any, group: Any) -> Any:
    """The first tile of a group: see `tiling.Pieces`."""
    return group * (step[GROUP_SIZE] - 1) + min(group, step[GROUP_LONGER])


@compiled_part
def _input_tiles(step: Any, like: Any, block: Any, first: Any, end: Any, target: Any) -> None:
    """B^T d B of the tiles first .. end of one block of channels, a vector each at `target`."""
    tile, width, across = step[TILE], lanes(like), step[ACROSS]
    x, line = at(pointer(step[X], like), block * step[X_PLANE]), step[X_LINE]
    t = first
    while t < end:
        above = t // across
        image = above // step[DOWN]
        left = t - above * across
        right = min(across, left + end - t)
        row = (above - image * step[DOWN]) * tile - step[PAD_TOP]
        place = at(x, image * step[X_IMAGE] + row * line - step[PAD_LEFT] * width)
        to = at(target, (t - first - left) * width)
        inner = _clipped(step[INNER_FIRST], left, right)
        outer = _clipped(step[INNER_END], inner, right)
        if row < step[FIRST_ROW] or row + tile + 2 > step[END_ROW]:
            outer = inner
        call(
            step[INPUT],
            at(place, inner * (tile * width)),
            line,
            at(to, inner * width),
            step[V_POINT],
            outer - inner,
        )
        for edge in range(left, right - outer + inner):
            k = edge if edge < inner else edge + outer - inner
            column = k * tile - step[PAD_LEFT]
            call(
                step[INPUT_EDGE],
                at(place, k * (tile * width)),
                line,
                at(to, k * width),
                step[V_POINT],
                step[FIRST_ROW] - row,
                step[END_ROW] - row,
                step[FIRST_COLUMN] - column,
                step[END_COLUMN] - column,
            )
        t += right - left


@compiled_part
def _output_tiles(step: Any, like: Any, block: Any, first: Any, end: Any, source: Any) -> None:
    """What follows the products of tiles first .. end of one block of channels, to y."""
    tile, jump, width, across = step[TILE], step[STEP], lanes(like), step[ACROSS]
    y = at(pointer(step[Y], like), block * step[Y_PLANE])
    r = at(pointer(step[R], like), block * step[R_PLANE])
    bias = at(pointer(step[BIAS], like), block * width)
    low, high = number(double_bits(step[LOW]), like), number(double_bits(step[HIGH]), like)
    line, line_r = step[Y_LINE], step[R_LINE]
    t = first
    while t < end:
        above = t // across
        image = above // step[DOWN]
        left = t - above * across
        right = min(across, left + end - t)
        down = above - image * step[DOWN]
        place = at(y, image * step[Y_IMAGE] + down * jump * line)
        place_r = at(r, image * step[R_IMAGE] + down * tile * line_r)
        start = at(source, (t - first - left) * width)
        rows_r, rows = step[HEIGHT_R] - down * tile, min(step[HEIGHT] - down * jump, jump)
        inner = _clipped(step[WIDTH_R] // tile, left, right) if rows_r >= tile else left
        call(
            step[OUTPUT],
            at(start, left * width),
            step[M_POINT],
            bias,
            at(place_r, left * (tile * width)),
            line_r,
            at(place, left * (jump * width)),
            line,
            low,
            high,
            inner - left,
        )
        for k in range(inner, right):
            call(
                step[OUTPUT_EDGE],
                at(start, k * width),
                step[M_POINT],
                bias,
                at(place_r, k * (tile * width)),
                line_r,
                at(place, k * (jump * width)),
                line,
                low,
                high,
                rows_r,
                step[WIDTH_R] - k * tile,
                rows,
                step[WIDTH] - k * jump,
            )
        if step[FINISH] != 0:
            columns = min(step[WIDTH], right * jump) - left * jump
            call(
                step[FINISH],
                at(place, left * (jump * width)),
                rows,
                columns * width,
                line,
                number(double_bits(step[ALPHA]), like),
                number(double_bits(step[BETA]), like),
            )
        t += right - left


@compiled_part
def _multiply(
    step: Any, like: Any, point: Any, panel: Any, first: Any, end: Any, v: Any, m: Any
) -> None:
    """The products of one point for groups first .. end of tiles and one panel of channels."""
    width, room = lanes(like), step[ROOM]
    last = panel == step[PANELS] - 1
    of_block = (step[LAST] if last else step[VECTORS]) * (width * width)
    u = at(pointer(step[U], like), panel * step[PANEL_STEP])
    u = at(u, point * (step[LAST_POINT_STEP] if last else step[POINT_STEP]))
    codes = at(step, CODES + 2 if last else CODES)
    none, low, high = pointer(0, like), number(-inf, like), number(inf, like)
    longer = max(min(end, step[GROUP_LONGER]) - first, 0)
    for piece in range(step[PIECES]):
        low_block, high_block = share(step[IN_BLOCKS], piece, step[PIECES])
        ahead, stride = at(u, high_block * of_block), blocks(of_block, (end - first) * width)
        place = 0
        for short in range(2):
            tiles = end - first - longer if short else longer
            if tiles == 0:
                continue
            call(
                codes[short],
                at(v, place),
                0,
                at(pointer(step[SEGMENTS], step), low_block),
                high_block - low_block,
                at(u, low_block * of_block),
                at(m, place),
                0,
                room * width,
                none,
                none,
                0,
                0,
                piece,  # whether it adds to what is there
                low,
                high,
                ahead,  # the next weights
                stride,
                tiles,
            )
            place += tiles * (step[GROUP_SIZE] - short) * width
            ahead = at(ahead, tiles * stride * (high_block - low_block) * width)


def fused(step: Any, like: Any, part: Any, parts: Any) -> None:
    """Kernel: blocks of tiles whose V and M stay in the cache."""
    width, room = lanes(like), step[ROOM]
    v = at(pointer(step[SCRATCH], like), part * step[SCRATCH_EACH])
    m = at(v, step[M_PLACE])
    first, end = share(step[GROUPS], part, parts)
    count = blocks(end - first, step[BLOCK_GROUPS])
    for i in range(count):
        low, high = share(end - first, i, count)
        start, stop = _group_start(step, first + low), _group_start(step, first + high)
        for block in range(step[IN_BLOCKS]):
            _input_tiles(step, like, block, start, stop, at(v, block * (room * width)))
        for panel in range(step[PANELS]):
            for point in range(step[POINTS]):
                _multiply(
                    step,
                    like,
                    point,
                    panel,
                    first + low,
                    first + high,
                    at(v, point * step[V_POINT]),
                    at(m, point * step[M_POINT]),
                )
            channels = panel * step[VECTORS]
            for block in range(channels, min(channels + step[VECTORS], step[OUT_BLOCKS])):
                source = at(m, (block - channels) * (room * width))
                _output_tiles(step, like, block, start, stop, source)


def transform_inputs(step: Any, like: Any, part: Any, parts: Any) -> None:
    """Kernel: the first of three phases, V of all tiles; parts share blocks and lines of tiles."""
    lines, across = step[TILES] // step[ACROSS], step[ACROSS]
    v = pointer(step[SCRATCH], like)
    first, end = share(step[IN_BLOCKS] * lines, part, parts)
    for block in range(first // lines, blocks(end, lines)):
        low, high = max(first - block * lines, 0), min(end - block * lines, lines)
        target = at(v, (block * step[ROOM] + low * across) * lanes(like))
        _input_tiles(step, like, block, low * across, high * across, target)


def multiply_points(step: Any, like: Any, part: Any, parts: Any) -> None:
    """Kernel: the second of three phases, M of all tiles; parts share points and panels."""
    v, panels = pointer(step[SCRATCH], like), step[PANELS]
    panel_size = step[VECTORS] * step[ROOM] * lanes(like)
    first, end = share(step[POINTS] * panels, part, parts)
    for item in range(first, end):
        point = item // panels
        panel = item - point * panels
        m = at(v, step[M_PLACE] + point * step[M_POINT] + panel * panel_size)
        _multiply(step, like, point, panel, 0, step[GROUPS], at(v, point * step[V_POINT]), m)


def transform_outputs(step: Any, like: Any, part: Any, parts: Any) -> None:
    """Kernel: the last of three phases, y of all tiles; parts share blocks and lines of tiles."""
    lines, across = step[TILES] // step[ACROSS], step[ACROSS]
    m = at(pointer(step[SCRATCH], like), step[M_PLACE])
    first, end = share(step[OUT_BLOCKS] * lines, part, parts)
    for block in range(first // lines, blocks(end, lines)):
        low, high = max(first - block * lines, 0), min(end - block * lines, lines)
        source = at(m, (block * step[ROOM] + low * across) * lanes(like))
        _output_tiles(step, like, block, low * across, high * across, source)
