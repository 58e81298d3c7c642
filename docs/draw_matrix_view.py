"""Draws docs/matrix_view.svg: a 2x2 filter on a 3x3 image, and the matrix that it is."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import irconv as ic
from irconv.matrix import SharedMatrix

PICTURE = Path(__file__).with_name("matrix_view.svg")
CELL = 40
# one colour a free weight (Okabe and Ito's, told apart by colour-blind readers too)
COLOURS = ("#e69f00", "#56b4e9", "#009e73", "#cc79a7")
STYLE = """
  .paper { fill: #ffffff } .cell { stroke: #8c959f } .zero { fill: #eaeef2 }
  text { font: 15px sans-serif; fill: #1f2328; text-anchor: middle }
  .weight { fill: #1f2328 } .none { fill: #8c959f } .title { font-size: 14px }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #0d1117 } .zero { fill: #21262d } text { fill: #e6edf3 }
    .weight { fill: #1f2328 } .none { fill: #7d8590 }
  }
"""


def layer_matrix() -> SharedMatrix:
    """The matrix of a real layer: built, lowered by the pass, read from the lowered graph."""
    b = ic.Builder("layer")
    x = b.input("x", (1, 1, 3, 3))
    b.output(b.conv(x, 1, kernel=2, bias=False))
    graph = ic.lower(b.build(), "conv_matrix{form=literal}")
    node = next(n for n in graph if n.op.name == "ConvMatrix")
    (matrix,) = node.op.run([v.array if v is not None else None for v in node.operands])
    assert isinstance(matrix, SharedMatrix)
    return matrix


def square(column: float, row: float, kind: str, label: str, fill: str = "") -> str:
    """One cell with its label."""
    x, y = column * CELL, row * CELL
    colour = f' style="fill: {fill}"' if fill else ""
    text = "weight" if fill else "none" if kind == "zero" else ""
    return (
        f'<rect class="cell {kind}" x="{x:g}" y="{y:g}" width="{CELL}" height="{CELL}"{colour}/>'
        f'<text class="{text}" x="{x + CELL / 2:g}" y="{y + CELL * 0.63:g}">{label}</text>'
    )


def title(x: float, text: str, row: float = 0.65) -> str:
    """A line of text centred at `x`, its base at `row`."""
    return f'<text class="title" x="{x * CELL:g}" y="{row * CELL:g}">{text}</text>'


def drawing() -> Iterator[str]:
    """The image, the filter and the matrix, side by side."""
    yield title(2, "image x")
    for i in range(9):
        yield square(0.5 + i % 3, 1 + i // 3, "paper", f"x{i + 1}")
    yield title(5.25, "filter w")
    for i, colour in enumerate(COLOURS):
        yield square(4.25 + i % 2, 1.5 + i // 2, "used", f"w{i + 1}", colour)
    yield title(11.75, "the same convolution as a matrix: y = W x")
    matrix = layer_matrix()
    for row in range(matrix.shape[0]):
        columns, weights = matrix.row_entries(row)
        placed = dict(zip(columns.tolist(), weights.tolist(), strict=True))
        for column in range(matrix.shape[1]):
            yield matrix_cell(column, row, placed.get(column))
    zeros = matrix.shape[0] * matrix.shape[1] - matrix.nnz
    text = f"{zeros} fixed zeros; {matrix.nnz} places share {matrix.weights.size} free weights"
    yield title(11.75, text, row=5.6)


def matrix_cell(column: int, row: int, weight: int | None) -> str:
    """One entry of the matrix: a free weight in its colour, or a fixed zero."""
    if weight is None:
        return square(7.25 + column, 1 + row, "zero", "0")
    return square(7.25 + column, 1 + row, "used", f"w{weight + 1}", COLOURS[weight])


def picture() -> str:
    """The whole file."""
    width, height = round(16.75 * CELL), round(6 * CELL)
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    about = (
        "A 2x2 filter on a 3x3 image, and the 4x9 matrix that it is: fixed zeros, shared weights"
    )
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
        f"<title>{about}</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="paper" width="{width}" height="{height}" rx="6"/>',
        *drawing(),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Writes the picture where the README expects it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=PICTURE)
    parser.parse_args().output.write_text(picture())


if __name__ == "__main__":
    main()
