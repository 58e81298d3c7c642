"""Shift the input, and the answers shift: by whole steps only, and not at the border."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import irconv as ic
from irconv.graph import Graph
from irconv.types import Array
from irconv.views import Picture


def network() -> Graph:
    """A blur with zero padding, then the largest of each 2x2."""
    b = ic.Builder("net")
    image = b.input("image", (1, 1, 16, 16))
    blur = np.outer([1, 2, 1], [1, 2, 1]).astype(np.float32)
    y = b.conv(image, w=blur[None, None], bias=False, pads="same", name="blur")
    b.output(b.max_pool(y, 2, name="pool"))
    return b.build()


def cross() -> Array:
    """[1, 16, 16]: a cross of five pixels."""
    image = np.zeros((1, 16, 16), np.float32)
    image[0, 6:9, 5] = image[0, 7, 4:7] = 1
    return image


def pictures() -> dict[str, Picture]:
    pool, image = network().node("pool"), cross()
    return {
        "translation": ic.views.translation(pool, image, (0, 4)),
        "translation_odd": ic.views.translation(pool, image, (0, 3)),
    }


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "docs/views"
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in pictures().items():
        path = folder.resolve() / f"{name}.svg"
        picture.save(path)
        print(f"wrote {path}: {picture.caption}")
