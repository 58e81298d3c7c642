"""How far neurons see: layers of 3x3 see 2n+1, of 5x5 4n+1; AlexNet sees 195 before it is dense."""

from __future__ import annotations

import sys
from pathlib import Path

import irconv as ic
from irconv.graph import Graph
from irconv.views import Picture


def stack(kernel: int, layers: int) -> Graph:
    """Some layers of one kind, one behind the other, on an image of 21x21."""
    b = ic.Builder(f"layers of {kernel}x{kernel}", seed=0)
    x = b.input("image", ("N", 1, 21, 21))
    for n in range(layers):
        x = b.relu(b.conv(x, 4, kernel=kernel, pads="same", name=f"layer {n + 1}"))
    b.output(x)
    return b.build()


def pictures() -> dict[str, Picture]:
    return {
        "receptive_field": ic.views.receptive_field(stack(3, 5).node("layer 5")),
        "receptive_field_alexnet": ic.views.receptive_field(ic.zoo.alexnet().node("max_pool3")),
    }


def table() -> str:
    """How far each layer of LeNet sees."""
    return str(ic.views.receptive_fields(ic.zoo.lenet5()))


if __name__ == "__main__":
    print(table())
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "docs/views"
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in pictures().items():
        path = folder.resolve() / f"{name}.svg"
        picture.save(path)
        print(f"wrote {path}: {picture.caption}")
