"""Two edge filters (Sobel) on a photograph that scikit-learn ships; needs the extra `examples`."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import irconv as ic
from irconv.graph import Node
from irconv.types import Array
from irconv.views import Picture

try:
    import PIL  # noqa: F401 - scikit-learn reads its photograph with it
    from sklearn.datasets import load_sample_image
except ModuleNotFoundError as error:
    package = str(error.name).partition(".")[0]
    sys.exit(f"{package} is missing; in a checkout: pip install '.[examples]'")

SHRINK = 4  # pixels of the photograph to one of the picture


def photograph() -> Array:
    """[1, 106, 160] from 0 to 1: a Chinese temple, grey."""
    photo = load_sample_image("china.jpg").astype(np.float64).mean(2) / 255
    rows, columns = (size // SHRINK for size in photo.shape)
    blocks = photo[: rows * SHRINK, : columns * SHRINK].reshape(rows, SHRINK, columns, SHRINK)
    return blocks.mean((1, 3))[None].astype(np.float32)


def layer(rows: int, columns: int) -> Node:
    """Map 0 finds upright edges, map 1 level ones: a Sobel filter and the same, turned."""
    b = ic.Builder("edges")
    image = b.input("photo", (1, 1, rows, columns))
    upright = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], np.float32)
    w = np.stack([upright, upright.T])[:, None]
    b.output(b.conv(image, w=w, bias=False, name="edges"))
    return b.build().node("edges")


def pictures() -> dict[str, Picture]:
    photo = photograph()
    return {"edge_filter": ic.views.activation_maps(layer(*photo.shape[1:]), photo)}


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "docs/views"
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in pictures().items():
        path = folder.resolve() / f"{name}.svg"
        picture.save(path)
        print(f"wrote {path}: {picture.caption}")
