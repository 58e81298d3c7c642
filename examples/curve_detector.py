"""A 7x7 filter that finds one curve in a 32x32 picture: large there, small elsewhere."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import irconv as ic
from irconv.graph import Node
from irconv.types import Array
from irconv.views import Picture

CURVE = """
.....##
....#..
...#...
..#....
..#....
..#....
...#..."""


def drawn(text: str) -> Array:
    """1 where a letter # stands."""
    return np.array([[c == "#" for c in line] for line in text.split()], np.float32)


def picture_with_a_curve() -> Array:
    """[1, 32, 32]: the curve near the upper left corner; elsewhere a bar and a slanting line."""
    image = np.zeros((32, 32), np.float32)
    image[4:11, 5:12] = drawn(CURVE)
    image[20:22, 4:20] = 1
    image[np.arange(6, 18), np.arange(18, 30)] = 1
    return 50 * image[None]


def layer() -> Node:
    """30 along the curve, less than 0 beside it: what only crosses the curve does not count."""
    b = ic.Builder("curves")
    image = b.input("image", ("N", 1, 32, 32))
    curve = drawn(CURVE)
    w = np.where(curve > 0, 30.0, -12.0).astype(np.float32)[None, None]
    b.output(b.relu(b.conv(image, w=w, bias=False, name="curve"), name="found"))
    return b.build().node("found")


def pictures() -> dict[str, Picture]:
    found = layer()
    curve = found.graph.node("curve")
    return {
        "curve_filter": ic.views.filters(curve),
        "curve_detector": ic.views.activation_maps(found, picture_with_a_curve()),
    }


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "docs/views"
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in pictures().items():
        path = folder.resolve() / f"{name}.svg"
        picture.save(path)
        print(f"wrote {path}: {picture.caption}")
