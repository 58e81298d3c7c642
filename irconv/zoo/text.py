"""A network on words (Kim 2014, "Convolutional neural networks for sentence classification")."""

from __future__ import annotations

from irconv.builder import Builder
from irconv.graph import Graph


def text_cnn(
    batch: int | str = "N",
    classes: int = 2,
    seed: int = 0,
    words: int = 64,
    vocabulary: int = 10_000,
    width: int = 300,
) -> Graph:
    """Kim's sentence classifier, 1-D convolutions on word vectors: 3.4 million parameters.

    The input is `tokens` i64 [batch, words], each from 0 to vocabulary - 1; the output is `prob`
    [batch, classes], the softmax of `logits`.
    """
    b = Builder("text_cnn", seed=seed, centred=True)
    tokens = b.input("tokens", (batch, words), "i64")
    x = b.embedding(tokens, vocabulary, width)
    x = b.transpose(x, (0, 2, 1))
    found = [b.relu(b.conv(x, 100, kernel=span, gain=1.0)) for span in (3, 4, 5)]
    x = b.concat([b.global_max_pool(f) for f in found])
    x = b.dense(b.flatten(x), classes, gain=3.0, name="logits")
    b.output(b.softmax(x), "prob")
    return b.build()
