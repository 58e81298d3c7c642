"""The listing: what is printed reads back, and what cannot be read is refused with its place."""

from __future__ import annotations

import random
import re

import numpy as np
import pytest

from irconv.dim import symbol
from irconv.errors import IrconvError, ParseError
from irconv.graph import Graph
from irconv.ops.activation import LeakyRelu
from irconv.ops.conv import Conv
from irconv.pipeline import lower
from irconv.text import parse
from irconv.types import TensorType, type_of
from irconv.verify import verify

SMALL = """graph @small(%x: f32[N, 1, 4, 4]) -> (%y: f32[N, 2, 4, 4]) {
  param %w: f32[2, 1, 1, 1] = [0.5, -2.0]
  const %odd "name": f32[] = 1.0
  %c = Conv(%x, %w) {kernel_shape = [1, 1]} : f32[N, 2, 4, 4]
  %y = Relu(%c) : f32[N, 2, 4, 4]
}""".replace('%odd "name"', '%"odd \\"name\\""')


def test_an_error_of_an_op_is_told_once() -> None:
    with pytest.raises(ParseError) as caught:
        parse(SMALL.replace("kernel_shape = [1, 1]", "kernel_shape = [1, 1], pads = [0]"))
    assert str(caught.value).endswith("pads has the wrong length: expected 4, got 1")


def test_what_is_read_prints_the_same() -> None:
    graph = parse(SMALL)
    assert str(graph) == SMALL
    assert parse(str(graph)) == graph
    assert 'odd "name"' in graph
    assert graph.value("w").trainable
    assert not graph.value('odd "name"').trainable
    verify(graph)


@pytest.mark.parametrize(
    "array",
    [
        np.array([0.1, -0.0, np.inf, -np.inf, 1e-45, 3.4e38], np.float32),
        np.array([0.1, 1e300], np.float64),
        np.array([True, False]),
        np.array([[1, -2], [3, 4]], np.int64),
        np.array(5, np.uint8),
        np.zeros((0, 3), np.float32),
        np.array([np.nan], np.float32),
        np.arange(100, dtype=np.float16),
    ],
    ids=str,
)
def test_constants_keep_every_bit(array: np.ndarray) -> None:
    graph = Graph("constants")
    value = graph.add_parameter("k", array)
    graph.set_outputs([value])
    read = parse(str(graph), {value.digest: array})
    assert read == graph
    assert read.value("k").array is not None
    assert np.asarray(read.value("k").array).tobytes() == array.tobytes()
    assert read.value("k").type == type_of(array)


def test_whole_numbers_are_taken_for_floats() -> None:
    graph = Graph("g")
    x = graph.add_input("x", TensorType("f32", ("N",)))
    for slope in (1, np.float64(0.5)):
        graph.set_outputs(graph.add_node(LeakyRelu(slope), [x]).results)  # type: ignore[arg-type]
    assert parse(str(graph)) == graph
    assert "{alpha = 1.0}" in str(graph)
    assert "{alpha = 0.5}" in str(graph)
    assert parse(str(graph).replace("1.0", "1")) == graph


