"""Draws docs/matrix_view.svg: a 2x2 filter on a 3x3 image, and the matrix that it is."""

from __future__ import annotations

import argparse
from pathlib import Path

import irconv as ic

PICTURE = Path(__file__).with_name("matrix_view.svg")


def picture() -> ic.views.Picture:
    """The matrix view of a real layer whose four weights have names."""
    b = ic.Builder("layer", seed=0)
    x = b.input("x", (1, 1, 3, 3))
    b.output(b.conv(x, 1, kernel=2, bias=False, name="conv"))
    return ic.views.matrix(b.build().node("conv"), labels="\u03b1\u03b2\u03b3\u03b4")


def main() -> None:
    """Writes the picture where the README expects it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=PICTURE)
    picture().save(parser.parse_args().output)


if __name__ == "__main__":
    main()
