"""Two convolutions in a row are one larger convolution, unless a ReLU stands between them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import irconv as ic
from irconv.graph import Graph
from irconv.views import Picture


def blurred_edges() -> Graph:
    """An edge filter and a blur behind it, both with zero padding."""
    b = ic.Builder("edges")
    image = b.input("image", (1, 1, 9, 9))
    edge = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], np.float32)
    blur = np.outer([1, 2, 1], [1, 2, 1]).astype(np.float32)
    edges = b.conv(image, w=edge[None, None], bias=False, pads="same", name="edge")
    b.output(b.conv(edges, w=blur[None, None], bias=False, pads="same", name="blur"))
    return b.build()


def pictures() -> dict[str, Picture]:
    return {"composition": ic.views.composition(blurred_edges().node("blur"))}


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "docs/views"
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in pictures().items():
        path = folder.resolve() / f"{name}.svg"
        picture.save(path)
        print(f"wrote {path}: {picture.caption}")
