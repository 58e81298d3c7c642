"""What ops refuse, in which words, and what they do at the edges: NaN, symbols, no elements."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from irconv.attributes import make_op
from irconv.dim import Dim, as_dim
from irconv.errors import BudgetError, GraphError, IrconvError
from irconv.op import UNKNOWN, operand_names
from irconv.registry import first_sentence, ops
from irconv.shapes import broadcast, lower_bound, matmul_shape
from irconv.types import Array, TensorType

NAN, INF = math.nan, math.inf


def t(text: str) -> TensorType:
    """`f32[N, 3]`."""
    dtype, _, rest = text.partition("[")
    return TensorType(dtype, [as_dim(d.strip()) for d in rest[:-1].split(",") if d.strip()])


def ints(*values: int) -> Array:
    return np.array(values, np.int64)


def infer(name: str, attributes: dict[str, Any], operands: Sequence[Any]) -> list[str]:
    """The result types as text; an operand is a type's text, or an array known at compile time."""
    types = [t(o) if isinstance(o, str) else TensorType(o.dtype, o.shape) for o in operands]
    constants = [None if isinstance(o, str) else o for o in operands]
    return [str(found) for found in make_op(name, attributes).infer(types, constants)]


IMAGE = "f32[N, 8, 5, 5]"
# (op, attributes, operands, words of the error)
REFUSED: list[tuple[str, dict[str, Any], list[Any], str]] = [
    ("Relu", {}, ["bool[3]"], "Relu does not take this element type: expected f16 or f32 or f64"),
    ("Sigmoid", {}, ["i32[3]"], "got i32"),
    (
        "PRelu",
        {},
        ["f32[2, 3]", "f32[4]"],
        "the slope does not broadcast: expected [2, 3], got [4]",
    ),
    (
        "Gelu",
        {"approximate": "yes"},
        [IMAGE],
        "approximate has no such value: expected none or tanh",
    ),
    ("Celu", {"alpha": 0.0}, [IMAGE], "Celu divides by alpha"),
    ("Clip", {}, ["f32[3]", "f32[2]"], "Clip: min is one number: got f32[2]"),
    ("Clip", {}, ["f32[3]", "f64[]"], "Clip mixes element types"),
    ("Softmax", {"axis": 2}, ["f32[2, 3]"], "the axis is out of range: expected -2 to 1, got 2"),
    ("Add", {}, ["f32[2, 3]", "f32[4]"], "the shapes do not broadcast: got [2, 3] and [4]"),
    (
        "Add",
        {},
        ["f32[2]", "f64[2]"],
        "Add mixes element types: expected one, got float32, float64",
    ),
    (
        "And",
        {},
        ["f32[2]", "f32[2]"],
        "And does not take this element type: expected bool, got f32",
    ),
    (
        "BitShift",
        {},
        ["u8[2]", "u8[2]"],
        "BitShift: direction has no such value: expected LEFT or RIGHT",
    ),
    ("Where", {}, ["f32[2]", "f32[2]", "f32[2]"], "as the condition: expected bool, got f32"),
    ("Cast", {"to": "f33"}, ["f32[2]"], "unknown element type"),
    (
        "MatMul",
        {},
        ["f32[2, 3]", "f32[4, 5]"],
        "inner sizes of a matrix product differ: expected 3, got 4",
    ),
    ("MatMul", {}, ["f32[]", "f32[4]"], "MatMul needs an operand of rank 1 or more: got f32[]"),
    ("Gemm", {}, ["f32[2, 3]", "f32[4, 5]"], "Gemm: the inner sizes differ: expected 3, got 4"),
    ("Gemm", {}, ["f32[2, 3, 1]", "f32[3, 5]"], "Gemm multiplies two matrices"),
    ("Gemm", {}, ["f32[2, 3]", "f32[3, 5]", "f32[2]"], "Gemm's third operand does not broadcast"),
    ("MaxPool", {"kernel_shape": (3,)}, [IMAGE], "kernel_shape does not fit the image's rank"),
    ("MaxPool", {"kernel_shape": (7, 7)}, [IMAGE], "the kernel is larger than the padded image"),
    (
        "MaxPool",
        {"kernel_shape": (2, 2), "pads": (2, 0, 0, 0)},
        [IMAGE],
        "not smaller than the kernel",
    ),
    ("MaxPool", {"kernel_shape": (2, 2), "strides": (0, 1)}, [IMAGE], "strides is out of range"),
    ("AveragePool", {}, [IMAGE], "AveragePool needs the attribute kernel_shape"),
    ("GlobalMaxPool", {}, ["f32[2, 3]"], "needs an operand of rank 3 or more"),
    (
        "BatchNormalization",
        {},
        [IMAGE, *["f32[7]"] * 4],
        "scale has one number a channel: expected 8, got 7",
    ),
    (
        "GroupNormalization",
        {"num_groups": 3},
        [IMAGE, "f32[8]", "f32[8]"],
        "do not divide the channels",
    ),
    ("LRN", {"size": 0}, [IMAGE], "LRN: size is the number of channels"),
    ("LpNormalization", {"p": 3}, [IMAGE], "wrong p: expected 1 or 2, got 3"),
    ("Reshape", {}, ["f32[2, 6]", ints(5, -1)], "the number of elements differs: expected [2, 6]"),
    ("Reshape", {}, ["f32[2, 6]", ints(-1, -1)], "sizes and at most one -1, got [-1, -1]"),
    ("Reshape", {}, ["f32[2, 6]", ints(1 << 62, 4)], "the number of elements differs"),
    ("Reshape", {}, ["f32[2, 6]", ints(2, 6, 0)], "a 0 copies an axis that is not there"),
    ("Reshape", {"allowzero": 1}, ["f32[0, 6]", ints(0, -1)], "-1 beside a size of 0"),
    ("Reshape", {}, ["f32[2, 6]", "i64[K]"], "the length of the shape must be known"),
    ("Reshape", {}, ["f32[2, 6]", "f32[2]"], "as the shape: expected i32 or i64, got f32"),
    (
        "Flatten",
        {"axis": 3},
        ["f32[2, 6]"],
        "Flatten: the axis is out of range: expected -2 to 2, got 3",
    ),
    ("Transpose", {"perm": (0, 0)}, ["f32[2, 6]"], "perm is no permutation"),
    ("Squeeze", {}, ["f32[2, 1]", ints(0)], "Squeeze: an axis is not of size 1"),
    ("Squeeze", {}, ["f32[N, 1]"], "Squeeze without axes needs known sizes: got f32[N, 1]"),
    ("Unsqueeze", {}, ["f32[2]", ints(0, 0)], "an axis is given twice"),
    ("Unsqueeze", {}, ["f32[2]", ints(2)], "the axis is out of range: expected -2 to 1, got 2"),
    ("Concat", {}, ["f32[2]"], "Concat needs the attribute axis"),
    (
        "Concat",
        {"axis": 0},
        ["f32[2, 3]", "f32[2, 4]"],
        "the sizes of axis 1 differ: expected 3, got 4",
    ),
    ("Concat", {"axis": 0}, ["f32[2, 3]", "f32[2]"], "Concat: the ranks differ"),
    (
        "Split",
        {"num_outputs": 2},
        ["f32[5]", ints(2, 2)],
        "do not add up to the axis: expected 5, got 4",
    ),
    ("Split", {"num_outputs": 2}, ["f32[5]", ints(7, -2)], "an axis of 5 has no such parts"),
    ("Split", {"num_outputs": 4}, ["f32[5]"], "an axis of 5 has no such parts"),
    ("Split", {"num_outputs": 3}, ["f32[5]", ints(2, 3)], "split has one size for each part"),
    ("Slice", {}, ["f32[5]", ints(0), ints(4), ints(0), ints(0)], "Slice: a step is 0"),
    ("Slice", {}, ["f32[5]", ints(0), ints(4, 5)], "ends is not as long as starts"),
    ("Slice", {}, ["f32[5]", ints(0), ints(4), ints(1)], "the axis is out of range"),
    ("Pad", {"mode": "mirror"}, ["f32[5]", ints(1, 1)], "Pad: mode has no such value"),
    ("Pad", {}, ["f32[5]", ints(1, 1, 1)], "pads has two numbers for each axis: expected 2, got 3"),
    ("Pad", {}, ["f32[5]", ints(-3, -3)], "an axis is cut below 0"),
    ("Pad", {"mode": "reflect"}, ["f32[1]", ints(1, 1)], "too short for mode reflect"),
    ("Gather", {}, ["f32[5]", ints(5)], "an index is out of range: expected -5 to 4, got 5 to 5"),
    ("Tile", {}, ["f32[5]", ints(-1)], "Tile: a size is negative"),
    ("Tile", {}, ["f32[5]", ints(1, 2)], "repeats has one number for each axis: expected 1, got 2"),
    ("Range", {}, [np.array(0), np.array(5), np.array(0)], "delta not 0"),
    ("ConstantOfShape", {}, [ints(2, -1)], "a size is negative: got [2, -1]"),
    ("DepthToSpace", {"blocksize": 3}, [IMAGE], "no multiple of the block: expected of 9, got 8"),
    ("SpaceToDepth", {"blocksize": 0}, [IMAGE], "wrong blocksize: expected 1 or more, got 0"),
    ("ReduceSum", {}, ["f32[2, 3]", ints(2)], "the axis is out of range"),
    ("ReduceSum", {}, ["f32[2, 3]", ints(1, -1)], "an axis is given twice"),
    ("ArgMax", {"axis": 1}, ["f32[2, 0]"], "there is no element along axis 1"),
    ("Resize", {"mode": "lanczos"}, [IMAGE], "Resize: mode has no such value"),
    ("Resize", {}, [IMAGE], "Resize needs scales or sizes"),
    (
        "QuantizeLinear",
        {},
        ["f32[2, 3]", "f32[4]"],
        "one scale for each index of the axis: expected 3",
    ),
    ("RandomNormal", {}, [], "RandomNormal needs the attribute seed"),
]


