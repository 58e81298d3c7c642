"""AlexNet in one tower (Krizhevsky 2014, "One weird trick for parallelizing CNNs")."""

from __future__ import annotations

from irconv.builder import Builder
from irconv.graph import Graph


def alexnet(batch: int | str = "N", classes: int = 1000, seed: int = 0, image: int = 224) -> Graph:
    """AlexNet in one tower, as torchvision has it: 61.1 million parameters, 0.71 GMAC.

    Without local response normalization and groups, which the two-tower network of 2012 has, and
    without dropout, which does nothing at inference.
    The output is `prob` [batch, classes], the softmax of `logits`.
    """
    b = Builder("alexnet", seed=seed, centred=True)
    x = b.input("image", (batch, 3, image, image))
    x = b.relu(b.conv(x, 64, kernel=11, strides=4, pads=2))
    x = b.max_pool(x, 3, strides=2)
    x = b.relu(b.conv(x, 192, kernel=5, pads=2))
    x = b.max_pool(x, 3, strides=2)
    x = b.relu(b.conv(x, 384, kernel=3, pads=1))
    x = b.relu(b.conv(x, 256, kernel=3, pads=1))
    x = b.relu(b.conv(x, 256, kernel=3, pads=1))
    x = b.max_pool(x, 3, strides=2)
    x = b.relu(b.dense(b.flatten(x), 4096))
    x = b.relu(b.dense(x, 4096))
    x = b.dense(x, classes, gain=1.0, name="logits")
    b.output(b.softmax(x), "prob")
    return b.build()
