"""What callers may pass to an executable, and what is refused in one line."""

from __future__ import annotations

import numpy as np
import pytest

from irconv.errors import InputError
from irconv.executable import compile as build
from irconv.graph import Graph
from irconv.ops.elementwise import Add
from irconv.ops.identity import Identity
from irconv.types import DTYPES, TensorType

F32 = np.dtype(np.float32)
X = np.arange(6, dtype=F32).reshape(2, 3)


def doubling(shape: tuple[int, ...] = (2, 3), name: str = "x") -> Graph:
    """y = x + x."""
    graph = Graph("double")
    x = graph.add_input(name, TensorType("f32", shape))
    graph.set_outputs([graph.add_node(Add(), [x, x], ["y"]).result])
    return graph


@pytest.mark.parametrize(
    "given",
    [
        X.tolist(),
        [[0, 1, 2], [3, 4, 5]],
        [X[0], X[1]],
        X.astype(">f4"),
        X.astype(np.int8),
        X.astype(np.float16),
        X.astype(np.uint16),
        np.asfortranarray(X),
        np.repeat(X, 2, 1)[:, ::2],
        X[::-1, ::-1].copy()[::-1, ::-1],
        np.frombuffer(b"0" + X.tobytes(), F32, offset=1).reshape(2, 3),
        memoryview(X),
    ],
    ids=range(12),
)
def test_arrays_of_every_make(given):
    for backend in ("numba_cpu", "interpret"):
        np.testing.assert_array_equal(build(doubling(), backend)(given)[0], X * 2)


def test_broadcast_and_read_only_arrays():
    given = np.broadcast_to(np.float32([1, 2, 3]), (2, 3))
    np.testing.assert_array_equal(build(doubling())(given)[0], given * 2)


def test_scalars():
    executable = build(doubling(()))
    for given in (3, 3.0, np.float32(3), np.array(3, F32)):
        (y,) = executable(given)
        assert y.shape == ()
        assert y == 6


@pytest.mark.parametrize(
    ("dtype", "given", "said"),
    [
        ("f32", X.astype(np.float64), "expected f32, got float64 .use .astype..float32"),
        ("f32", X.astype(np.int64), "expected f32, got int64"),
        ("f32", X.astype(np.complex64), "expected f32, got complex64"),
        ("f32", X.astype(object), "expected f32, got object"),
        ("f32", X.astype(str), "expected f32, got <U"),
        ("f32", [[1e300] * 3] * 2, "expected f32, got float64"),
        ("i64", X.astype(np.uint64), "expected i64, got uint64"),
        ("i64", X.tolist(), "expected i64, got float64"),
        ("i8", [[0, 1, 300]] * 2, "expected i8, got int64"),
        ("u8", [[0, 1, -1]] * 2, "expected u8, got int64"),
        ("bool", [[0, 1, 1]] * 2, "expected bool, got int64"),
        ("f32", [[1, 2, 3], [4, 5]], "not an array"),
        ("f32", None, "wrong element type"),
        ("f32", np.ma.masked_array(X), "fill it first"),
        ("f32", X[0], r"wrong shape: expected \[2, 3\], got \[3\]"),
        ("f32", X.T, r"wrong shape: expected \[2, 3\], got \[3, 2\]"),
        ("f32", X[None], r"wrong shape: expected \[2, 3\], got \[1, 2, 3\]"),
        ("f32", 1.0, r"wrong shape: expected \[2, 3\], got \[\]"),
    ],
    ids=range(18),
)
def test_what_is_refused(dtype, given, said):
    graph = Graph("same")
    x = graph.add_input("x", TensorType(dtype, (2, 3)))
    graph.set_outputs([graph.add_node(Identity(), [x]).result])
    with pytest.raises(InputError, match=said) as caught:
        build(graph)(given)
    assert "input x" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", ["i8", "u8", "i64", "u64", "f16", "bf16", "f64", "i4"])
def test_numbers_of_python_are_taken_where_they_fit(dtype):
    graph = Graph("same")
    x = graph.add_input("x", TensorType(dtype, (2,)))
    graph.set_outputs([graph.add_node(Identity(), [x]).result])
    (y,) = build(graph)([1, 7])
    assert y.dtype == DTYPES[dtype]
    assert [int(v) for v in y] == [1, 7]


def test_wrong_names_and_counts():
    executable = build(doubling(name="image"))
    for call, said in (
        (executable, "wrong number of inputs: expected 1 .image., got 0"),
        (lambda: executable(X, X), "wrong number of inputs: expected 1 .image., got 2"),
        (lambda: executable.run({}), "input image is missing"),
        (lambda: executable.run({"imag": X}), "no input is called imag .did you mean image"),
        (lambda: executable.run({"image": X, "y": X}), "no input is called y"),
        (lambda: executable.run({1: X}), "no input is called 1"),
    ):
        with pytest.raises(InputError, match=said):
            call()
