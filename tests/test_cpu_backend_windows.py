"""The CPU backend's sliding windows beside `Op.run`: convolutions, pools, patches."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from irconv.errors import GraphError
from irconv.op import Op
from irconv.ops import activation as act
from irconv.ops.conv import Conv, ConvTranspose
from irconv.ops.fused import Clamp, FusedConv
from irconv.ops.im2col import Col2Im, Im2Col
from irconv.ops.pool import AveragePool, GlobalAveragePool, GlobalMaxPool, LpPool, MaxPool
from irconv.report import OP_RUN
from irconv.window import Windowed
from tests.cpu_cases import (
    F32,
    Const,
    assert_ulps,
    assert_within_policy,
    check_exact,
    integers,
    one_node,
    run_both,
)

TOP = (40, 14, 7)  # the longest image axis, by rank


def window(rng: np.random.Generator, rank: int, kernel_top: int = 4) -> dict[str, Any]:
    """Attributes of a window of `rank` axes, pads at times longer than the strides."""
    return {
        "kernel_shape": tuple(int(k) for k in rng.integers(1, kernel_top, rank)),
        "strides": tuple(int(s) for s in rng.integers(1, 4, rank)),
        "pads": tuple(int(p) for p in rng.integers(0, 4, 2 * rank)),
        "dilations": tuple(int(d) for d in rng.integers(1, 3, rank)),
    }


def image(rng: np.random.Generator, op: Windowed, channels: int) -> np.ndarray:
    """Integers [N, channels, *spatial] that the window fits; no image at times."""
    spans = [d * (k - 1) + 1 for d, k in zip(op.dilations, op.kernel_shape, strict=True)]
    least = [max(1, s - a - b) for s, (a, b) in zip(spans, op.pad_pairs, strict=True)]
    spatial = [int(rng.integers(n, n + TOP[op.rank - 1])) for n in least]
    return integers(rng, (int(rng.choice([0, 1, 1, 2, 3])), channels, *spatial))


def convolution(rng: np.random.Generator, rank: int, kind: type[Windowed] = Conv) -> tuple:
    """(op, x, w, b) of a random convolution with groups, depthwise at times."""
    group = int(rng.choice([1, 1, 2, 3]))
    depth = 1 if rng.random() < 0.3 else int(rng.integers(1, 8))
    op = kind(**window(rng, rank), group=group)
    x = image(rng, op, group * depth)
    w = integers(rng, (group * int(rng.integers(1, 11)), depth, *op.kernel_shape))
    b = integers(rng, (len(w),)) if rng.random() < 0.7 else None
    return op, x, w, b


def constant(array: np.ndarray | None) -> Const | None:
    return None if array is None else Const(array)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_convolution(rank):
    rng = np.random.default_rng([1, rank])
    for trial in range(60):
        op, x, w, b = convolution(rng, rank)
        check_exact(op, x, Const(w), constant(b), threads=1 + trial % 3)


def a_pool(rng: np.random.Generator, sizes: tuple[int, ...]) -> Op | None:
    """A pool over an image of these sizes, or None where the draw fits none."""
    if rng.random() < 0.2:
        return [GlobalAveragePool, GlobalMaxPool][int(rng.integers(2))]()
    drawn = window(rng, len(sizes))
    drawn["ceil_mode"] = int(rng.integers(2))
    try:
        if rng.random() < 0.5:
            op: Windowed = MaxPool(**drawn)
        else:
            op = AveragePool(**drawn, count_include_pad=int(rng.integers(2)))
        out = op.out_sizes(sizes, bool(drawn["ceil_mode"]))
    except GraphError:
        return None
    return op if all(isinstance(n, int) and n > 0 for n in out) else None


def some_pool(rng: np.random.Generator, sizes: tuple[int, ...]) -> Op:
    return next(pool for pool in iter(lambda: a_pool(rng, sizes), 0) if pool is not None)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_convolution_with_epilogue_and_pool(rank):
    rng = np.random.default_rng([2, rank])
    kernels = set()
    for trial in range(70):
        plain, x, w, b = convolution(rng, rank)
        before = (len(x), len(w), *plain.out_sizes(x.shape[2:]))
        r = integers(rng, before) if rng.random() < 0.4 else None
        activation = [None, act.Relu(), Clamp(-3.0, 6.0), act.LeakyRelu(0.5)][trial % 4]
        pool = some_pool(rng, before[2:]) if rng.random() < 0.7 else None
        op = FusedConv(**{**vars(plain), "activation": activation, "pool": pool})
        given = r if r is None or rng.random() < 0.8 else Const(r)
        node = check_exact(op, x, Const(w), constant(b), given, threads=1 + trial % 3)
        kernels.add(node.kernel)
    assert kernels >= {"convolve", "convolve_pool", "depthwise"}


ACTIVATIONS = [
    act.Relu(),
    act.LeakyRelu(0.2),
    act.Sigmoid(),
    act.Tanh(),
    act.Elu(0.7),
    act.Selu(),
    act.Celu(0.6),
    act.ThresholdedRelu(0.3),
    act.HardSigmoid(),
    act.HardSwish(),
    act.Softplus(),
    act.Softsign(),
    act.Mish(),
    act.Swish(),
    Clamp(-1.0, 1.0),
]


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
def test_every_activation_after_a_convolution(activation):
    rng = np.random.default_rng(3)
    for group, pool in ((1, None), (1, MaxPool((2, 2), strides=(2, 2))), (6, None)):
        op = FusedConv((3, 3), pads=(1,) * 4, group=group, activation=activation, pool=pool)
        # the sums are exact: only the activation rounds
        x, w = integers(rng, (2, 6, 9, 11)), integers(rng, (12, 6 // group, 3, 3), most=2) / 8
        w = w.astype(F32)
        (found,), (expected,), nodes = run_both(*one_node(op, x, Const(w)), float64=True)
        assert nodes[0].kernel != OP_RUN
        assert_ulps(found, expected, 6, 2.0**-24, str(op))


@pytest.mark.parametrize("activation", [act.Gelu(), act.Shrink(), act.Celu(-1.0)], ids=str)
def test_an_activation_without_a_kernel_falls_back(activation):
    x, w = np.ones((1, 2, 4, 4), F32), np.ones((3, 2, 3, 3), F32)
    check_exact(FusedConv((3, 3), activation=activation), x, Const(w), fallback=True)


@pytest.mark.parametrize("kind", [Conv, FusedConv])
def test_convolutions_without_a_kernel_fall_back(kind):
    rng = np.random.default_rng(4)
    x, w, b = integers(rng, (1, 2, 5, 5)), integers(rng, (4, 2, 3, 3)), integers(rng, (4,))
    check_exact(kind((3, 3)), x, w, Const(b), fallback=True)
    check_exact(kind((3, 3)), x, Const(w), b, fallback=True)
    deep = integers(rng, (1, 2, 3, 3, 3, 3)), Const(integers(rng, (2, 2, 1, 2, 1, 2)))
    check_exact(kind((1, 2, 1, 2)), *deep, fallback=True)
    half = x.astype(np.float16), Const(w.astype(np.float16))
    check_exact(kind((3, 3)), *half, fallback=True)


def test_images_and_channels_of_size_zero():
    rng = np.random.default_rng(5)
    w, b = Const(integers(rng, (4, 2, 3, 3))), Const(integers(rng, (4,)))
    check_exact(Conv((3, 3)), integers(rng, (1, 2, 0, 5)), w, b)
    check_exact(Conv((3, 3), pads=(2, 0, 2, 0)), integers(rng, (1, 2, 0, 5)), w, b, fallback=True)
    nothing = Const(np.zeros((4, 0, 1, 1), F32))
    check_exact(Conv((1, 1)), np.zeros((2, 0, 3, 3), F32), nothing, b, fallback=True)
    check_exact(MaxPool((2, 2)), integers(rng, (1, 2, 0, 5)))
    check_exact(Im2Col((1, 1)), integers(rng, (0, 2, 3, 5)))
    check_exact(GlobalMaxPool(), integers(rng, (1, 2, 0)), fallback=True)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("group", [1, 8])
def test_rounding_stays_within_the_policy(dtype, group):
    rng = np.random.default_rng([6, group])
    x = rng.standard_normal((2, 32, 13, 11)).astype(dtype)
    w = rng.standard_normal((16, 32 // group, 3, 3)).astype(dtype)
    b, r = rng.standard_normal(16).astype(dtype), rng.standard_normal((2, 16, 13, 11)).astype(dtype)
    op = FusedConv((3, 3), pads=(1,) * 4, group=group)
    (y,), _, _ = run_both(*one_node(op, x, Const(w), Const(b), r), threads=2)
    wide = [np.longdouble(a) for a in (x, w, b, r)]
    (y64,), (size,) = op.run(wide), op.run([abs(a) for a in wide])
    assert_within_policy(y, y64, size, 9 * 32 // group, str(op))


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_pools(rank):
    rng = np.random.default_rng([7, rank])
    kinds = set()
    for trial in range(80):
        sizes = tuple(int(n) for n in rng.integers(1, TOP[rank - 1], rank))
        op = some_pool(rng, sizes)
        x = integers(rng, (int(rng.integers(0, 3)), int(rng.integers(1, 5)), *sizes))
        if trial % 4 == 0:
            x[rng.random(x.shape) < 0.1] = np.nan
            x[rng.random(x.shape) < 0.1] = -np.inf
        dtype = [np.float32, np.float64][trial % 2]
        (found,), (expected,), nodes = run_both(*one_node(op, x.astype(dtype)), 1 + trial % 3)
        assert nodes[0].kernel in {"pool", "nothing"}
        if isinstance(op, GlobalAveragePool):  # NumPy's mean of float32 may round twice
            assert_ulps(found, expected, 1, 0.0, str(op))
        else:
            np.testing.assert_array_equal(found, expected, err_msg=f"{op} {x.shape}")
        kinds.add(type(op))
    assert len(kinds) == 4


def test_pools_without_a_kernel_fall_back():
    rng = np.random.default_rng(8)
    x = integers(rng, (1, 2, 5, 5))
    check_exact(MaxPool((2, 2), n_outputs=2), x, fallback=True)
    check_exact(MaxPool((2, 2)), x.astype(np.int8), fallback=True)
    check_exact(AveragePool((2, 2)), x.astype(np.float16), fallback=True)
    check_exact(LpPool((2, 2)), x, fallback=True)
    check_exact(MaxPool((1, 2, 1, 2)), integers(rng, (1, 2, 3, 3, 3, 3)), fallback=True)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_transposed_convolution(rank):
    rng = np.random.default_rng([9, rank])
    bound = 0
    for trial in range(60):
        group = int(rng.choice([1, 2, 3]))
        drawn = window(rng, rank)
        drawn["pads"] = tuple(p // 2 for p in drawn["pads"])
        limits = [max(s, d) for s, d in zip(drawn["strides"], drawn["dilations"], strict=True)]
        extra = tuple(int(rng.integers(0, n)) for n in limits)
        op = ConvTranspose(**drawn, group=group, output_padding=extra)
        spatial = [int(n) for n in rng.integers(1, (12, 7, 4)[rank - 1], rank)]
        x = integers(rng, (int(rng.integers(0, 3)), group * int(rng.integers(1, 5)), *spatial))
        w = integers(rng, (x.shape[1], int(rng.integers(1, 6)), *op.kernel_shape))
        b = integers(rng, (w.shape[1] * group,)) if rng.random() < 0.6 else None
        full = op.full_sizes(spatial)
        if any(n - a - b < 1 for n, (a, b) in zip(full, op.pad_pairs, strict=True)):
            continue
        node = check_exact(op, x, Const(w), constant(b), threads=1 + trial % 3, fallback=None)
        inside = all(p < s for p, s in zip(extra, op.strides, strict=True))
        assert node.kernel != OP_RUN or not inside
        bound += node.kernel == "convolve_transposed"
    assert bound > 15


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_patch_matrix_and_its_adjoint(rank):
    rng = np.random.default_rng([10, rank])
    for trial in range(40):
        group = int(rng.choice([1, 2, 3]))
        op = Im2Col(**window(rng, rank), group=group)
        x = image(rng, op, group * int(rng.integers(1, 4)))
        check_exact(op, x, threads=1 + trial % 3)
        whole = replace(op, group=1)
        columns = integers(rng, whole.run([x])[0][:, 0].shape)
        back = Col2Im(op.strides, op.pads, op.dilations)
        shapes = Const(np.int64(x.shape[2:])), Const(np.int64(op.kernel_shape))
        check_exact(back, columns, *shapes, threads=1 + trial % 3)