@pytest.mark.parametrize(("name", "attributes", "operands", "words"), REFUSED)
def test_refusals(name: str, attributes: dict[str, Any], operands: list[Any], words: str) -> None:
    with pytest.raises(GraphError) as caught:
        infer(name, attributes, operands)
    assert words in str(caught.value)


BOMBS: list[tuple[str, dict[str, Any], list[Any]]] = [
    ("ConstantOfShape", {}, [ints(10**6, 10**6)]),
    ("ConstantOfShape", {}, [ints(1 << 62, 1 << 62)]),
    ("Expand", {}, ["f32[1]", ints(10**12)]),
    ("Tile", {}, ["f32[8]", ints(10**12)]),
    ("Range", {}, [np.array(0), np.array(10**12), np.array(1)]),
    ("Resize", {}, ["f32[1, 1, 8, 8]", "f32[0]", np.array([1, 1, 1e6, 1e6], np.float32)]),
    ("Pad", {}, ["f32[8]", ints(0, 10**12)]),
    ("Add", {}, ["f32[1000000, 1]", "f32[1, 1000000]"]),
    ("RandomNormal", {"seed": 0.0, "shape": (10**6, 10**6)}, []),
]


@pytest.mark.parametrize(("name", "attributes", "operands"), BOMBS)
def test_bombs(name: str, attributes: dict[str, Any], operands: list[Any]) -> None:
    with pytest.raises(BudgetError, match=f"the result of {name} is too large"):
        infer(name, attributes, operands)


