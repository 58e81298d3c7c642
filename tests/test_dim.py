"""Sizes: normal form, arithmetic against integers, text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from irconv.dim import Dim, as_dim, parse_dim, substitute, symbol, symbols_of
from irconv.errors import GraphError

N, M = symbol("N"), symbol("M")


@st.composite
def dims(draw: st.DrawFn, depth: int = 3) -> tuple[Dim, str]:
    """A size and the Python expression that made it."""
    if depth == 0 or draw(st.booleans()):
        leaf = draw(st.sampled_from(["N", "M", "1", "2", "7"]))
        return parse_dim(leaf), leaf
    (a, x), (b, y) = draw(dims(depth=depth - 1)), draw(dims(depth=depth - 1))
    operator = draw(st.sampled_from(["+", "*", "-", "//"]))
    if operator == "//":
        divisor = draw(st.integers(1, 6))
        return a // divisor, f"(({x}) // {divisor})"
    value = {"+": a + b, "*": a * b, "-": a - b}[operator]
    return value, f"(({x}) {operator} ({y}))"


@given(dims(), st.integers(0, 9), st.integers(0, 9))
def test_arithmetic_is_that_of_integers(made: tuple[Dim, str], n: int, m: int) -> None:
    dim, expression = made
    expected = eval(expression, {"N": n, "M": m})
    assert substitute(dim, {"N": n, "M": m}) == expected


@given(dims())
def test_text_reads_back(made: tuple[Dim, str]) -> None:
    dim, _ = made
    assert parse_dim(str(dim)) == dim


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((N + 1) * (N - 1), N * N - 1),
        ((2 * N + 4) // 2, N + 2),
        ((3 * N + 5) // 2, (3 * N + 1) // 2 + 2),
        ((4 * N * M) // N, 4 * M),
        (N - N, 0),
        ((N + N) // 2, N),
        ((2 * N + 1) // 4, N // 2),
        ((6 * N - 5) // 3, 2 * N - 2),
        (N // 2 // 3, N // 6),
        ((N // 2 + 1) // 2, (N + 2) // 4),
        ((2 * ((N - 1) // 2) + 7) // 4, (N + 5) // 4),
    ],
)
def test_equal_sizes_have_one_form(a: Dim, b: Dim) -> None:
    assert a == b
    assert hash(a) == hash(b)


def test_names_of_any_kind_are_quoted() -> None:
    odd = symbol('batch "size"\n\u202e')
    assert str(odd) == '"batch \\"size\\"\\u{a}\\u{202e}"'
    assert parse_dim(str(odd)) == odd
    assert symbols_of(odd * N // 2) == {"N", 'batch "size"\n\u202e'}


@pytest.mark.parametrize("text", ["", "N +", "(N", "N ** 2", "N^99", "1//0", "(" * 50 + "N", "%"])
def test_what_is_not_a_size_is_refused(text: str) -> None:
    with pytest.raises(GraphError, match="not a size"):
        parse_dim(text)


def test_a_fraction_is_no_size() -> None:
    with pytest.raises(GraphError, match="not a size"):
        as_dim(2.5)  # type: ignore[arg-type]
