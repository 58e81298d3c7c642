"""MobileNetV2 (Sandler et al. 2018, "Inverted residuals and linear bottlenecks")."""

from __future__ import annotations

from irconv.builder import Builder, Handle
from irconv.graph import Graph

# expansion, channels, repetitions, stride of the first (table 2 of the paper)
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def mobilenet_v2(
    batch: int | str = "N", classes: int = 1000, seed: int = 0, image: int = 224
) -> Graph:
    """MobileNetV2 of width 1: 3.5 million parameters, 0.3 GMAC, depthwise convolutions and ReLU6.


    The output is `prob` [batch, classes], the softmax of `logits`.
    """
    b = Builder("mobilenet_v2", seed=seed, centred=True)
    x = b.input("image", (batch, 3, image, image))
    x = b.relu6(b.batch_norm(b.conv(x, 32, kernel=3, strides=2, pads=1, bias=False)))
    width = 32
    for stage, (expansion, channels, repetitions, stride) in enumerate(_STAGES, 1):
        for block in range(repetitions):
            with b.scope(f"stage{stage}.block{block + 1}"):
                step = stride if block == 0 else 1
                x = _inverted_residual(b, x, width, expansion, channels, step)
            width = channels
    x = b.relu6(b.batch_norm(b.conv(x, 1280, kernel=1, bias=False, gain=1.0)))
    x = b.flatten(b.global_average_pool(x))
    x = b.dense(x, classes, gain=1.0, name="logits")
    b.output(b.softmax(x), "prob")
    return b.build()


def _inverted_residual(
    b: Builder, x: Handle, width: int, expansion: int, channels: int, stride: int
) -> Handle:
    """Widen, convolve each channel by itself, narrow without an activation; add x if it fits."""
    y = x
    if expansion != 1:
        # x comes out of no ReLU: its variance is kept by a gain of 1
        y = b.relu6(b.batch_norm(b.conv(y, width * expansion, kernel=1, bias=False, gain=1.0)))
    y = b.relu6(b.batch_norm(b.depthwise_conv(y, kernel=3, strides=stride, pads=1, bias=False)))
    y = b.batch_norm(b.conv(y, channels, kernel=1, bias=False))
    return x + y if stride == 1 and width == channels else y
