"""M5, a network on raw sound (Dai et al. 2016, "Very deep CNNs for raw waveforms")."""

from __future__ import annotations

from irconv.builder import Builder, Handle
from irconv.graph import Graph


def m5(batch: int | str = "N", classes: int = 10, seed: int = 0, samples: int = 32000) -> Graph:
    """M5, 1-D convolutions on four seconds of sound at 8 kHz: 0.56 million parameters.


    The output is `prob` [batch, classes], the softmax of `logits`.
    """
    b = Builder("m5", seed=seed, centred=True)
    x = b.input("waveform", (batch, 1, samples))
    x = _layer(b, x, 128, kernel=80, stride=4)
    x = _layer(b, x, 128, kernel=3)
    x = _layer(b, x, 256, kernel=3)
    x = _layer(b, x, 512, kernel=3)
    x = b.flatten(b.global_average_pool(x))
    x = b.dense(x, classes, name="logits")
    b.output(b.softmax(x), "prob")
    return b.build()


def _layer(b: Builder, x: Handle, channels: int, kernel: int, stride: int = 1) -> Handle:
    """Convolution, batch normalization, ReLU, and a pool over four samples."""
    x = b.conv(x, channels, kernel, strides=stride, pads="same")
    return b.max_pool(b.relu(b.batch_norm(x)), 4)
