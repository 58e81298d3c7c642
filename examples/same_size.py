"""Zero padding and a 3x3 filter: the result is as large as the image, each pixel a centre."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import irconv as ic
from irconv.graph import Node
from irconv.views import Picture


def layer() -> Node:
    """One filter of 3x3 on an image of 3x3 with a border of added zeros."""
    b = ic.Builder("same")
    image = b.input("image", (1, 1, 3, 3))
    w = np.arange(1, 10, dtype=np.float32).reshape(1, 1, 3, 3)
    b.output(b.conv(image, w=w, bias=False, pads="same", name="filter"))
    return b.build().node("filter")


def in_steps() -> Node:
    """A filter of 3x3 that moves by three pixels on an image of 8x10: it does not fit."""
    b = ic.Builder("steps", seed=0)
    image = b.input("image", (1, 1, 8, 10))
    b.output(b.conv(image, 1, kernel=3, strides=3, name="steps"))
    return b.build().node("steps")


def pictures() -> dict[str, Picture]:
    node = layer()
    image = np.array([[[1, 0, 2], [0, 3, 0], [1, 0, 1]]], np.float32)
    return {
        "same_size": ic.views.image_and_filter(node, image),
        "same_size_matrix": ic.views.matrix(node, show="values"),
        "shape_arithmetic": ic.views.shape_arithmetic(in_steps()),
    }


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "docs/views"
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in pictures().items():
        path = folder.resolve() / f"{name}.svg"
        picture.save(path)
        print(f"wrote {path}: {picture.caption}")
