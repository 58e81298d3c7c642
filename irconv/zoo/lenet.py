"""LeNet-5 (LeCun et al. 1998, "Gradient-based learning applied to document recognition")."""

from __future__ import annotations

from irconv.builder import Builder
from irconv.graph import Graph


def lenet5(batch: int | str = "N", classes: int = 10, seed: int = 0, image: int = 28) -> Graph:
    """LeNet-5: digits from 28x28 grey pixels, 61.7 thousand parameters.

    tanh and average pools, as in the paper; the sparse connections of its third layer and the
    trainable coefficients of its pools are left out, as everyone does.
    The output is `prob` [batch, classes], the softmax of `logits`.
    """
    b = Builder("lenet5", seed=seed, centred=True)
    x = b.input("image", (batch, 1, image, image))
    x = b.tanh(b.conv(x, 6, kernel=5, pads=2, gain=1.0))
    x = b.average_pool(x, 2)
    x = b.tanh(b.conv(x, 16, kernel=5, gain=2.5))
    x = b.average_pool(x, 2)
    x = b.tanh(b.conv(x, 120, kernel=5, gain=2.5))
    x = b.tanh(b.dense(b.flatten(x), 84, gain=1.5))
    x = b.dense(x, classes, gain=1.5, name="logits")
    b.output(b.softmax(x), "prob")
    return b.build()
