"""C3D, a network on video (Tran et al. 2015, "Learning spatiotemporal features with 3D CNNs")."""

from __future__ import annotations

from irconv.builder import Builder
from irconv.graph import Graph


def c3d(
    batch: int | str = "N", classes: int = 487, seed: int = 0, frames: int = 16, image: int = 112
) -> Graph:
    """C3D, 3-D convolutions on 16 frames of 112x112 pixels: 80 million parameters, 38.5 GMAC.

    The input is `video` [batch, 3, frames, image, image]; the output is `prob` [batch, classes],
    the softmax of `logits`.
    """
    b = Builder("c3d", seed=seed, centred=True)
    x = b.input("video", (batch, 3, frames, image, image))
    x = b.relu(b.conv(x, 64, kernel=3, pads=1))
    x = b.max_pool(x, (1, 2, 2))
    x = b.relu(b.conv(x, 128, kernel=3, pads=1))
    x = b.max_pool(x, 2)
    x = b.relu(b.conv(x, 256, kernel=3, pads=1))
    x = b.relu(b.conv(x, 256, kernel=3, pads=1))
    x = b.max_pool(x, 2)
    x = b.relu(b.conv(x, 512, kernel=3, pads=1))
    x = b.relu(b.conv(x, 512, kernel=3, pads=1))
    x = b.max_pool(x, 2)
    x = b.relu(b.conv(x, 512, kernel=3, pads=1))
    x = b.relu(b.conv(x, 512, kernel=3, pads=1))
    x = b.max_pool(x, 2, pads=(0, 1, 1))
    x = b.relu(b.dense(b.flatten(x), 4096))
    x = b.relu(b.dense(x, 4096))
    x = b.dense(x, classes, gain=0.7, name="logits")
    b.output(b.softmax(x), "prob")
    return b.build()
