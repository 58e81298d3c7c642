"""The CPU backend's elementwise kernels beside `Op.run`: broadcasts, NaN, infinities, accuracy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from irconv.backends.numba_cpu.binders import pointwise
from irconv.ops import activation as act
from irconv.ops import elementwise, functions
from irconv.ops.fused import Clamp
from irconv.ops.norm import LRN, BatchNormalization
from irconv.ops.reduce import ReduceMax, ReduceMean, ReduceMin, ReduceProd, ReduceSum
from irconv.ops.softmax import LogSoftmax, Softmax
from tests.cpu_cases import (
    F32,
    Const,
    assert_ulps,
    check_exact,
    check_near,
    integers,
    one_node,
    run_both,
    some_shape,
)

SPECIAL = np.float32(
    [0, -0.0, 1, -1, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 3.4e38, -3.4e38, 88.9, -88.9, -104]
)
PAIRS = sorted(set(pointwise.PAIRS) - {elementwise.Pow, act.PRelu}, key=lambda op: op.__name__)


def several(rng: np.random.Generator, count: int) -> list[list[int]]:
    """Shapes that broadcast with each other, of several ranks."""
    whole = some_shape(rng)
    shapes = []
    for _ in range(count):
        shape = [1 if rng.random() < 0.3 else n for n in whole]
        shapes.append(shape[int(rng.integers(0, len(shape) + 1)) if rng.random() < 0.4 else 0 :])
    return shapes


@pytest.mark.parametrize("kind", PAIRS, ids=lambda kind: kind.__name__)
def test_broadcasting_arithmetic(kind):
    rng = np.random.default_rng([1, PAIRS.index(kind)])
    most = 4 if kind.operands == "xs+" else 2
    for trial in range(30):
        count = int(rng.integers(1 if most > 2 else 2, most + 1))
        operands = [integers(rng, s) for s in several(rng, count)]
        if kind is elementwise.Div:
            operands[1] = np.where(operands[1] == 0, 2, operands[1]).astype(F32)
        check_exact(kind(), *operands, threads=1 + trial % 3, fallback=None)


def test_the_usual_broadcasts_have_kernels():
    rng = np.random.default_rng(2)
    shapes = [(2, 3, 4, 5), (3, 1, 1), (1, 3, 1, 5), (), (1,), (2, 1, 4, 1)]
    for left in shapes:
        for right in shapes:
            a, b = integers(rng, left), integers(rng, right)
            check_exact(elementwise.Add(), a, b)
            check_exact(elementwise.Sub(), a, Const(b))
    check_exact(elementwise.Add(), integers(rng, (2,) * 10), integers(rng, (2,) * 10))


def test_a_broadcast_of_too_many_axes_falls_back():
    rng = np.random.default_rng(3)
    a, b = integers(rng, (2, 1, 2, 1, 2, 1)), integers(rng, (1, 2, 1, 2, 1, 2))
    check_exact(elementwise.Add(), a, b, fallback=True)


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint8, np.float16])
def test_arithmetic_of_other_types_falls_back(dtype):
    a, b = np.array([1, 2, 3], dtype), np.array([4, 5, 6], dtype)
    check_exact(elementwise.Add(), a, b, fallback=True)
    check_exact(elementwise.Mul(), a, Const(b), fallback=True)


def test_nan_infinities_and_zeros_through_pairs():
    a, b = np.meshgrid(SPECIAL, SPECIAL)
    for kind in PAIRS:
        check_exact(kind(), a.copy(), b.copy())
        check_exact(kind(), SPECIAL[:, None], SPECIAL)
    check_exact(act.PRelu(), a.copy(), SPECIAL)


def test_prelu_and_pow():
    rng = np.random.default_rng(4)
    x = integers(rng, (2, 3, 4, 5))
    for slope in ((3, 1, 1), (1,), (2, 3, 4, 5), (5,), ()):
        check_exact(act.PRelu(), x, Const(integers(rng, slope)))
    positive = np.abs(rng.standard_normal((4, 7))).astype(F32)
    check_near(elementwise.Pow(), positive, Const(np.float32(2.5)))
    check_exact(elementwise.Pow(), x, Const(np.float32(2)))
    check_exact(elementwise.Pow(), x, np.int64([[2]]), fallback=True)


ACTIVATIONS = [
    act.Relu(),
    act.LeakyRelu(),
    act.LeakyRelu(-2.0),
    act.Sigmoid(),
    act.Tanh(),
    act.Elu(),
    act.Elu(0.3),
    act.Selu(),
    act.Celu(),
    act.Celu(0.25),
    act.ThresholdedRelu(),
    act.ThresholdedRelu(-0.5),
    act.HardSigmoid(),
    act.HardSwish(),
    act.Softplus(),
    act.Softsign(),
    act.Mish(),
    act.Swish(),
    act.Swish(-1.7),
    Clamp(-1.0, 2.0),
    Clamp(0.0),
    functions.Exp(),
    functions.Log(),
    functions.Sqrt(),
    functions.Reciprocal(),
    functions.Neg(),
    functions.Abs(),
]


@pytest.mark.parametrize("op", ACTIVATIONS, ids=str)
def test_functions_of_one_number(op):
    rng = np.random.default_rng(5)
    x = np.concatenate([rng.standard_normal(500) * 4, rng.standard_normal(200) * 60, SPECIAL])
    x = x.astype(F32)
    # where two terms of nearly equal size cancel, one rounding of a term is what remains
    floor = 2.0**-24 if isinstance(op, act.HardSigmoid | act.HardSwish | act.Softplus) else 0.0
    ulps: Any = 4
    if isinstance(op, act.Mish | act.Swish):
        # x times a function that may be below the smallest number
        ulps, floor = 6, 2.0**-142
    if isinstance(op, act.Swish) and op.alpha != 1:
        ulps = 6 + np.abs(op.alpha * np.clip(np.nan_to_num(x), -200, 200))  # of alpha * x
    check_near(op, x, ulps=ulps, floor=floor)


@pytest.mark.parametrize(
    "op", [act.Celu(-0.5), act.Gelu(), act.Shrink(), functions.Erf(), Clamp(np.nan, 1.0)], ids=str
)
def test_functions_without_a_kernel_fall_back(op):
    check_exact(op, SPECIAL, fallback=True)


def test_functions_in_float64():
    rng = np.random.default_rng(6)
    x = rng.standard_normal((3, 50)) * 5
    for op in (act.Relu(), act.Sigmoid(), act.Tanh(), functions.Exp(), act.Elu()):
        (found,), (expected,), nodes = run_both(*one_node(op, x))
        assert nodes[0].kernel != "Op.run"
        assert_ulps(found, expected, 4, 0.0, str(op))
    check_exact(elementwise.Add(), x, x[:1])


def test_clip():
    x = SPECIAL
    for low, high in ((-1.0, 2.0), (None, 3.0), (0.0, None), (5.0, 1.0), (None, None)):
        bounds = [None if b is None else Const(np.float32(b)) for b in (low, high)]
        check_exact(act.Clip(), x, *bounds)
    check_exact(act.Clip(), x, Const(np.float32([0.5])), Const(np.float32([[1.5]])))
    check_exact(act.Clip(), x, Const(np.float32(np.nan)), fallback=True)
    check_exact(act.Clip(), x, np.float32(0.5), fallback=True)
    check_exact(act.Clip(), np.int32([1, 7]), Const(np.int32(2)), fallback=True)


def test_batch_normalization():
    rng = np.random.default_rng(7)
    for shape in ((2, 3, 4, 5), (1, 4, 9), (3, 2), (0, 3, 2), (2, 3, 0)):
        parts = [integers(rng, (shape[1],)) for _ in range(3)]
        variance = 4.0 ** integers(rng, (shape[1],), most=1)
        op = BatchNormalization(epsilon=0.0)
        check_exact(op, integers(rng, shape), *map(Const, (*parts, variance.astype(F32))))
    x = rng.standard_normal((2, 3, 4)).astype(F32)
    parts = [rng.random(3).astype(F32) + 0.5 for _ in range(4)]
    check_near(BatchNormalization(), x, *map(Const, parts), floor=2.0**-20)
    check_exact(BatchNormalization(), x, *parts, fallback=True)
    # a negative variance is NaN, and one axis alone has no channels
    parts[3][1] = -1
    check_near(BatchNormalization(), x, *map(Const, parts), floor=2.0**-20)
    one = [Const(np.float32([2])) for _ in range(4)]
    check_exact(BatchNormalization(), x[0, 0], *one, fallback=True)


def test_local_response_normalization():
    rng = np.random.default_rng(8)
    for size, shape in (
        (1, (2, 3, 4)),
        (3, (1, 5, 2, 3)),
        (4, (2, 3)),
        (9, (1, 4, 5)),
        (2, (0, 3)),
    ):
        x = rng.standard_normal(shape).astype(F32)
        check_near(LRN(size=size), x, ulps=8)
        check_near(LRN(size=size, alpha=0.5, beta=0.6, bias=2.0), x, ulps=8)


@pytest.mark.parametrize("kind", [ReduceSum, ReduceMean, ReduceMax, ReduceMin, ReduceProd])
def test_reductions(kind):
    rng = np.random.default_rng([9, len(kind.__name__)])
    for trial in range(40):
        shape = some_shape(rng, most=5)
        chosen = [a - len(shape) * int(rng.integers(0, 2)) for a in range(len(shape))]
        axes = [a for a in chosen if rng.random() < 0.5]
        op = kind(keepdims=int(rng.integers(2)), noop_with_empty_axes=int(rng.integers(2)))
        x = integers(rng, shape, most=2)
        given = Const(np.int64(axes)) if rng.random() < 0.8 else None
        check_exact(op, x, given, threads=1 + trial % 3, fallback=None)


def test_means_divide_the_sum():
    for count in range(1, 200):
        node = check_exact(ReduceMean(), np.full((2, count), 7, F32), Const(np.int64([1])))
        assert node.kernel == "reduce_sum"


def test_reductions_that_fall_back():
    x = np.arange(64, dtype=F32).reshape((2,) * 6)
    check_exact(ReduceSum(), x, Const(np.int64([0, 2, 4])))
    y = np.arange(2**8, dtype=F32).reshape((2,) * 8)
    check_exact(ReduceSum(), y, Const(np.int64([0, 2, 4, 6])), fallback=True)
    check_exact(ReduceSum(), np.zeros((3, 0), F32), Const(np.int64([1])), fallback=True)
    check_exact(ReduceMax(), np.zeros((3, 0), F32), Const(np.int64([1])), fallback=True)
    check_exact(ReduceSum(), np.int64([[1, 2]]), Const(np.int64([1])), fallback=True)


def test_extremes_keep_nan():
    x = np.float32([[1, np.nan, 3], [-np.inf, -np.inf, -np.inf], [np.inf, 2, np.nan]])
    for axis in (0, 1):
        check_exact(ReduceMax(), x, Const(np.int64([axis])))
        check_exact(ReduceMin(), x, Const(np.int64([axis])))


@pytest.mark.parametrize("kind", [Softmax, LogSoftmax])
def test_softmax(kind):
    rng = np.random.default_rng(10)
    for _ in range(25):
        shape = some_shape(rng, rank=int(rng.integers(1, 5)), most=9)
        x = (rng.standard_normal(shape) * 10 ** rng.integers(0, 3)).astype(F32)
        axis = int(rng.integers(-len(shape), len(shape)))
        # exp(x - top) is exact to 2^-24 of its argument
        reach = float(np.ptp(x)) if x.size else 0.0
        # the sum of n powers is exact to n + 6 units, and so is the absolute error of its logarithm
        floor = (max(shape) + 6) * 2.0**-24
        check_near(kind(axis=axis), x, ulps=4 + reach / 2 + max(shape), floor=floor)


def test_softmax_of_large_and_special_numbers():
    x = np.float32([[1e6, 1e6 + 1, 1e6 - 3], [np.inf, 0, 1], [-np.inf, 0, 1], [np.nan, 0, 1]])
    x = np.concatenate([x, np.full((1, 3), -np.inf, F32)])
    check_near(Softmax(), x)
    check_near(LogSoftmax(), x)
