"""Direct convolution of values in blocks: no packing at run time, the halo stands for padding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from irconv.backends.numba_cpu.jit import compiled_part
from irconv.backends.numba_cpu.pointers import at, call, double_bits, lanes, number, pointer
from irconv.backends.numba_cpu.work import blocks

# The row of a convolution: addresses, then numbers.
# fmt: off
(
    CODE, X, WEIGHTS, BIAS, RESIDUAL, Y, SEGMENTS, SHARES,
    GROUPS, PANELS, VECTORS, LAST,          # panels of a group, blocks of one and of the last
    UNITS, UNIT_SIZE, UNIT_LONGER, BAND,    # see `tiling.Tiling`
    X_IMAGE, X_GROUP, X_LINE, X_PIXEL, X_UNIT,      # elements from one to the next
    Y_IMAGE, Y_GROUP, Y_PLANE, Y_LINE, Y_UNIT,
    R_IMAGE, R_GROUP, R_PLANE, R_LINE, R_UNIT,
    COUNT, RUN,                             # segments of K, elements of one
    LOW, HIGH, FINISH, ALPHA, BETA,         # the epilogue; see `slots`
    FIXED,
) = range(39)
# How a unit is cut into tiles; one for units of UNIT_SIZE and one for those of one less, first for
# the panels of VECTORS, then for the last one.
(
    LINES, LINE_SIZE, LINE_LONGER,          # pieces, the size of the first LINE_LONGER of them
    PIXELS, PIXEL_SIZE, PIXEL_LONGER,
    CODES,                                  # of four tiles: [longer lines or not][longer pixels]
) = range(7)
RECTANGLE = CODES + 4
ROW = FIXED + 4 * RECTANGLE
# fmt: on


@compiled_part
def part_of(shares: Any, part: Any, parts: Any) -> Any:
    """The first item of a part and its end: see `Tiling.shares`."""
    place = (parts - 1) * (parts + 2) // 2 + part
    return shares[place], shares[place + 1]


@compiled_part
def run_tiles(
    step: Any, tiles: Any, source: Any, constants: Any, y: Any, residual: Any, ahead: Any
) -> None:
    """Some tiles side by side. `tiles`: the code of one and their number. `source`: x, the elements
    from one of its lines to the next, the address of the segments. `constants`: weights and bias.
    `ahead`: the place of weights to ask for and its step.
    """
    x, line, segments = source
    weights, bias = constants
    call(
        tiles[0],
        x,
        line,
        pointer(segments, step),
        step[COUNT],
        weights,
        y,
        step[Y_LINE],
        step[Y_PLANE],
        bias,
        residual,
        step[R_LINE],
        step[R_PLANE],
        0,
        number(double_bits(step[LOW]), y),
        number(double_bits(step[HIGH]), y),
        ahead[0],
        ahead[1],
        tiles[1],
    )


@compiled_part
def convolve_lines(
    step: Any, tiles: Any, x: Any, constants: Any, y: Any, residual: Any, ahead: Any
) -> Any:
    """Some lines, as many as one tile has: the longer tiles, then the others.

    `tiles`: how the pixels of a line are cut, and the codes of both. `constants`: weights and bias.
    `ahead`: steps of K, the place of weights to ask for and its step. The place after that.
    """
    pixels, codes = tiles
    depth, wanted, ahead_step = ahead
    pixel = 0
    for short in range(2):
        count = pixels[0] - pixels[2] if short else pixels[2]
        if count == 0:
            continue
        run_tiles(
            step,
            (codes[short], count),
            (at(x, pixel * step[X_PIXEL]), step[X_LINE], step[SEGMENTS]),
            constants,
            at(y, pixel * lanes(y)),
            at(residual, pixel * lanes(y)) if step[RESIDUAL] != 0 else residual,
            (wanted, ahead_step),
        )
        wanted = at(wanted, depth * ahead_step * count)
        pixel += (pixels[1] - short) * count
    return wanted


@compiled_part
def _finish_unit(step: Any, cut: Any, vectors: Any, y: Any) -> None:
    """The activation over what was just written."""
    lines = cut[LINES] * (cut[LINE_SIZE] - 1) + cut[LINE_LONGER]
    pixels = cut[PIXELS] * (cut[PIXEL_SIZE] - 1) + cut[PIXEL_LONGER]
    for line in range(lines):
        call(
            step[FINISH],
            at(y, line * step[Y_LINE]),
            vectors,
            pixels * lanes(y),
            step[Y_PLANE],
            number(double_bits(step[ALPHA]), y),
            number(double_bits(step[BETA]), y),
        )


def panels_of(unit_of: Callable[..., Any]) -> Callable[..., None]:
    """The function of some units of a panel that makes each of them by `unit_of`."""

    @compiled_part
    def convolve_panel(
        step: Any, group: Any, panels: Any, units: Any, x: Any, y: Any, residual: Any
    ) -> None:
        """Units units[0] .. units[1] of panel panels[0].

        x is where image and group begin, and the part; y and residual point there too. panels[1]
        tells whether the first panel follows on the last.
        """
        panel, again = panels
        last = panel == step[PANELS] - 1
        vectors = step[LAST] if last else step[VECTORS]
        before = panel * step[VECTORS]
        all_blocks = (step[PANELS] - 1) * step[VECTORS] + step[LAST]
        depth = step[COUNT] * step[RUN]
        size = depth * lanes(y)
        weights = at(pointer(step[WEIGHTS], y), (group * all_blocks + before) * size)
        bias = pointer(step[BIAS], y)
        if step[BIAS] != 0:
            bias = at(bias, (group * all_blocks + before) * lanes(y))
        cuts = at(step, FIXED + 2 * RECTANGLE) if last else at(step, FIXED)
        # Each tile asks for some of the next panel's weights: they may have to come from far.
        ahead = at(weights, -before * size) if last else at(weights, vectors * size)
        tiles = (units[1] - units[0]) * cuts[LINES] * cuts[PIXELS]
        is_next = (not last) or (again != 0 and before != 0)
        ahead_step = blocks(step[VECTORS] * lanes(y), tiles) if is_next else 0
        for unit in range(units[0], units[1]):
            start = unit * (step[UNIT_SIZE] - 1) + min(unit, step[UNIT_LONGER])
            cut = cuts if unit < step[UNIT_LONGER] else at(cuts, RECTANGLE)
            target = at(y, before * step[Y_PLANE] + start * step[Y_UNIT])
            added = residual
            if step[RESIDUAL] != 0:
                added = at(residual, before * step[R_PLANE] + start * step[R_UNIT])
            ahead = unit_of(
                step, cut, (x, start), weights, bias, target, added, (depth, ahead, ahead_step)
            )
            if step[FINISH] != 0:
                _finish_unit(step, cut, vectors, target)

    return convolve_panel


def kernel_of(name: str, panel_of: Callable[..., None]) -> Callable[..., None]:
    """The kernel of this name that works panel by panel, by a function that `panel_of` made."""

    def kernel(step: Any, like: Any, part: Any, parts: Any) -> None:
        item, end = part_of(pointer(step[SHARES], step), part, parts)
        of_image = step[PANELS] * step[UNITS]
        of_band = step[PANELS] * step[BAND]
        while item < end:
            repeat = item // of_image
            rest = item - repeat * of_image
            band = rest // of_band
            rest -= band * of_band
            units = min(step[BAND], step[UNITS] - band * step[BAND])
            panel = rest // units
            unit = rest - panel * units
            count = min(units - unit, end - item)
            image = repeat // step[GROUPS]
            group = repeat - image * step[GROUPS]
            first = band * step[BAND] + unit
            x = at(pointer(step[X], like), image * step[X_IMAGE] + group * step[X_GROUP])
            y = at(pointer(step[Y], like), image * step[Y_IMAGE] + group * step[Y_GROUP])
            residual = pointer(step[RESIDUAL], like)
            if step[RESIDUAL] != 0:
                residual = at(residual, image * step[R_IMAGE] + group * step[R_GROUP])
            more = int(first + count < step[UNITS])
            panel_of(step, group, (panel, more), (first, first + count), (x, part), y, residual)
            item += count

    kernel.__qualname__ = name  # the cache of machine code knows a function by its name
    return kernel


@compiled_part
def _convolve_unit(
    step: Any, cut: Any, place: Any, weights: Any, bias: Any, y: Any, residual: Any, ahead: Any
) -> Any:
    """The tiles of a unit; the place of weights that the next tile asks for.

    `place`: x as `convolve_panel` has it, and the first line (or pixel) of the unit.
    """
    x = at(place[0][0], place[1] * step[X_UNIT])
    depth, wanted, ahead_step = ahead
    line = 0
    for i in range(cut[LINES]):
        short = int(i >= cut[LINE_LONGER])
        added = residual
        if step[RESIDUAL] != 0:
            added = at(residual, line * step[R_LINE])
        wanted = convolve_lines(
            step,
            (at(cut, PIXELS), at(cut, CODES + 2 * short)),
            at(x, line * step[X_LINE]),
            (weights, bias),
            at(y, line * step[Y_LINE]),
            added,
            (depth, wanted, ahead_step),
        )
        line += cut[LINE_SIZE] - short
    return wanted


convolve_panel = panels_of(_convolve_unit)
# Kernel: one convolution with bias, residual and activation.
convolve = kernel_of("convolve", convolve_panel)
