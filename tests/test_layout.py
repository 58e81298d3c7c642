"""Layouts: what lies where, and that a listing keeps them."""

from __future__ import annotations

import numpy as np
import pytest

from irconv.errors import GraphError, ParseError, VerifyError
from irconv.layout import Layout
from irconv.text import parse
from irconv.types import TensorType
from irconv.verify import verify

PACKED = """graph @g(%x: f32[2, 3, 4]) -> (%y: f32[2, 3, 4]) {
  %p = Pack(%x) {block = 2, halo = [1, 0]} : f32[2, 3, 4]{block = 2, halo = [1, 0]}
  %r = Relu(%p) : f32[2, 3, 4]{block = 2, halo = [0, 3]}
  %y = Unpack(%r) : f32[2, 3, 4]
}"""


@pytest.mark.parametrize("spatial", [(3,), (2, 3), (2, 3, 1)])
@pytest.mark.parametrize("block", [1, 2, 4, 16])
def test_what_is_stored_is_loaded_again(spatial: tuple[int, ...], block: int) -> None:
    array = np.arange(1, 1 + 2 * 5 * np.prod(spatial), dtype=np.float32).reshape(2, 5, *spatial)
    layout = Layout(block, tuple(range(2 * len(spatial))))
    stored = layout.store(array)
    assert stored.shape == layout.stored_shape(array.shape)
    np.testing.assert_array_equal(layout.load(stored, 5), array)
    assert stored.sum() == array.sum()  # all else is zeros


def test_the_place_of_one_element() -> None:
    array = np.zeros((1, 5, 3, 4), np.float32)
    array[0, 3, 1, 2] = 7
    stored = Layout(2, (1, 0, 2, 3)).store(array)
    assert stored.shape == (1, 3, 6, 7, 2)
    assert stored[0, 1, 2, 2, 1] == 7


def test_bytes_count_the_zeros_and_the_filled_block() -> None:
    kind = TensorType("f32", (1, 5, 3, 4), Layout(2, (1, 0, 2, 3)))
    assert kind.nbytes == 4 * 3 * 6 * 7 * 2
    assert kind.plain.nbytes == 4 * 5 * 3 * 4


@pytest.mark.parametrize(("block", "halo"), [(0, (0, 0)), (2, (0,)), (2, (-1, 0))])
def test_a_wrong_layout_is_refused(block: int, halo: tuple[int, ...]) -> None:
    with pytest.raises(GraphError, match="wrong layout"):
        Layout(block, halo)


def test_a_layout_of_another_rank_is_refused() -> None:
    with pytest.raises(GraphError, match="does not fit the shape"):
        TensorType("f32", (1, 2, 3, 4), Layout(2, (0, 0)))


def test_a_listing_keeps_layouts() -> None:
    graph = parse(PACKED)
    verify(graph)
    assert str(graph) == PACKED
    assert parse(str(graph.copy())) == graph
    graph.infer_again()
    assert str(graph) == PACKED


@pytest.mark.parametrize(
    "layout",
    [
        "{block = 2}",
        "{block = none, halo = [0, 0]}",
        "{block = 2, halo = 3}",
        "{block = 2, halo = [true, 0]}",
        "{}",
    ],
)
def test_a_wrong_layout_in_a_listing(layout: str) -> None:
    with pytest.raises(ParseError, match="layout"):
        parse(PACKED.replace("{block = 2, halo = [0, 3]}", layout))


def test_outputs_lie_row_by_row() -> None:
    graph = parse(PACKED)
    graph.set_outputs([graph.value("r")])
    with pytest.raises(VerifyError, match="%r must lie row by row"):
        verify(graph)
