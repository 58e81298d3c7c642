"""LeNet and AlexNet as diagrams, drawn from their graphs."""

from __future__ import annotations

import sys
from pathlib import Path

import irconv as ic
from irconv.views import Picture


def pictures() -> dict[str, Picture]:
    return {
        "lenet": ic.views.architecture(ic.zoo.lenet5()),
        "alexnet": ic.views.architecture(ic.zoo.alexnet()),
    }


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "docs/views"
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in pictures().items():
        path = folder.resolve() / f"{name}.svg"
        picture.save(path)
        print(f"wrote {path}: {picture.caption}")
