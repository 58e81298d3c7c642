"""Where the elements of a value in blocks are, as kernels need it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from irconv.layout import Layout


@dataclass(frozen=True)
class Storage:
    """`[images, channels, height, width]` in blocks of `block` channels; strides in elements.

    Element (n, c, h, w) is at `origin + n * image + c // block * plane + h * line + w * block +
    c % block`. A value may be part of a larger one (an operand of a concatenation): then `image`
    is the larger one's and `origin` holds the place of its first block. Where `order` is given,
    channel c stands where by this rule channel order[c] would.
    """

    images: int
    channels: int
    height: int
    width: int
    block: int
    halo: tuple[int, int, int, int]  # zeros above, left, below, right
    image: int
    plane: int
    line: int
    origin: int
    order: tuple[int, ...] | None = None

    @property
    def blocks(self) -> int:
        """Blocks of channels."""
        return -(-self.channels // self.block)

    @property
    def slots(self) -> tuple[int, ...]:
        """For each channel its place among the stored ones."""
        return tuple(range(self.channels)) if self.order is None else self.order

    def within(self, whole: Storage, channel: int) -> Storage:
        """This value as channels `channel`, ... of a larger one whose planes are as large."""
        assert (whole.plane, whole.line, whole.halo) == (self.plane, self.line, self.halo)
        first = channel // self.block * self.plane
        return replace(self, image=whole.image, origin=whole.origin + first)


def storage(shape: tuple[int, ...], layout: Layout) -> Storage:
    """The storage of a value of its own, of 1 or 2 spatial axes (1: an image of one line)."""
    images, channels, *spatial = shape
    begins, ends = layout.halo[: layout.rank], layout.halo[layout.rank :]
    lead = 2 - layout.rank
    height, width = (1,) * lead + tuple(spatial)
    top, left = (0,) * lead + begins
    bottom, right = (0,) * lead + ends
    line = (left + width + right) * layout.block
    plane = (top + height + bottom) * line
    blocks = -(-channels // layout.block)
    return Storage(
        images,
        channels,
        height,
        width,
        layout.block,
        (top, left, bottom, right),
        blocks * plane,
        plane,
        line,
        top * line + left * layout.block,
    )
