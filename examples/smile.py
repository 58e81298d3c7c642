"""A smile: one map finds eyes, another a mouth; the second layer adds them and finds the face."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import irconv as ic
from irconv.graph import Graph
from irconv.types import Array
from irconv.views import Picture

FACE = """
............
............
...##..##...
...##..##...
............
............
..#......#..
...#....#...
....####....
............
............
............"""


def face() -> Array:
    """[1, 12, 12], 1 where a letter # stands."""
    lines = FACE.split()
    return np.array([[[c == "#" for c in line] for line in lines]], np.float32)


def network() -> Graph:
    """First layer: a block of 2x2 (an eye), a level stroke of four (a mouth), each with a bias that
    lets only the full thing pass. Second layer: two eyes above one mouth, added up.
    """
    b = ic.Builder("smile")
    image = b.input("image", ("N", 1, 12, 12))
    eye, mouth = np.full((2, 4, 4), -1, np.float32)
    eye[1:3, 1:3] = 1
    mouth[2] = 1
    parts = b.conv(
        image,
        w=np.stack([eye, mouth])[:, None],
        b=np.array([-3, -3], np.float32),
        name="parts",
    )
    parts = b.relu(parts, name="eyes_and_mouth")
    places = np.zeros((1, 2, 6, 6), np.float32)
    places[0, 0, 0, 0] = places[0, 0, 0, 4] = 1  # two eyes, four pixels apart
    places[0, 1, 5, 2] = 1  # and a mouth below, between them
    smile = b.conv(parts, w=places, b=np.array([-2], np.float32), name="smile")
    b.output(b.relu(smile, name="face"))
    return b.build()


def pictures() -> dict[str, Picture]:
    graph, image = network(), face()
    return {
        "smile_parts": ic.views.activation_maps(graph.node("eyes_and_mouth"), image),
        "smile_filters": ic.views.filters(graph.node("smile")),
        "smile_found": ic.views.activation_maps(graph.node("face"), image, written=True),
        "smile_seen": ic.views.receptive_field(graph.node("face"), (0, 0)),
    }


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "docs/views"
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in pictures().items():
        path = folder.resolve() / f"{name}.svg"
        picture.save(path)
        print(f"wrote {path}: {picture.caption}")