def test_a_bomb_known_at_run_time_only() -> None:
    with pytest.raises(BudgetError):
        make_op("ConstantOfShape", {}).run([ints(10**6, 10**6)])


# (op, attributes, operands, types of the results)
SYMBOLIC: list[tuple[str, dict[str, Any], list[Any], list[str]]] = [
    ("Add", {}, ["f32[N, 1, C]", "f32[5, 1]"], ["f32[N, 5, C]"]),
    ("Add", {}, ["f32[N]", "f32[M]"], ["f32[?]"]),
    ("Add", {}, ["f32[N]", "f32[4]"], ["f32[4]"]),
    ("MatMul", {}, ["f32[N, 2, K]", "f32[K, 3]"], ["f32[N, 2, 3]"]),
    ("Gemm", {"transB": 1}, ["f32[N, K]", "f32[10, K]"], ["f32[N, 10]"]),
    ("MaxPool", {"kernel_shape": (2,), "strides": (2,)}, ["f32[N, 3, 2*L]"], ["f32[N, 3, L]"]),
    ("Reshape", {}, ["f32[N, 4, 5]", ints(0, -1)], ["f32[N, 20]"]),
    ("Reshape", {}, ["f32[N, 4, 5]", ints(-1, 20)], ["f32[N, 20]"]),
    ("Reshape", {}, ["f32[N, 4, 5]", ints(-1, 2, 0)], ["f32[2*N, 2, 5]"]),
    ("Reshape", {}, ["f32[N, 4, 5]", ints(-1, 8)], ["f32[?, 8]"]),
    ("Reshape", {}, ["f32[N, 4]", "i64[3]"], ["f32[?, ?, ?]"]),
    ("Flatten", {}, ["f32[N, 4, L]"], ["f32[N, 4*L]"]),
    ("Concat", {"axis": 1}, ["f32[N, A]", "f32[N, B]", "f32[N, 2]"], ["f32[N, A + B + 2]"]),
    ("Split", {"num_outputs": 2}, ["f32[2*N]"], ["f32[N]", "f32[N]"]),
    ("Slice", {}, ["f32[N, 9]", ints(0), ints(1 << 31)], ["f32[N, 9]"]),
    ("Slice", {}, ["f32[N + 2]", ints(1), ints(-1)], ["f32[N]"]),
    ("Slice", {}, ["f32[N]", ints(1), ints(1 << 31)], ["f32[?]"]),
    ("Slice", {}, ["f32[N]", ints(-1), ints(-(1 << 40)), ints(0), ints(-1)], ["f32[N]"]),
    ("Slice", {}, ["f32[N, 9]", "i64[1]", "i64[1]", ints(1)], ["f32[N, ?]"]),
    ("Pad", {}, ["f32[N]", ints(2, 3)], ["f32[N + 5]"]),
    ("Pad", {}, ["f32[N]", ints(0, -1)], ["f32[?]"]),
    ("Gather", {"axis": 1}, ["f32[N, 4]", "i64[2, K]"], ["f32[N, 2, K]"]),
    ("Tile", {}, ["f32[N, 4]", ints(3, 1)], ["f32[3*N, 4]"]),
    ("Expand", {}, ["f32[N, 1]", ints(1, 6)], ["f32[N, 6]"]),
    ("Shape", {"start": 1}, ["f32[N, 4]"], ["i64[1]"]),
    ("ReduceMean", {"keepdims": 0}, ["f32[N, C, H, W]", ints(2, 3)], ["f32[N, C]"]),
    ("ReduceMean", {"keepdims": 0}, ["f32[N, C]", "i64[1]"], ["f32[?]"]),
    ("Resize", {}, ["f32[N, H]", "f32[0]", np.float32([1, 2])], ["f32[N, 2*H]"]),
    ("Resize", {}, ["f32[N, 2*H]", "f32[0]", np.float32([1, 0.5])], ["f32[N, H]"]),
    ("DepthToSpace", {"blocksize": 2}, ["f32[N, 4*C, H, W]"], ["f32[N, C, 2*H, 2*W]"]),
]


