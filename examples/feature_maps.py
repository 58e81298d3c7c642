"""Filters over colours: the result as columns of neurons that look at the same window."""

from __future__ import annotations

import sys
from pathlib import Path

import irconv as ic
from irconv.views import Picture


def pictures() -> dict[str, Picture]:
    b = ic.Builder("colours", seed=0)
    image = b.input("image", (1, 3, 8, 8))
    b.output(b.conv(image, 5, kernel=3, name="layer"))
    return {"volume": ic.views.volume(b.build().node("layer"))}


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "docs/views"
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in pictures().items():
        path = folder.resolve() / f"{name}.svg"
        picture.save(path)
        print(f"wrote {path}: {picture.caption}")
