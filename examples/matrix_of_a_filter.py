"""A 3x3 image, a 2x2 filter of the weights alpha, beta, gamma, delta, and the 4x9 matrix it is."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import irconv as ic
from irconv.graph import Node
from irconv.views import Picture

WEIGHTS = ("α", "β", "γ", "δ")


def layer() -> Node:
    """One filter of 2x2 with a bias on one image of 3x3: four results."""
    b = ic.Builder("small")
    image = b.input("image", (1, 1, 3, 3))
    w = np.array([[[[0.5, -1.0], [2.0, 1.5]]]], np.float32)
    b.output(b.conv(image, w=w, b=np.array([0.25], np.float32), name="filter"))
    return b.build().node("filter")


def pictures() -> dict[str, Picture]:
    node = layer()
    views = ic.views
    return {
        "image_and_filter": views.image_and_filter(node, labels=WEIGHTS),
        "equation": views.equation(node, labels=WEIGHTS),
        "compact_equation": views.compact_equation(node),
        "network": views.network(node, labels=WEIGHTS),
        "matrix": views.matrix(node, labels=WEIGHTS),
        "dense_network": views.dense_network(node, labels=WEIGHTS),
    }


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "docs/views"
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in pictures().items():
        path = folder.resolve() / f"{name}.svg"
        picture.save(path)
        print(f"wrote {path}: {picture.caption}")
