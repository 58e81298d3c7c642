"""GoogLeNet (Szegedy et al. 2014, "Going deeper with convolutions")."""

from __future__ import annotations

from irconv.builder import Builder, Handle
from irconv.graph import Graph

# channels of 1x1; 3x3 reduced, 3x3; 5x5 reduced, 5x5; pool projection (table 1 of the paper)
_BLOCKS = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


def googlenet(
    batch: int | str = "N", classes: int = 1000, seed: int = 0, image: int = 224
) -> Graph:
    """GoogLeNet with local response normalization, as in the paper: 7.0 million parameters.

    1.6 GMAC; without the auxiliary classifiers, which only train it. torchvision's variant has
    batch normalization, and 3x3 where the paper has 5x5.
    The output is `prob` [batch, classes], the softmax of `logits`.
    """
    b = Builder("googlenet", seed=seed, centred=True)
    x = b.input("image", (batch, 3, image, image))
    x = b.relu(b.conv(x, 64, kernel=7, strides=2, pads=3))
    x = b.lrn(b.max_pool(x, 3, strides=2, ceil_mode=True))
    x = b.relu(b.conv(x, 64, kernel=1))
    x = b.lrn(b.relu(b.conv(x, 192, kernel=3, pads=1)))
    x = b.max_pool(x, 3, strides=2, ceil_mode=True)
    for name, channels in _BLOCKS.items():
        if name in {"4a", "5a"}:
            x = b.max_pool(x, 3, strides=2, ceil_mode=True)
        with b.scope(f"inception{name}"):
            x = _inception(b, x, *channels)
    x = b.flatten(b.global_average_pool(x))
    x = b.dense(x, classes, name="logits")
    b.output(b.softmax(x), "prob")
    return b.build()


def _inception(
    b: Builder, x: Handle, ones: int, few3: int, threes: int, few5: int, fives: int, pooled: int
) -> Handle:
    """Four branches side by side."""
    one = b.relu(b.conv(x, ones, kernel=1))
    three = b.relu(b.conv(x, few3, kernel=1))
    three = b.relu(b.conv(three, threes, kernel=3, pads=1))
    five = b.relu(b.conv(x, few5, kernel=1))
    five = b.relu(b.conv(five, fives, kernel=5, pads=2))
    pool = b.max_pool(x, 3, strides=1, pads=1)
    pool = b.relu(b.conv(pool, pooled, kernel=1))
    return b.concat([one, three, five, pool])