@pytest.mark.parametrize(("name", "attributes", "operands", "found"), SYMBOLIC)
def test_symbols(
    name: str, attributes: dict[str, Any], operands: list[Any], found: list[str]
) -> None:
    assert infer(name, attributes, operands) == found


def run(name: str, attributes: dict[str, Any], *arrays: Any) -> Array:
    with np.errstate(all="ignore"):
        return make_op(name, attributes).run([np.asarray(a) for a in arrays])[0]


ACTIVATIONS = "Relu LeakyRelu Sigmoid Tanh Elu Selu Celu ThresholdedRelu Shrink HardSigmoid "
ACTIVATIONS += "HardSwish Softplus Softsign Gelu Mish Swish Softmax LogSoftmax"


@pytest.mark.parametrize("name", ACTIVATIONS.split())
def test_nan_propagates_through_activations(name: str) -> None:
    assert np.isnan(run(name, {}, np.array([[1.0], [NAN]], np.float32))[1, 0])


@pytest.mark.parametrize("name", ["MaxPool", "AveragePool", "LpPool"])
def test_nan_propagates_through_pools(name: str) -> None:
    x = np.arange(6, dtype=np.float32).reshape(1, 1, 6)
    x[0, 0, 2] = NAN
    found = run(name, {"kernel_shape": (2,), "strides": (2,)}, x)
    assert np.isnan(found[0, 0]).tolist() == [False, True, False]


