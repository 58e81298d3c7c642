"""VGG (Simonyan and Zisserman 2014, "Very deep convolutional networks")."""

from __future__ import annotations

from collections.abc import Sequence

from irconv.builder import Builder
from irconv.graph import Graph


def vgg16(batch: int | str = "N", classes: int = 1000, seed: int = 0, image: int = 224) -> Graph:
    """VGG-16, configuration D: 138.4 million parameters, 15.5 GMAC.


    The output is `prob` [batch, classes], the softmax of `logits`.
    """
    return _vgg("vgg16", (2, 2, 3, 3, 3), batch, classes, seed, image)


def vgg19(batch: int | str = "N", classes: int = 1000, seed: int = 0, image: int = 224) -> Graph:
    """VGG-19, configuration E: 143.7 million parameters, 19.6 GMAC.


    The output is `prob` [batch, classes], the softmax of `logits`.
    """
    return _vgg("vgg19", (2, 2, 4, 4, 4), batch, classes, seed, image)


def _vgg(
    name: str, depths: Sequence[int], batch: int | str, classes: int, seed: int, image: int
) -> Graph:
    """Stages of 3x3 convolutions, each ended by a pool; then three dense layers."""
    b = Builder(name, seed=seed, centred=True)
    x = b.input("image", (batch, 3, image, image))
    for stage, (depth, channels) in enumerate(
        zip(depths, (64, 128, 256, 512, 512), strict=True), 1
    ):
        with b.scope(f"stage{stage}"):
            for _ in range(depth):
                x = b.relu(b.conv(x, channels, kernel=3, pads=1))
            x = b.max_pool(x, 2)
    x = b.relu(b.dense(b.flatten(x), 4096))
    x = b.relu(b.dense(x, 4096))
    x = b.dense(x, classes, gain=0.7, name="logits")
    b.output(b.softmax(x), "prob")
    return b.build()
