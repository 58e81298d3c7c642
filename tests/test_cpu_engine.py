"""The CPU kernels against NumPy: exact on integers, within the bound on floats, between guards."""

from __future__ import annotations

import ctypes
from dataclasses import replace
from itertools import product as combinations
from math import inf, prod

import numpy as np
import pytest

from irconv.backends.numba_cpu import native, slots, steps
from irconv.backends.numba_cpu.activations import pass_code
from irconv.backends.numba_cpu.tiles import ROWS, tile_code
from irconv.geometry import ConvGeometry, window_size

F32, F64 = np.dtype(np.float32), np.dtype(np.float64)
CANARY = 12345.0
GUARD = 4096  # elements on each side: more than any stray vector


class Guarded:
    """An array between guard zones: NaN for what is read, canaries for what is written."""

    def __init__(self, values: np.ndarray, written: bool = False) -> None:
        size = values.size
        self.space = np.full(size + 2 * GUARD, CANARY if written else np.nan, values.dtype)
        start = GUARD + (-self.space.ctypes.data // values.itemsize) % (64 // values.itemsize)
        self.array = self.space[start : start + size].reshape(values.shape)
        self.array[...] = values
        self.before, self.after = self.space[:start], self.space[start + size :]
        self.written = written

    @property
    def address(self) -> int:
        return int(self.array.ctypes.data)

    def check(self) -> None:
        for zone in (self.before, self.after):
            assert (zone == CANARY).all() if self.written else np.isnan(zone).all()


def launch(
    step: steps.Step, out: tuple[int, ...], plain: bool = False, **arrays: np.ndarray | None
) -> np.ndarray:
    """Run all parts of a step between guards; the result."""
    given = {name: Guarded(a) for name, a in arrays.items() if a is not None}
    y = Guarded(np.full(out, np.nan, step.dtype), written=True)
    scratch = Guarded(np.full(step.scratch * step.parts, np.nan, step.dtype), written=True)
    addresses = {name: guarded.address for name, guarded in given.items()}
    row = step.bind(plain, Y=y.address, SCRATCH=scratch.address, **addresses)
    before = {name: guarded.array.tobytes() for name, guarded in given.items()}
    for part in range(step.parts):
        native.run(int(row[slots.KERNEL]), row, part, step.parts)
    for name, guarded in given.items():
        guarded.check()
        assert guarded.array.tobytes() == before[name], f"{name} was written"
    y.check()
    scratch.check()
    return y.array


def patches(x: np.ndarray, g: ConvGeometry) -> np.ndarray:
    """[N, group, channels, taps, prod(out)] in the dtype of x, by slices of the padded image."""
    rank = g.rank
    pads = [(0, 0), (0, 0), *zip(g.pads[:rank], g.pads[rank:], strict=True)]
    padded = np.pad(x, pads)
    views = []
    for tap in np.ndindex(*g.kernel):
        axes = tuple(
            slice(t * d, t * d + (o - 1) * s + 1, s)
            for t, d, o, s in zip(tap, g.dilations, g.out, g.strides, strict=True)
        )
        views.append(padded[(slice(None), slice(None), *axes)].reshape(*x.shape[:2], -1))
    stacked = np.stack(views, axis=2)
    return stacked.reshape(x.shape[0], g.group, -1, *stacked.shape[2:])


def convolved(x: np.ndarray, w: np.ndarray, g: ConvGeometry) -> np.ndarray:
    """The convolution in float64."""
    columns = patches(x.astype(F64), g)
    matrix = w.astype(F64).reshape(g.group, -1, *columns.shape[2:4])
    out = np.einsum("grct,ngctp->ngrp", matrix, columns)
    return out.reshape(x.shape[0], g.out_channels, *g.out)


def spread(x: np.ndarray, w: np.ndarray, g: ConvGeometry) -> np.ndarray:
    """The transposed convolution in float64: every input pixel, times the kernel, added up."""
    rank = g.rank
    sizes = [i + sum(p) for i, p in zip(g.image, g.pad_pairs, strict=True)]
    padded = np.zeros((x.shape[0], g.group, g.in_channels // g.group, *sizes))
    split = x.astype(F64).reshape(x.shape[0], g.group, -1, *g.out)
    weights = w.reshape(g.group, -1, *w.shape[1:])
    for tap in np.ndindex(*g.kernel):
        axes = tuple(
            slice(t * d, t * d + (o - 1) * s + 1, s)
            for t, d, o, s in zip(tap, g.dilations, g.out, g.strides, strict=True)
        )
        here = weights[(..., *tap)]
        padded[(..., *axes)] += np.einsum("grc,ngr...->ngc...", here, split)
    inner = tuple(slice(p, p + i) for p, i in zip(g.pads[:rank], g.image, strict=True))
    return padded[(..., *inner)].reshape(x.shape[0], g.in_channels, *g.image)


def along_channels(b: np.ndarray, rank: int) -> np.ndarray:
    return b.reshape(-1, *(1,) * rank)


def random_geometry(rng: np.random.Generator, rank: int, depthwise: bool = False) -> ConvGeometry:
    """A small convolution whose kernel fits its padded image."""
    while True:
        group = int(rng.integers(1, 4)) if not depthwise else int(rng.integers(1, 6))
        kernel = tuple(int(k) for k in rng.integers(1, (8, 5, 4)[rank - 1], rank))
        top = (90, 24, 9)[rank - 1]
        g = ConvGeometry(
            in_channels=group * (1 if depthwise else int(rng.integers(1, 9))),
            out_channels=group * int(rng.integers(1, 3 if depthwise else 20)),
            image=tuple(int(v) for v in rng.integers(1, top, rank)),
            kernel=kernel,
            strides=tuple(int(v) for v in rng.integers(1, 4, rank)),
            pads=tuple(int(v) for v in rng.integers(0, 4, 2 * rank)),
            dilations=tuple(int(v) for v in rng.integers(1, 3, rank)),
            group=group,
        )
        if g._fits():
            return g


def draw(rng: np.random.Generator, shape: tuple[int, ...], exact: bool, dtype=F32) -> np.ndarray:
    if exact:
        return rng.integers(-4, 5, shape).astype(dtype)
    return rng.standard_normal(shape).astype(dtype)


def assert_close(y: np.ndarray, y64: np.ndarray, size: np.ndarray, depth: int) -> None:
    """The numbers policy: |y - y64| <= (K + 3) * 2^-24 * (sum|x||w| + |b| + |r|)."""
    unit = 2.0**-24 if y.dtype == F32 else 2.0**-52
    excess = np.abs(y - y64) - (depth + 3) * unit * size
    assert (excess <= 0).all(), excess.max()


def check_convolution(rng, g, make, weights, bias, exact, dtype=F32, plain=False) -> None:
    """One random convolution with bias, residual and a clamp, by one kernel."""
    images, parts = int(rng.integers(1, 4)), int(rng.integers(1, 4))
    x = draw(rng, (images, g.in_channels, *g.image), exact, dtype)
    w = draw(rng, g.weights_shape, exact, dtype)
    b = draw(rng, (g.out_channels,), exact, dtype) if rng.random() < 0.8 else None
    out = (images, g.out_channels, *g.out)
    r = draw(rng, out, exact, dtype) if rng.random() < 0.5 else None
    low, high = [(-inf, inf), (0.0, inf), (0.0, 6.0)][rng.integers(3)]
    step = make(g, images, dtype, parts, steps.Epilogue(low, high))
    y = launch(
        step,
        out,
        plain,
        X=x,
        WEIGHTS=weights(w, g),
        RESIDUAL=r,
        BIAS=None if b is None else bias(b, g),
    )
    y64 = convolved(x, w, g)
    size = convolved(np.abs(x), np.abs(w), g)
    if b is not None:
        y64, size = y64 + along_channels(b, g.rank), size + along_channels(np.abs(b), g.rank)
    if r is not None:
        y64, size = y64 + r, size + np.abs(r)
    y64 = np.clip(y64, low, high)
    if exact:
        np.testing.assert_array_equal(y, y64)
    depth = g.in_channels // g.group * g.taps
    assert_close(y, y64, size, depth)


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_direct_convolution_of_random_shapes(rank, exact):
    rng = np.random.default_rng([1, rank, exact])
    for _ in range(60):
        g = random_geometry(rng, rank)
        check_convolution(rng, g, steps.convolution, steps.direct_weights, steps.direct_bias, exact)


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_depthwise_convolution_of_random_shapes(rank, exact):
    rng = np.random.default_rng([2, rank, exact])

    def as_is(array, g):
        return array

    for _ in range(60):
        g = random_geometry(rng, rank, depthwise=True)
        check_convolution(rng, g, steps.depthwise_convolution, as_is, as_is, exact)


@pytest.mark.parametrize("channels", [64, 700])
def test_direct_convolution_over_several_blocks_of_depth(channels):
    rng = np.random.default_rng(3)
    for kernel, image in (((3, 3), (14, 14)), ((1, 1), (7, 7)), ((3, 3), (56, 20))):
        pads = tuple(k // 2 for k in kernel) * 2
        g = ConvGeometry(channels, 24, image, kernel, (1, 1), pads, (1, 1))
        check_convolution(rng, g, steps.convolution, steps.direct_weights, steps.direct_bias, False)


def test_the_plain_twin_of_the_tile_gives_the_same_results():
    rng = np.random.default_rng(4)
    for _ in range(20):
        g = random_geometry(rng, 2)
        check_convolution(
            rng,
            g,
            steps.convolution,
            steps.direct_weights,
            steps.direct_bias,
            exact=True,
            plain=True,
        )


def test_float64_runs_by_the_same_code():
    rng = np.random.default_rng(5)
    for _ in range(10):
        g = random_geometry(rng, 2)
        check_convolution(
            rng,
            g,
            steps.convolution,
            steps.direct_weights,
            steps.direct_bias,
            exact=False,
            dtype=F64,
        )


def test_every_tile_size_writes_its_own_elements_only():
    rng = np.random.default_rng(6)
    width = steps.panel_width(F32)
    whole, real, place = ctypes.c_int64, ctypes.c_float, ctypes.c_void_p
    kinds = [
        whole,
        place,
        whole,
        place,
        whole,
        place,
        whole,
        whole,
        whole,
        place,
        place,
        whole,
        whole,
        real,
        real,
    ]
    a, b = draw(rng, (7, ROWS), True), draw(rng, (7, width), True)
    bias, residual = draw(rng, (ROWS,), True), draw(rng, (ROWS, width + 5), True)
    code = tile_code(F32)
    for rows, columns, add in combinations(range(1, ROWS + 1), range(1, width + 1), (0, 1)):
        c = np.full((ROWS, width + 3), CANARY, F32)
        ctypes.CFUNCTYPE(None, *kinds)(code)(
            7,
            a.ctypes.data,
            ROWS,
            b.ctypes.data,
            width,
            c.ctypes.data,
            width + 3,
            rows,
            columns,
            bias.ctypes.data,
            residual.ctypes.data,
            width + 5,
            add,
            -50.0,
            5000.0,
        )
        expected = np.full_like(c, CANARY)
        total = a.T @ b + bias[:, None] + residual[:, :width] + add * CANARY
        expected[:rows, :columns] = np.clip(total, -50, 5000)[:rows, :columns]
        np.testing.assert_array_equal(c, expected)


def random_pool(rng: np.random.Generator, g: ConvGeometry) -> steps.PoolWindow | None:
    """A pool over the output of g, in which every window meets the image."""
    rank = g.rank
    kernel = tuple(int(k) for k in rng.integers(1, 4, rank))
    if rng.random() < 0.2:
        kernel = g.out  # a global pool
    strides = tuple(int(v) for v in rng.integers(1, 4, rank))
    pads = tuple(int(rng.integers(0, k)) for k in kernel * 2)
    dilations = tuple(int(v) for v in rng.integers(1, 3, rank))
    if any(d > 1 and p for d, p in zip(dilations * 2, pads, strict=True)):
        dilations = (1,) * rank  # a padded, dilated window can miss the image
    out = []
    for a in range(rank):
        both = (pads[a], pads[a + rank])
        ceil = bool(rng.random() < 0.5)
        out.append(window_size(g.out[a], kernel[a], strides[a], dilations[a], both, ceil))
    if any(o < 1 for o in out):
        return None
    kind = int(rng.integers(3))
    return steps.PoolWindow(kind, kernel, strides, pads, dilations, tuple(out))


def pooled(x: np.ndarray, pool: steps.PoolWindow) -> np.ndarray:
    """The pool in float64, window by window."""
    y = np.empty((*x.shape[:2], *pool.out))
    rank = len(pool.out)
    for place in np.ndindex(*pool.out):
        axes, count = [], 1
        for a in range(rank):
            first = place[a] * pool.strides[a] - pool.pads[a]
            taps = first + np.arange(pool.kernel[a]) * pool.dilations[a]
            end = x.shape[2 + a] + pool.pads[rank + a]
            inside = taps[(taps >= 0) & (taps < x.shape[2 + a])]
            count *= inside.size if pool.kind == slots.AVERAGE_INSIDE else (taps < end).sum()
            axes.append(inside)
        window = x[np.ix_(range(x.shape[0]), range(x.shape[1]), *axes)].reshape(*x.shape[:2], -1)
        largest = pool.kind == slots.MAX
        y[(..., *place)] = window.max(-1, initial=-inf) if largest else window.sum(-1) / count
    return y


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_convolution_and_pool_in_one_kernel(rank):
    rng = np.random.default_rng([7, rank])
    kinds = set()
    for _ in range(50):
        g = random_geometry(rng, rank)
        pool = random_pool(rng, g)
        if pool is None:
            continue
        kinds.add(pool.kind)
        images, parts = int(rng.integers(1, 3)), int(rng.integers(1, 4))
        x, w = draw(rng, (images, g.in_channels, *g.image), True), draw(rng, g.weights_shape, True)
        b = draw(rng, (g.out_channels,), True)
        r = draw(rng, (images, g.out_channels, *g.out), True) if rng.random() < 0.5 else None
        step = steps.pooled_convolution(g, pool, images, F32, parts, steps.Epilogue(low=0.0))
        y = launch(
            step,
            (images, g.out_channels, *pool.out),
            X=x,
            RESIDUAL=r,
            WEIGHTS=steps.direct_weights(w, g),
            BIAS=steps.direct_bias(b, g),
        )
        before = convolved(x, w, g) + along_channels(b, rank) + (0 if r is None else r)
        expected = pooled(np.maximum(before, 0), pool).astype(F32)
        np.testing.assert_array_equal(y, expected, err_msg=f"{g}; {pool}")
    assert kinds == {0, 1, 2}


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_pools_of_random_shapes(rank):
    rng = np.random.default_rng([9, rank])
    kinds, wholes = set(), set()
    for _ in range(80):
        g = random_geometry(rng, rank)
        pool = random_pool(rng, g)
        if pool is None:
            continue
        images, channels, parts = (int(n) for n in rng.integers(1, 5, 3))
        x = draw(rng, (images, channels, *g.out), True)
        step = steps.pooling(pool, g.out, images, channels, F32, parts)
        kinds.add(pool.kind)
        wholes.add(step.sizes["POOL_WHOLE"])
        y = launch(step, (images, channels, *pool.out), X=x)
        np.testing.assert_array_equal(y, pooled(x, pool).astype(F32), err_msg=f"{g.out}; {pool}")
    assert kinds == {0, 1, 2}
    assert wholes == {0, 1}


def test_the_fused_pool_holds_no_buffer_of_the_size_before_it():
    cases = [
        (ConvGeometry(64, 64, (224, 224), (3, 3), (1, 1), (1,) * 4, (1, 1)), (2, 2), (2, 2)),
        (ConvGeometry(512, 512, (14, 14), (3, 3), (1, 1), (1,) * 4, (1, 1)), (2, 2), (2, 2)),
        (ConvGeometry(3, 64, (224, 224), (7, 7), (2, 2), (3,) * 4, (1, 1)), (3, 3), (2, 2)),
        (ConvGeometry(512, 2048, (7, 7), (1, 1), (1, 1), (0,) * 4, (1, 1)), (7, 7), (1, 1)),
    ]
    for g, kernel, strides in cases:
        out = tuple((o - k) // s + 1 for o, k, s in zip(g.out, kernel, strides, strict=True))
        pool = steps.PoolWindow(slots.MAX, kernel, strides, (0,) * 4, (1, 1), out)
        step = steps.pooled_convolution(g, pool, 1, F32)
        band = step.sizes["ROW_BLOCK"] * step.sizes["BAND"] * g.out[1]
        assert band <= g.rows // 2
        assert step.scratch_bytes < 4 * g.rows + 4 * 640 * 2 * steps.panel_width(F32)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_transposed_convolution_is_the_adjoint(rank):
    rng = np.random.default_rng([8, rank])
    for _ in range(40):
        g = random_geometry(rng, rank)
        images, parts = int(rng.integers(1, 3)), int(rng.integers(1, 4))
        x, w = draw(rng, (images, g.out_channels, *g.out), True), draw(rng, g.weights_shape, True)
        b = draw(rng, (g.in_channels,), True)
        out = (images, g.in_channels, *g.image)
        r = draw(rng, out, True) if rng.random() < 0.5 else None
        step = steps.transposed_convolution(g, images, F32, parts, steps.Epilogue(low=-9.0))
        y = launch(step, out, X=x, WEIGHTS=steps.transposed_weights(w, g), BIAS=b, RESIDUAL=r)
        expected = spread(x, w, g)
        expected += along_channels(b, rank) + (0 if r is None else r)
        np.testing.assert_array_equal(y, np.maximum(expected, -9), err_msg=str(g))


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_patch_matrix_and_its_product(rank):
    rng = np.random.default_rng([9, rank])
    for _ in range(40):
        g = random_geometry(rng, rank)
        images, parts = int(rng.integers(1, 3)), int(rng.integers(1, 4))
        x, w = draw(rng, (images, g.in_channels, *g.image), True), draw(rng, g.weights_shape, True)
        shape = (images, g.group, g.in_channels // g.group * g.taps, prod(g.out))
        matrix = launch(steps.patch_matrix(g, images, F32, parts), shape, X=x)
        np.testing.assert_array_equal(matrix, patches(x, g).reshape(shape))
        flat = steps.patch_geometry(g)
        y = launch(
            steps.convolution(flat, images, F32, parts),
            (images, g.out_channels, prod(g.out)),
            X=matrix,
            WEIGHTS=steps.direct_weights(w, flat),
        )
        np.testing.assert_array_equal(y.reshape(images, g.out_channels, *g.out), convolved(x, w, g))


@pytest.mark.parametrize(
    ("channels", "image", "kernel", "dilation"),
    [
        (3, (5, 7), (3, 3), 1),
        (9, (13, 16), (5, 5), 1),
        (20, (9, 17), (3, 3), 2),
        (2, (40, 40), (1, 3), 1),
        (5, (1, 30), (1, 5), 3),
        (80, (90, 100), (3, 3), 1),  # a large plane, several blocks of depth
    ],
)
def test_lines_as_long_as_the_image(channels, image, kernel, dilation):
    rng = np.random.default_rng(19)
    pads = tuple((k - 1) * dilation // 2 for k in kernel) * 2
    g = ConvGeometry(channels, 11, image, kernel, (1, 1), pads, (dilation, dilation))
    assert steps.convolution(g, 1, F32).sizes["SAME_LINES"] == 1
    check_convolution(rng, g, steps.convolution, steps.direct_weights, steps.direct_bias, True)
    x = draw(rng, (1, channels, *image), True)
    step = steps.patch_matrix(g, 1, F32)
    assert step.sizes["STREAMS"] == int(channels == 80)
    shape = (1, 1, channels, g.taps, prod(g.out))
    for streams in (0, 1):
        sizes = step.sizes | {"STREAMS": streams}
        matrix = launch(replace(step, sizes=sizes), shape, X=x)
        np.testing.assert_array_equal(matrix, patches(x, g))


@pytest.mark.parametrize("parts", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 4, 7, 14, 28])
def test_rows_or_columns_are_split_as_costs_less(size, parts):
    g = ConvGeometry(8, 64, (size, size), (1, 1), (1, 1), (0,) * 4, (1, 1))
    step = steps.convolution(g, 1, F32, parts)
    if parts > 1 and size < 7:
        assert step.sizes["SPLIT_ROWS"] == 1  # there is one panel of columns
    rng = np.random.default_rng(20)
    x, w = draw(rng, (1, 8, size, size), True), draw(rng, g.weights_shape, True)
    y = launch(step, (1, 64, size, size), X=x, WEIGHTS=steps.direct_weights(w, g))
    np.testing.assert_array_equal(y, convolved(x, w, g))


def test_dense_layer():
    rng = np.random.default_rng(10)
    for trial in range(60):
        m = trial % (ROWS + 2) or int(rng.integers(1, 30))
        n, k = int(rng.integers(1, 200)), int(rng.integers(1, (1500, 5)[trial % 7 == 0]))
        exact = bool(rng.random() < 0.5)
        a, w = draw(rng, (m, k), exact), draw(rng, (k, n), exact)
        b, r = draw(rng, (n,), exact), draw(rng, (m, n), exact)
        b, r = b * (rng.random() < 0.7), r * (rng.random() < 0.5)
        step = steps.dense_layer(m, n, k, F32, int(rng.integers(1, 4)), steps.Epilogue(low=0.0))
        y = launch(
            step,
            (m, n),
            A=a,
            B=steps.dense_weights(w),
            BIAS=steps.dense_bias(b) if b.any() else None,
            RESIDUAL=r if r.any() else None,
        )
        y64 = np.maximum(a.astype(F64) @ w.astype(F64) + b + r, 0)
        size = np.abs(a).astype(F64) @ np.abs(w) + np.abs(b) + np.abs(r)
        if exact:
            np.testing.assert_array_equal(y, y64)
        assert_close(y, y64, size, k)


def test_matrix_product_at_any_strides():
    rng = np.random.default_rng(11)
    for _ in range(60):
        batch = int(rng.integers(1, 4))
        m, n, k = (int(v) for v in rng.integers(1, (40, 130, 800)))
        a, b = draw(rng, (batch, m, k), True), draw(rng, (batch, k, n), True)
        strides = {}
        given_a, given_b = a, b
        if rng.random() < 0.5:
            given_a = np.ascontiguousarray(a.swapaxes(1, 2))
            strides |= {"A_ROW": 1, "A_DEPTH": m}
        if rng.random() < 0.5:
            given_b = np.ascontiguousarray(b.swapaxes(1, 2))
            strides |= {"B_DEPTH": 1, "B_COLUMN": k}
        if rng.random() < 0.3:
            given_b, b = given_b[:1], b[:1]
            strides |= {"B_BATCH": 0}
        per = int(rng.integers(2))
        bias = draw(rng, (n if per else m,), True)
        step = steps.matrix_product(
            batch,
            (m, n, k),
            F32,
            int(rng.integers(1, 4)),
            steps.Epilogue(high=50.0),
            BIAS_PER=per,
            **strides,
        )
        padded = bias if per else np.pad(bias, (0, -m % ROWS))
        y = launch(step, (batch, m, n), A=given_a, B=given_b, BIAS=padded)
        total = a.astype(F64) @ b + (bias if per else bias[:, None])
        np.testing.assert_array_equal(y, np.minimum(total, 50))


def test_a_nan_stays_a_nan_through_clamp_and_pool():
    g = ConvGeometry(3, 8, (8, 8), (3, 3), (1, 1), (1,) * 4, (1, 1))
    rng = np.random.default_rng(12)
    x, w = draw(rng, (1, 3, 8, 8), False), draw(rng, g.weights_shape, False)
    x[0, 1, 4, 4] = np.nan
    epilogue = steps.Epilogue(low=0.0, high=6.0)
    packed = steps.direct_weights(w, g)
    y = launch(steps.convolution(g, 1, F32, 1, epilogue), (1, 8, 8, 8), X=x, WEIGHTS=packed)
    expected = np.zeros((8, 8), bool)
    expected[3:6, 3:6] = True
    assert (np.isnan(y) == expected).all()
    for kind in (slots.MAX, slots.AVERAGE):
        pool = steps.PoolWindow(kind, (2, 2), (2, 2), (0,) * 4, (1, 1), (4, 4))
        step = steps.pooled_convolution(g, pool, 1, F32, 1, epilogue)
        small = launch(step, (1, 8, 4, 4), X=x, WEIGHTS=packed)
        assert (np.isnan(small) == expected.reshape(4, 2, 4, 2).any((1, 3))).all()


def test_an_empty_batch_does_nothing():
    g = ConvGeometry(3, 8, (8, 8), (3, 3), (1, 1), (1,) * 4, (1, 1))
    packed = steps.direct_weights(np.ones(g.weights_shape, F32), g)
    y = launch(
        steps.convolution(g, 0, F32), (0, 8, 8, 8), X=np.zeros((0, 3, 8, 8), F32), WEIGHTS=packed
    )
    assert y.size == 0
    step = steps.dense_layer(0, 5, 3, F32)
    out = launch(step, (0, 5), A=np.zeros((0, 3), F32), B=steps.dense_weights(np.ones((3, 5), F32)))
    assert out.size == 0


def sigmoid(x: np.ndarray) -> np.ndarray:
    small = np.exp(-np.abs(x))
    return np.where(x < 0, small, 1) / (1 + small)


def softplus(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


EXPECTED = {
    "leaky_relu": (0.01, 0, lambda x, a, b: np.where(x < 0, a * x, x)),
    "thresholded_relu": (1.0, 0, lambda x, a, b: np.where(x > a, x, 0)),
    "sigmoid": (0, 0, lambda x, a, b: sigmoid(x)),
    "tanh": (0, 0, lambda x, a, b: np.tanh(x)),
    "exp": (0, 0, lambda x, a, b: np.exp(x)),
    "elu": (1.5, 0, lambda x, a, b: np.where(x < 0, a * np.expm1(x), x)),
    "selu": (1.6732632, 1.050701, lambda x, a, b: b * np.where(x < 0, a * np.expm1(x), x)),
    "celu": (1.5, 0, lambda x, a, b: np.where(x < 0, a * np.expm1(x / a), x)),
    "softplus": (0, 0, lambda x, a, b: softplus(x)),
    "softsign": (0, 0, lambda x, a, b: x / (1 + np.abs(x))),
    "swish": (1.0, 0, lambda x, a, b: x * sigmoid(a * x)),
    "mish": (0, 0, lambda x, a, b: x * np.tanh(softplus(x))),
    "hard_sigmoid": (0.25, 0.5, lambda x, a, b: np.clip(a * x + b, 0, 1)),
    "hard_swish": (0.25, 0.5, lambda x, a, b: x * np.clip(a * x + b, 0, 1)),
}


def in_place(name: str, x: np.ndarray, alpha: float, beta: float) -> np.ndarray:
    """One activation pass over a copy of x."""
    real = ctypes.c_float if x.dtype == F32 else ctypes.c_double
    y = Guarded(x, written=True)
    kinds = [ctypes.c_void_p, *[ctypes.c_int64] * 3, real, real]
    ctypes.CFUNCTYPE(None, *kinds)(pass_code(name, x.dtype))(
        y.address, 1, x.size, x.size, alpha, beta
    )
    y.check()
    return y.array


@pytest.mark.parametrize("name", EXPECTED)
def test_activations_are_within_four_units_in_the_last_place(name):
    alpha, beta, function = EXPECTED[name]
    rng = np.random.default_rng(13)
    x = np.concatenate(
        [
            np.linspace(-80, 80, 40001),
            rng.standard_normal(40000) * 2,
            rng.standard_normal(20000) * 1e-3,
            [0.0, -0.0],
        ]
    ).astype(F32)
    if name in {"hard_sigmoid", "hard_swish"}:
        x = np.round(x * 64) / 64  # so that alpha * x + beta is exact: it cancels
    y = in_place(name, x, alpha, beta)
    wide = x.astype(np.longdouble)
    with np.errstate(over="ignore"):
        exact = function(wide, np.longdouble(F32.type(alpha)), np.longdouble(F32.type(beta)))
    unit = np.spacing(np.maximum(np.abs(exact.astype(F32)), np.finfo(F32).tiny))
    assert np.abs(y.astype(np.longdouble) - exact).max(initial=0, where=np.isfinite(exact)) >= 0
    assert (np.abs(y.astype(np.longdouble) - exact) <= 4 * unit.astype(np.longdouble)).all()
    assert np.isnan(in_place(name, np.array([np.nan], F32), alpha, beta)).all()


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "softplus", "elu"])
def test_activations_in_float64(name):
    alpha, beta, function = EXPECTED[name]
    x = np.linspace(-30, 30, 1001)
    np.testing.assert_allclose(in_place(name, x, alpha, beta), function(x, alpha, beta), rtol=1e-14)


@pytest.mark.parametrize("make", ["convolution", "depthwise_convolution", "pooled_convolution"])
def test_a_second_pass_follows_the_residual(make):
    rng = np.random.default_rng(14)
    g = ConvGeometry(4, 4, (9, 9), (3, 3), (1, 1), (1,) * 4, (1, 1), 4)
    x, w = draw(rng, (2, 4, 9, 9), False), draw(rng, g.weights_shape, False)
    r = draw(rng, (2, 4, 9, 9), False)
    epilogue = steps.Epilogue(activation="sigmoid")
    expected = sigmoid(convolved(x, w, g) + r)
    packed = w if make == "depthwise_convolution" else steps.direct_weights(w, g)
    if make == "pooled_convolution":
        pool = steps.PoolWindow(slots.MAX, (3, 3), (2, 2), (1,) * 4, (1, 1), (5, 5))
        step = steps.pooled_convolution(g, pool, 2, F32, 2, epilogue)
        expected = pooled(expected, pool)
    else:
        step = getattr(steps, make)(g, 2, F32, 2, epilogue)
    y = launch(step, expected.shape, X=x, WEIGHTS=packed, RESIDUAL=r)
    np.testing.assert_allclose(y, expected, rtol=2e-6)


def test_parts_are_not_limited_by_the_work():
    g = ConvGeometry(2, 3, (4,), (1,), (1,), (0, 0), (1,))
    rng = np.random.default_rng(15)
    x, w = draw(rng, (1, 2, 4), True), draw(rng, g.weights_shape, True)
    for rows in (0, 1):
        step = steps.convolution(g, 1, F32, 7)
        step = replace(step, sizes=step.sizes | {"SPLIT_ROWS": rows})
        y = launch(step, (1, 3, 4), X=x, WEIGHTS=steps.direct_weights(w, g))
        np.testing.assert_array_equal(y, convolved(x, w, g))