def test_nan_propagates_through_comparisons_of_size() -> None:
    x, y = np.float32([NAN, 1]), np.float32([0, 2])
    assert np.isnan(run("Max", {}, x, y)).tolist() == [True, False]
    assert np.isnan(run("Clip", {}, x, np.float32(0), np.float32(1))).tolist() == [True, False]
    assert np.isnan(run("ReduceMin", {}, x)).all()


def test_padding_never_wins_a_max_pool() -> None:
    x = np.full((1, 1, 3), -5, np.float32)
    attributes = {"kernel_shape": (3,), "pads": (1, 1), "n_outputs": 2}
    y, places = make_op("MaxPool", attributes).run([x])
    assert y.tolist() == [[[-5, -5, -5]]]
    assert places.tolist() == [[[0, 0, 1]]]
    lowest = np.full((1, 1, 3), -INF, np.float32)
    assert make_op("MaxPool", attributes).run([lowest])[1].tolist() == [[[0, 0, 1]]]


def test_extreme_numbers() -> None:
    x = np.float32([-INF, -1000, 0, 1000, INF])
    assert run("Sigmoid", {}, x).tolist() == [0, 0, 0.5, 1, 1]
    assert run("Softplus", {}, x).tolist() == [0, 0, np.float32(math.log(2)), 1000, INF]
    assert run("Softmax", {}, np.float32([1000, 1000])).tolist() == [0.5, 0.5]
    assert run("LogSoftmax", {}, np.float32([0, -1000])).tolist() == [0, -1000]
    assert run("ReduceLogSumExp", {}, np.float32([1000, 1000])) == np.float32(1000 + math.log(2))


