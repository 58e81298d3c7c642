"""A table of weight counts, each with a bar to scale."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from irconv.views import names, svg
from irconv.views.blocks import Block, block
from irconv.views.svg import Element

_TITLES = {
    "free_weights": ("convolution", "local and shared"),
    "places": ("locally connected", "local, not shared"),
    "dense_weights": ("fully connected", "neither"),
}
_BAR = 230.0


def counts_table(facts: Mapping[str, int], keys: Sequence[str]) -> Block:
    """A row for each kind of layer: its name, its number of weights, and a bar."""
    return block(_rows(facts, keys), _BAR + 150, 46.0 * len(keys) + 22)


def _rows(facts: Mapping[str, int], keys: Sequence[str]) -> Iterator[Element]:
    yield svg.text(0, 13, "weights", "heading")
    most = max(1, *(facts[k] for k in keys))
    for n, key in enumerate(keys):
        y = 34.0 + 46 * n
        title, kind = _TITLES[key]
        yield svg.text(0, y + 6, title)
        yield svg.text(132, y + 6, kind, "small muted")
        length = max(1.0, _BAR * facts[key] / most)
        class_ = "accent" if key == "free_weights" else "bar"
        yield svg.rect(0, y + 13, length, 8, class_)
        yield svg.text(length + 8, y + 21, names.count(facts[key]), "number")
