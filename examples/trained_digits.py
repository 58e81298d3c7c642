"""A network trained on digits: its filters, its answers, and what in a digit they answer to."""

from __future__ import annotations

import sys
from pathlib import Path

import irconv as ic
from irconv.demo_data import load_test_set, model_path
from irconv.views import Picture

DIGIT = 3  # a six


def pictures() -> dict[str, Picture]:
    graph = ic.load(model_path())
    image = load_test_set()[0][DIGIT]
    return {
        "filters": ic.views.filters(graph.node("conv1")),
        "activation_maps": ic.views.activation_maps(graph.node("relu1"), image),
        "projection": ic.views.projection(graph.node("relu2"), image),
    }


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "docs/views"
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in pictures().items():
        path = folder.resolve() / f"{name}.svg"
        picture.save(path)
        print(f"wrote {path}: {picture.caption}")