def test_division_of_integers_truncates_toward_zero() -> None:
    a, b = np.array([7, -7, 7, -7], np.int32), np.array([2, 2, -2, -2], np.int32)
    assert run("Div", {}, a, b).tolist() == [3, -3, -3, 3]
    assert run("Mod", {}, a, b).tolist() == [1, 1, -1, -1]
    assert run("Mod", {"fmod": 1}, a, b).tolist() == [1, -1, 1, -1]
    exact = np.array([1 << 60, -(1 << 60)], np.int64)
    assert run("Div", {}, exact, np.array([3, 3])).tolist() == [(1 << 60) // 3, -((1 << 60) // 3)]
    assert run("Pow", {}, np.array([3, 2, -1, 1]), np.array([39, -1, -3, -2])).tolist() == [
        *(3**39, 0, -1, 1)
    ]


def test_half_precision_is_computed_in_float32() -> None:
    x = np.full(4096, 1, np.float16)
    assert run("ReduceMean", {}, x) == 1
    assert run("ReduceSum", {}, x * np.float16(16)).tolist() == [INF]
    assert run("Softmax", {}, x).dtype == np.float16


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_results_keep_the_float_type(dtype: type) -> None:
    x = np.ones((1, 4, 3, 3), dtype)
    for name, attributes in (
        *(("Softmax", {}), ("GlobalAveragePool", {}), ("LRN", {"size": 3}), ("ReduceMean", {})),
        *(("AveragePool", {"kernel_shape": (2, 2)}), ("LpNormalization", {}), ("Gelu", {})),
        ("Resize", {"mode": "linear"}),
    ):
        extra = [np.zeros(0, np.float32), np.float32([1, 1, 2, 2])] if name == "Resize" else []
        assert run(name, attributes, x, *extra).dtype == dtype, name


def test_an_empty_batch_gives_an_empty_result() -> None:
    x = np.zeros((0, 4, 6, 6), np.float32)
    assert run("MaxPool", {"kernel_shape": (2, 2)}, x).shape == (0, 4, 5, 5)
    assert run("AveragePool", {"kernel_shape": (2, 2), "ceil_mode": 1}, x).shape == (0, 4, 5, 5)
    assert run("GlobalMaxPool", {}, x).shape == (0, 4, 1, 1)
    assert run("Reshape", {}, x, ints(0, -1)).shape == (0, 144)
    assert run("Flatten", {}, x).shape == (0, 144)
    assert run("Softmax", {"axis": 1}, x).shape == x.shape
    assert run("Gemm", {}, np.zeros((0, 3)), np.zeros((3, 2))).shape == (0, 2)


def test_random_ops_say_what_they_draw() -> None:
    op = make_op("RandomNormal", {"seed": 3.0, "shape": (1000,), "mean": 5.0})
    assert op.random
    (first,), (second,) = op.run([]), op.run([])
    assert first.dtype == np.float32
    np.testing.assert_array_equal(first, second)
    assert abs(first.mean() - 5) < 0.2
    other = make_op("RandomNormal", {"seed": 4.0, "shape": (1000,), "mean": 5.0}).run([])[0]
    assert not np.array_equal(first, other)
    p = np.float32([0, 1, 0.5] * 1000)
    drawn = run("Bernoulli", {"seed": 1.0, "dtype": "bool"}, p).reshape(-1, 3)
    assert not drawn[:, 0].any()
    assert drawn[:, 1].all()
    assert 400 < drawn[:, 2].sum() < 600
    logits = np.log(np.float32([[0.8, 0.2]]))
    classes = run("Multinomial", {"seed": 1.0, "sample_size": 1000}, logits)
    assert (classes.shape, classes.dtype) == ((1, 1000), np.int32)
    assert 150 < classes.sum() < 250
    assert make_op("RandomUniformLike", {"seed": 1.0}).infer([t("f32[N]")], [None]) == (
        t("f32[N]"),
    )


def test_costs_count_multiply_adds() -> None:
    types = [t("f32[N, 6]"), t("f32[6, 4]")]
    op = make_op("MatMul", {})
    results = op.infer(types, [None, None])
    assert str(op.cost(types, results).macs) == "24*N"
    op = make_op("Gemm", {"transA": 1})
    types = [t("f32[6, N]"), t("f32[6, 4]")]
    assert str(op.cost(types, op.infer(types, [None, None])).macs) == "24*N"


def test_bounds_of_symbolic_sizes() -> None:
    for text, least in (
        ("N", 0),
        ("2*N + 3", 3),
        ("N - 1", -1),
        ("N - M", None),
        ("(N + 1)//2", 0),
        ("7", 7),
    ):
        assert lower_bound(as_dim(text)) == least, text
    n: Dim = as_dim("N")
    assert broadcast([(n, 1), (1, 4), (4,)]) == (n, 4)
    assert matmul_shape((n, 2, 3), (3,)) == (n, 2)
    assert broadcast([]) == ()


def test_every_op_has_a_summary_and_named_operands() -> None:
    for name, cls in ops().items():
        assert first_sentence(cls).endswith((".", "?")), name
    assert operand_names(make_op("Resize", {})) == ("x", "roi?", "scales?", "sizes?")
    assert UNKNOWN == "?"
    assert issubclass(BudgetError, IrconvError)
