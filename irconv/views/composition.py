"""The composition view: two convolutions in a row are one larger convolution, unless something
bends the signal between them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from irconv.errors import UsageError
from irconv.graph import Node
from irconv.op import Op
from irconv.ops.activation import Relu
from irconv.types import Array
from irconv.views import names, svg
from irconv.views.blocks import Block, below, beside, block, headed
from irconv.views.composing import Composition
from irconv.views.maps import array_block, drawn, frame_mark, limit_of
from irconv.views.picture import Picture

BETWEEN = 4  # maps between the layers that are drawn
MAP = 132.0


def composition(node: Node, image: Any = None) -> Picture:
    """The convolution `node` and the one before it, as one: both kernels, the kernel that the two
    are, and the three results on an image: one layer, two layers, two with the ReLU between them.

    `image` is [C, *spatial]; random integers from -4 to 4 (seed 0) if None. Drawn are the first
    filter and the first channel. The cells of the composed kernel hold their flat index in the
    composed weights (`data-k`) and their exact value (`data-v`). UsageError where no convolution
    stands before `node`, and for images of three dimensions.
    """
    found = Composition.of(node)
    if found.geometry.rank > 2:
        raise UsageError(
            "a composition is drawn in one or two dimensions", got=list(found.geometry.image)
        )
    x = _image(found, image)
    bend: Op = found.between[0] if found.between else Relu()
    results = {
        "one": found.one_layer(x)[0],
        "two": found.two_layers(x)[0],
        "bent": found.two_layers(x, bend)[0],
    }
    facts = _facts(found, results)
    data = facts | {"weights": found.weights, "bias": found.bias, "exact": found.exact}
    inner = below([_kernels(found), _results(found, results, bend)], 26)
    title = f"{found.first.title} and {found.second.title} as one convolution"
    return drawn(inner, title, _caption(found, facts, bend), data, _part(found))


def _image(found: Composition, image: Any) -> Array:
    g = found.geometry
    if image is None:
        pick = np.random.default_rng(0)
        return pick.integers(-4, 5, (1, g.in_channels, *g.image)).astype(np.float64)
    given = np.asarray(image, np.float64)
    if given.shape != (g.in_channels, *g.image):
        raise UsageError(
            "the image does not fit",
            expected=[g.in_channels, *g.image],
            got=list(given.shape),
        )
    return given[None]


def _facts(found: Composition, results: dict[str, Array]) -> dict[str, object]:
    """The largest differences: inside, anywhere, and with the activation between."""
    inside = (slice(None), *found.inside())
    apart = np.abs(results["one"] - results["two"])
    bent = np.abs(results["bent"] - results["two"])
    return {
        "inside": float(apart[inside].max(initial=0.0)),
        "border": float(apart.max()),
        "bent": float(bent.max()),
        "largest": float(np.abs(results["two"]).max()),
    }


def _caption(found: Composition, facts: dict[str, object], bend: Op) -> str:
    one, two, g = found.first.geometry, found.second.geometry, found.geometry
    whole = names.sizes(g.kernel)
    text = (
        f"A convolution of {names.sizes(one.kernel)} and one of {names.sizes(two.kernel)} "
        f"behind it are one of {whole}"
    )
    if max(g.strides) > 1:
        text += f" with stride {names.sizes(g.strides)}"
    text += ". " + _where(found, facts)
    largest = names.short(float(str(facts["largest"])))
    text += (
        f" With {bend.name} between the layers the result differs by up to "
        f"{names.short(float(str(facts['bent'])))} (the largest result is {largest}): no single "
        "convolution does that on every image."
    )
    return text


def _where(found: Composition, facts: dict[str, object]) -> str:
    if found.is_exact:
        return "That holds everywhere, for the second layer has no padding."
    inside = names.sizes([max(0, end - first) for first, end in found.exact])
    out = names.sizes(found.geometry.out)
    border = names.short(float(str(facts["border"])))
    return (
        f"That holds at {inside} of the {out} places; at the others the second layer reads its own "
        f"zeros, and here they differ by up to {border}."
    )


def _part(found: Composition) -> str:
    g, maps = found.geometry, found.first.geometry.out_channels
    parts = []
    if g.out_channels > 1 or g.in_channels > 1:
        parts.append(f"filter 0 of {g.out_channels} over channel 0 of {g.in_channels}")
    if maps > BETWEEN:
        parts.append(f"{BETWEEN} of the {maps} maps between the layers")
    return ", ".join(parts)


# -- drawing -------------------------------------------------------------------------------------


def _kernels(found: Composition) -> Block:
    maps = min(BETWEEN, found.first.geometry.out_channels)
    cell = 30.0 if found.geometry.kernel[-1] <= 9 else 20.0
    first = [_kernel(_weights(found.first, m, 0), cell) for m in range(maps)]
    second = [_kernel(_weights(found.second, 0, m), cell) for m in range(maps)]
    composed = _kernel(found.weights[0, 0], cell, "k")
    return beside(
        [
            headed(_named(found.first.title, found.first.geometry.kernel), below(first, 8)),
            _sign("then"),
            headed(_named(found.second.title, found.second.geometry.kernel), below(second, 8)),
            _sign("="),
            headed(_named("one layer", found.geometry.kernel), composed),
        ],
        18,
    )


def _weights(layer: Any, out: int, channel: int) -> Array:
    """The kernel between two channels, zeros where they are of different groups."""
    pairs = layer.channel_pairs()
    mine = pairs[(pairs[:, 0] == out) & (pairs[:, 1] == channel), 2]
    kernels = layer.weights.reshape(-1, *layer.geometry.kernel)
    found: Array = kernels[mine[0]] if len(mine) else np.zeros(layer.geometry.kernel)
    return found


def _named(name: str, kernel: tuple[int, ...]) -> str:
    return f"{name}, {names.sizes(kernel)}"


def _kernel(kernel: Array, cell: float, mark: str = "") -> Block:
    limit = limit_of(kernel)
    return array_block(
        kernel, cell * kernel.shape[-1], "signed", (-limit, limit), mark, 0, cell >= 28
    )


def _sign(text: str) -> Block:
    return block([svg.text(14, 16, text, "heading middle")], 28, 20)


def _results(found: Composition, results: dict[str, Array], bend: Op) -> Block:
    one, two, bent = (results[k][0] for k in ("one", "two", "bent"))
    limit = limit_of(np.stack([one, two, bent]))
    ends = (-limit, limit)
    maps = [
        headed("one layer", _framed(array_block(one, MAP, "signed", ends), found, one.shape)),
        headed("two layers", array_block(two, MAP, "signed", ends)),
        headed("difference", array_block(one - two, MAP, "signed", ends)),
        headed(f"with {bend.name}", array_block(bent, MAP, "signed", ends)),
        headed("difference", array_block(bent - two, MAP, "signed", ends)),
    ]
    return beside(maps, 18, middle=False)


def _framed(inner: Block, found: Composition, shape: tuple[int, ...]) -> Block:
    """The outputs that are free of the second layer's padding, framed."""
    if found.is_exact:
        return inner
    cell = inner.width / shape[-1]
    (top, bottom), (left, right) = ((0, 1), *found.exact)[-2:]
    if top >= bottom or left >= right:
        return inner
    frame = frame_mark(left * cell, top * cell, (right - left) * cell, (bottom - top) * cell)
    return block([inner.at(0, 0), frame], inner.width, inner.height)
