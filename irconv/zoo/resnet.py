"""ResNet (He et al. 2015, "Deep residual learning for image recognition")."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

from irconv.builder import Builder, Handle
from irconv.graph import Graph

# (builder, x, channels, stride, gain of the last normalization) -> the residual branch
Branch: TypeAlias = Callable[[Builder, Handle, int, int, float], Handle]


def resnet18(batch: int | str = "N", classes: int = 1000, seed: int = 0, image: int = 224) -> Graph:
    """ResNet-18: 11.7 million parameters, 1.8 GMAC.


    The output is `prob` [batch, classes], the softmax of `logits`.
    """
    return _resnet("resnet18", _basic, (2, 2, 2, 2), 1, batch, classes, seed, image)


def resnet50(batch: int | str = "N", classes: int = 1000, seed: int = 0, image: int = 224) -> Graph:
    """ResNet-50: 25.6 million parameters, 4.1 GMAC.

    The stride is in the 3x3 convolution (version 1.5, as in torchvision).

    The output is `prob` [batch, classes], the softmax of `logits`.
    """
    return _resnet("resnet50", _bottleneck, (3, 4, 6, 3), 4, batch, classes, seed, image)


def resnet152(
    batch: int | str = "N", classes: int = 1000, seed: int = 0, image: int = 224
) -> Graph:
    """ResNet-152: 60.2 million parameters, 11.5 GMAC.

    The stride is in the 3x3 convolution (version 1.5, as in torchvision).

    The output is `prob` [batch, classes], the softmax of `logits`.
    """
    return _resnet("resnet152", _bottleneck, (3, 8, 36, 3), 4, batch, classes, seed, image)


def _resnet(
    name: str,
    branch: Branch,
    depths: Sequence[int],
    expansion: int,
    batch: int | str,
    classes: int,
    seed: int,
    image: int,
) -> Graph:
    b = Builder(name, seed=seed, centred=True)
    x = b.input("image", (batch, 3, image, image))
    x = b.relu(_normalized(b, x, 64, kernel=7, stride=2))
    x = b.max_pool(x, 3, strides=2, pads=1)
    for stage, depth in enumerate(depths):
        with b.scope(f"stage{stage + 1}"):
            x = _stage(b, x, branch, depth, 64 << stage, expansion, stride=1 if stage == 0 else 2)
    x = b.flatten(b.global_average_pool(x))
    x = b.dense(x, classes, gain=2.5, name="logits")
    b.output(b.softmax(x), "prob")
    return b.build()


def _stage(
    b: Builder, x: Handle, branch: Branch, depth: int, channels: int, expansion: int, stride: int
) -> Handle:
    """Blocks relu(x + branch(x)), scaled so that a deep stage grows no more than a shallow one."""
    gain = 0.5 / math.sqrt(depth)
    for block in range(depth):
        with b.scope(f"block{block + 1}"):
            shortcut = x
            if block == 0 and (stride != 1 or x.shape[1] != channels * expansion):
                with b.scope("shortcut"):
                    shortcut = _normalized(b, x, channels * expansion, kernel=1, stride=stride)
            x = b.relu(shortcut + branch(b, x, channels, stride if block == 0 else 1, gain))
    return x


def _basic(b: Builder, x: Handle, channels: int, stride: int, gain: float) -> Handle:
    x = b.relu(_normalized(b, x, channels, kernel=3, stride=stride))
    return _normalized(b, x, channels, kernel=3, gain=gain)


def _bottleneck(b: Builder, x: Handle, channels: int, stride: int, gain: float) -> Handle:
    x = b.relu(_normalized(b, x, channels, kernel=1))
    x = b.relu(_normalized(b, x, channels, kernel=3, stride=stride))
    return _normalized(b, x, channels * 4, kernel=1, gain=gain)


def _normalized(
    b: Builder, x: Handle, channels: int, kernel: int, stride: int = 1, gain: float = 1.0
) -> Handle:
    """A convolution without bias and its batch normalization."""
    y = b.conv(x, channels, kernel, strides=stride, pads=kernel // 2, bias=False)
    return b.batch_norm(y, gain=gain)
