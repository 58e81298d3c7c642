"""A channel shuffle as the three standard operators that say it."""

from __future__ import annotations

from irconv.backends.onnx.records import Emitter, Site
from irconv.dim import known
from irconv.ops.rearrange import ChannelShuffle


def channel_shuffle(out: Emitter, site: Site) -> tuple[str, ...]:
    """ChannelShuffle => Reshape, Transpose, Reshape."""
    op, x, kind = site.op, site.operand(0), site.type(0)
    assert isinstance(op, ChannelShuffle)
    if 0 in kind.shape:
        return (out.add("Identity", [x]),)
    channels, spatial = known(kind.shape[1]), kind.shape[2:]
    # where sizes are not known they run together, and the image's own shape tells them in the end
    static = all(isinstance(d, int) for d in spatial)
    pixels = [known(d) for d in spatial] if static else [-1]
    split = out.reshape(x, (0, op.group, channels // op.group, *pixels))
    turned = out.transpose(split, (0, 2, 1, *range(3, 3 + len(pixels))))
    if not static:
        return (out.add("Reshape", [turned, out.add("Shape", [x])]),)
    return (out.reshape(turned, (0, channels, *pixels)),)
