"""A convolution of values in blocks: where its operands lie, and how its work is cut."""

from __future__ import annotations

from dataclasses import dataclass, replace

from irconv.backends.numba_cpu.blocked.launches import F32
from irconv.backends.numba_cpu.blocked.storage import Storage
from irconv.backends.numba_cpu.blocked.tile import lanes, most_rows
from irconv.backends.numba_cpu.blocked.tiling import Panels, Pieces, Rectangle, Tiling
from irconv.backends.numba_cpu.step import Epilogue
from irconv.geometry import ConvGeometry, Ints

_CACHE = 960 << 10  # bytes of a panel's weights and the input of a band: a second cache
_LEAST_BAND = 640 << 10
_FLAT_TILES = 4  # of a unit of pixels


@dataclass(frozen=True)
class Layer:
    """y = activation(conv(x, w) + b + residual), all in blocks, of two spatial axes."""

    geometry: ConvGeometry
    x: Storage
    y: Storage
    residual: Storage | None
    ending: Epilogue

    @property
    def first(self) -> int:
        """The element of x that the first tap of the first output pixel reads."""
        top, left = self.geometry.pads[:2]
        return self.x.origin - top * self.x.line - left * self.x.block

    @property
    def depth(self) -> int:
        """Products of one output element, those with what fills up a block too."""
        channels = self.geometry.in_channels // self.geometry.group
        return -(-channels // self.x.block) * self.x.block * self.geometry.taps

    def is_possible(self) -> bool:
        """Whether a kernel runs it: the halo holds all padding, blocks are whole vectors."""
        written = [self.y, *([self.residual] if self.residual is not None else [])]
        order = self.x.order if self.is_depthwise() else None
        return (
            all(v.block == lanes() and v.order == order for v in written)
            and all(n <= h for n, h in zip(self._reach(), self.x.halo, strict=True))
            and (self.geometry.group == 1 or self.x.block == lanes())
        )

    def is_pointwise(self) -> bool:
        """Whether each output pixel is made of one pixel of x, which is in blocks of one vector."""
        g = self.geometry
        single = (*g.kernel, g.group) == (1, 1, 1) and not any(g.pads)
        return single and self.x.block == lanes()

    def is_depthwise(self) -> bool:
        """Whether each channel is by itself."""
        g = self.geometry
        return g.group == g.in_channels == g.out_channels and g.group > 1

    def has_whole_groups(self) -> bool:
        """Whether the groups are blocks of channels, which lie in their order."""
        g = self.geometry
        if g.group == 1:
            return True
        sizes = (g.in_channels // g.group, g.out_channels // g.group)
        return self.x.order is None and not any(size % lanes() for size in sizes)

    def _reach(self) -> tuple[int, ...]:
        """How many pixels above, left, below and right of the image are read."""
        g = self.geometry
        ends = []
        for axis, out in enumerate(g.out):
            last = (out - 1) * g.strides[axis] + (g.kernel[axis] - 1) * g.dilations[axis]
            ends.append(last - g.pads[axis] + 1 - g.image[axis])
        return (*g.pads[:2], *ends)

    def tiling(self, parts: int) -> Tiling:
        """How the work is cut."""
        height, width = self.y.height, self.y.width
        panels = self.panels
        if self.is_flat():
            units = self._flat_units(panels, parts)
        else:
            lines = Rectangle.of(height, width, panels.vectors).lines.size
            units = Pieces.most(height, lines)
        bands = -(-units.count // self._band(units)) if panels.count > 1 else 1
        return Tiling(units, width, self.is_flat(), -(-units.count // bands), panels, self.depth)

    @property
    def panels(self) -> Panels:
        """The panels of one group."""
        blocks = -(-(self.geometry.out_channels // self.geometry.group) // lanes())
        return Panels.of(blocks, self.y.height * self.y.width)

    def _flat_units(self, panels: Panels, parts: int) -> Pieces:
        """Pixels of the image as one line: some tiles each, if all parts have enough of them."""
        pixels = self.y.height * self.y.width
        tiles = -(-pixels // most_rows(panels.vectors))
        items = tiles * self.y.images * self.geometry.group * panels.count
        each = max(min(_FLAT_TILES, items // (4 * parts)), 1)
        return Pieces(pixels, -(-tiles // each))

    def _band(self, units: Pieces) -> int:
        """How many units have an input that stays in a cache beside the weights of a panel."""
        g = self.geometry
        panel = self.depth * self.panels.vectors * lanes() * F32.itemsize
        room = max(_CACHE - panel, _LEAST_BAND)
        if self.is_flat():
            return max(room // (units.size * self.depth * F32.itemsize), 1)
        line = -(-(g.in_channels // g.group) // self.x.block) * self.x.line * F32.itemsize
        overlap = max((g.kernel[0] - 1) * g.dilations[0] + 1 - g.strides[0], 0)
        return max((room - overlap * line) // (units.size * g.strides[0] * line), 1)

    def is_flat(self) -> bool:
        """Whether an image may be read and written as one long line."""
        g = self.geometry
        values = [self.x, self.y, *([self.residual] if self.residual is not None else [])]
        return (
            (*g.kernel, *g.strides) == (1, 1, 1, 1)
            and not any(g.pads)
            and all(v.line == v.width * v.block for v in values)
        )


def of_two_axes(geometry: ConvGeometry) -> ConvGeometry:
    """A convolution of one axis as one of images of one line."""
    if geometry.rank == 2:
        return geometry

    def lead(values: Ints, fill: int) -> Ints:
        return (fill, *values)

    begin, end = geometry.pads
    return replace(
        geometry,
        image=lead(geometry.image, 1),
        kernel=lead(geometry.kernel, 1),
        strides=lead(geometry.strides, 1),
        dilations=lead(geometry.dilations, 1),
        pads=(0, begin, 0, end),
    )
