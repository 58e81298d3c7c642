"""A 1-D convolution, the same sparsity without sharing, and a fully connected layer."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import irconv as ic
from irconv.graph import Node
from irconv.views import Picture


def layer() -> Node:
    """A filter of three weights along seven inputs: five results."""
    b = ic.Builder("line")
    x = b.input("x", (1, 1, 7))
    w = np.array([[[1.0, -2.0, 1.0]]], np.float32)
    b.output(b.conv(x, w=w, bias=False, name="filter"))
    return b.build().node("filter")


def pictures() -> dict[str, Picture]:
    node = layer()
    return {
        "one_dimension": ic.views.network(node),
        "one_dimension_local": ic.views.locally_connected(node),
        "one_dimension_dense": ic.views.dense_network(node),
    }


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "docs/views"
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in pictures().items():
        path = folder.resolve() / f"{name}.svg"
        picture.save(path)
        print(f"wrote {path}: {picture.caption}")
