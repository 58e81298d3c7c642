"""One step of gradient descent: shared weights stay equal, fixed zeros stay zero."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import irconv as ic
from irconv.graph import Node
from irconv.matrix import SharedMatrix
from irconv.types import Array
from irconv.views import ConvLayer, Picture

RATE = 0.125


def layer(weights: Array) -> Node:
    """A filter of 2x2 on an image of 3x3."""
    b = ic.Builder("small")
    image = b.input("image", (1, 1, 3, 3))
    b.output(b.conv(image, w=weights.reshape(1, 1, 2, 2), bias=False, name="filter"))
    return b.build().node("filter")


def step(matrix: SharedMatrix, x: Array, wanted: Array) -> tuple[SharedMatrix, float]:
    """One step down the gradient of half the squared error; the new matrix, and the error before.

    The gradient of every entry is error times input. A free weight gets the sum over its places;
    a fixed zero is no weight, so nothing can move it.
    """
    error = matrix @ x - wanted
    gradient = matrix.free_gradient(np.outer(error, x))
    loss = 0.5 * float(error @ error)
    return matrix.with_weights(matrix.weights - RATE * gradient), loss


def problem() -> tuple[Array, Array]:
    """An image, and the results that the filter should give."""
    x = np.array([1, 0, 2, 0, 1, 0, 1, 0, 1], np.float32)
    return x, np.array([1, 0, 0, 1], np.float32)


def pictures() -> dict[str, Picture]:
    before = layer(np.array([0.5, -1.0, 2.0, 1.5], np.float32))
    x, wanted = problem()
    matrix, loss = step(ConvLayer.of(before).matrix, x, wanted)
    after = layer(matrix.weights)
    _, smaller = step(matrix, x, wanted)
    assert smaller < loss
    assert np.array_equal(matrix.dense() == 0, ConvLayer.of(before).matrix.dense() == 0)
    return {
        "gradient_before": ic.views.matrix(before, show="values"),
        "gradient_after": ic.views.matrix(after, show="values"),
    }


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "docs/views"
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in pictures().items():
        path = folder.resolve() / f"{name}.svg"
        picture.save(path)
        print(f"wrote {path}: {picture.caption}")
