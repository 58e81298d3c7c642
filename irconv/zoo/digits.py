"""The digit classifier of the demo: the one network of the zoo that was trained."""

from __future__ import annotations

from irconv.demo_data import model_path
from irconv.graph import Graph
from irconv.onnx_import import load


def digits(batch: int | str = "N") -> Graph:
    """The demo's network: handwritten digits from 8x8 grey pixels (0 to 16), trained, 99.8 % right.

    `image` is float32 [batch, 1, 8, 8], the output `prob` [batch, 10]. `irconv.demo_data` has
    images that it was not trained on, and says where all of it comes from.
    """
    return load(model_path(), batch)