def test_names_of_every_kind_are_quoted() -> None:
    names = ["a b", 'q"q', "new\nline", "\x1b[31m", "\u202e", "</script>", "x):\n import os", "é"]
    graph = Graph("names\n")
    for name in names:
        graph.add_input(name, TensorType("f32", (symbol(name), 2)))
    graph.set_outputs(graph.inputs)
    text = str(graph)
    assert text.isascii()
    assert text.isprintable() or text.count("\n") == 1
    assert parse(text) == graph


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Relu(%c)", "Relu(%d)", r"line 5, column \d+: the operand is not defined before its use"),
        ("Relu(%c)", "Rleu(%c)", "unknown op .*Relu"),
        ("= Relu(%c)", "Relu(%c)", "expected '='"),
        (
            "kernel_shape = [1, 1]",
            "kernel_shap = [1, 1]",
            "no attribute kernel_shap .*kernel_shape",
        ),
        (
            "kernel_shape = [1, 1]",
            'kernel_shape = "x"',
            "kernel_shape of Conv is of the wrong type",
        ),
        ("kernel_shape = [1, 1]", "kernel_shape = " + "[" * 99, "nested too deeply"),
        (" {kernel_shape = [1, 1]}", "", "needs the attribute kernel_shape"),
        ("[0.5, -2.0]", "[0.5]", "do not fill the shape"),
        ("%y = Relu", "%c = Relu", "defined twice"),
        ("-> (%y: f32[N, 2, 4, 4])", "-> (%z: f32[1])", "an output is not defined"),
        ("-> (%y: f32[N, 2, 4, 4])", "-> (%y: f32[N, 2, 4, 5])", "differs from its definition"),
        ("f32[2, 1, 1, 1] =", "f33[2, 1, 1, 1] =", "unknown element type .*f32"),
        ("[N, 1, 4, 4]", "[N, -1, 4, 4]", "a size is negative"),
        ("[N, 1, 4, 4]", "[N, 99999999999999999999, 4, 4]", "not a size|expected"),
        ("\n}", "", "the graph is not closed"),
        ("\n}", "\n}\n%z = Relu(%y) : f32[N]", "after the end of the graph"),
        ("graph", "grph", "expected 'graph'"),
    ],
)
def test_errors_name_the_place(old: str, new: str, message: str) -> None:
    assert old in SMALL
    with pytest.raises(ParseError, match=message) as caught:
        parse(SMALL.replace(old, new, 1))
    assert "\n" not in str(caught.value)


def test_the_guilty_line_is_marked() -> None:
    with pytest.raises(ParseError) as caught:
        parse(SMALL.replace("Relu(%c)", "Relu(%d)"))
    listing = caught.value.listing or ""
    line, mark = listing.splitlines()
    assert line[mark.index("^")] == "d"


def test_line_ends_and_marks_of_editors_are_taken() -> None:
    assert parse("\ufeff" + SMALL.replace("\n", "\r\n")) == parse(SMALL)
    assert parse(SMALL.replace("{\n", "{\n  // a comment\n\n", 1)) == parse(SMALL)


def test_empty_text_and_huge_lines_are_refused() -> None:
    with pytest.raises(ParseError, match="empty"):
        parse("")
    with pytest.raises(ParseError, match="too long"):
        parse("graph @" + "a" * (1 << 21))


def test_mutated_text_never_raises_anything_else() -> None:
    rng = random.Random(0)
    refused = 0
    for _ in range(2000):
        text = list(SMALL)
        for _ in range(rng.randint(1, 4)):
            place = rng.randrange(len(text))
            text[place] = rng.choice(
                ["", "(", "]", "%", "9", '"', "\\", "N", "\n", text[place] * 3]
            )
        try:
            parse("".join(text))
        except IrconvError:
            refused += 1
    assert 1000 < refused < 2000


def test_a_constant_without_content_can_be_looked_at() -> None:
    graph = Graph("big")
    graph.set_outputs([graph.add_parameter("k", np.arange(99.0))])
    read = parse(str(graph))
    assert read == graph
    assert read.value("k").array is None
    verify(read)


def test_a_matrix_without_its_index_is_refused_before_its_type_is_inferred() -> None:
    graph = Graph("g")
    x = graph.add_input("x", TensorType("f32", (1, 1, 3, 3)))
    w = graph.add_parameter("w", np.ones((1, 1, 2, 2), np.float32))
    graph.set_outputs([graph.add_node(Conv((2, 2)), [x, w], ["y"]).result])
    lowered = lower(graph, "conv_matrix")
    arrays = {v.digest: v.array for v in lowered.parameters.values() if v.array is not None}
    text = re.sub(r"ConvMatrix\(%w, .*?\)", "ConvMatrix(%w)", str(lowered))
    with pytest.raises(ParseError, match="ConvMatrix has the wrong number of operands"):
        parse(text, arrays)
