"""SqueezeNet 1.1 (Iandola et al. 2016, "AlexNet-level accuracy with 50x fewer parameters")."""

from __future__ import annotations

from irconv.builder import Builder, Handle
from irconv.graph import Graph


def squeezenet(
    batch: int | str = "N", classes: int = 1000, seed: int = 0, image: int = 224
) -> Graph:
    """SqueezeNet 1.1: 1.24 million parameters, 0.35 GMAC, no dense layer.


    The output is `prob` [batch, classes], the softmax of `logits`.
    """
    b = Builder("squeezenet", seed=seed, centred=True)
    x = b.input("image", (batch, 3, image, image))
    x = b.relu(b.conv(x, 64, kernel=3, strides=2))
    x = b.max_pool(x, 3, strides=2, ceil_mode=True)
    x = _fire(b, "fire2", x, squeezed=16, expanded=64)
    x = _fire(b, "fire3", x, squeezed=16, expanded=64)
    x = b.max_pool(x, 3, strides=2, ceil_mode=True)
    x = _fire(b, "fire4", x, squeezed=32, expanded=128)
    x = _fire(b, "fire5", x, squeezed=32, expanded=128)
    x = b.max_pool(x, 3, strides=2, ceil_mode=True)
    x = _fire(b, "fire6", x, squeezed=48, expanded=192)
    x = _fire(b, "fire7", x, squeezed=48, expanded=192)
    x = _fire(b, "fire8", x, squeezed=64, expanded=256)
    x = _fire(b, "fire9", x, squeezed=64, expanded=256)
    x = b.relu(b.conv(x, classes, kernel=1, gain=10.0))
    x = b.flatten(b.global_average_pool(x), name="logits")
    b.output(b.softmax(x), "prob")
    return b.build()


def _fire(b: Builder, name: str, x: Handle, squeezed: int, expanded: int) -> Handle:
    """Few channels from a 1x1 convolution, many from a 1x1 and a 3x3 side by side."""
    with b.scope(name):
        x = b.relu(b.conv(x, squeezed, kernel=1, name="squeeze"))
        ones = b.relu(b.conv(x, expanded, kernel=1, name="expand1x1"))
        threes = b.relu(b.conv(x, expanded, kernel=3, pads=1, name="expand3x3"))
        return b.concat([ones, threes])
