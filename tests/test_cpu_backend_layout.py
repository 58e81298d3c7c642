"""The CPU backend's moves of data beside `Op.run`: every element as wide as a float, bit by bit."""

from __future__ import annotations

import numpy as np
import pytest

from irconv.backends.numba_cpu.program import CpuProgram
from irconv.errors import InputError
from irconv.ops.fill import Expand, Tile
from irconv.ops.identity import Identity
from irconv.ops.rearrange import Concat, DepthToSpace, Gather, SpaceToDepth, Split
from irconv.ops.shape import Flatten, Reshape, Squeeze, Transpose, Unsqueeze
from irconv.ops.slices import Pad, Slice
from irconv.types import DTYPES
from tests.cpu_cases import (
    F32,
    Const,
    check_exact,
    compiled,
    integers,
    one_node,
    run_guarded,
    some_shape,
)

MOVED = [np.float32, np.float64, np.int32, np.int64, np.uint32, np.uint64]
KEPT = [np.float16, np.uint8, np.int8, np.bool_, DTYPES["bf16"], np.complex128]


def numbers(rng: np.random.Generator, shape: list[int], dtype=F32) -> np.ndarray:
    return rng.integers(0, 100, shape).astype(dtype)


def a_type(rng: np.random.Generator) -> type:
    return MOVED[int(rng.integers(len(MOVED)))]


def test_transpose():
    rng = np.random.default_rng(1)
    for trial in range(80):
        shape = some_shape(rng, rank=int(rng.integers(1, 7)), most=4)
        perm = tuple(int(a) for a in rng.permutation(len(shape)))
        x = numbers(rng, shape, a_type(rng))
        check_exact(Transpose(perm), x, threads=1 + trial % 3)
    check_exact(Transpose(), numbers(rng, [2, 3, 4]))
    check_exact(Transpose(), np.float32(3))


def test_a_transposition_of_too_many_axes_falls_back():
    x = np.arange(3**7, dtype=F32).reshape((3,) * 7)
    check_exact(Transpose(), x, fallback=True)
    check_exact(Transpose(), x.reshape(3, 3, 3, 3, 9, 1, 3))


@pytest.mark.parametrize("dtype", KEPT, ids=str)
def test_other_element_types_fall_back(dtype):
    x = np.arange(6).reshape(2, 3).astype(dtype)
    check_exact(Transpose(), x, fallback=True)
    check_exact(Concat(axis=0), x, x, fallback=True)
    check_exact(Split(num_outputs=3, axis=1), x, fallback=True)
    check_exact(Gather(), x, np.int64([1, 0]), fallback=True)
    check_exact(Slice(), x, Const(np.int64([1])), Const(np.int64([2])), fallback=True)


def test_copies_keep_every_bit():
    rng = np.random.default_rng(2)
    for dtype, word in ((np.float32, np.uint32), (np.float64, np.uint64)):
        bits = rng.integers(0, np.iinfo(word).max, (5, 7), dtype=word, endpoint=True)
        bits[0, :3] = np.array([0x7F800001, 0xFFC00000, 0x80000000], word)
        if dtype is np.float64:
            bits[1, :2] = np.array([0x7FF0000000000001, 0xFFF8000000000001], word)
        x = bits.view(dtype)
        graph, inputs = one_node(Transpose((1, 0)), x)
        (y,) = run_guarded(compiled(graph), list(inputs.values()))
        np.testing.assert_array_equal(y.view(word), bits.T)


def test_concat_and_split():
    rng = np.random.default_rng(3)
    for trial in range(60):
        shape = some_shape(rng, rank=int(rng.integers(1, 6)), most=4)
        axis = int(rng.integers(-len(shape), len(shape)))
        parts = [int(n) for n in rng.integers(0, 5, int(rng.integers(1, 5)))]
        dtype = a_type(rng)
        shapes = [[p if i == axis % len(shape) else n for i, n in enumerate(shape)] for p in parts]
        operands = [numbers(rng, s, dtype) for s in shapes]
        constant = int(rng.integers(len(parts) + 1))
        given = [Const(a) if i == constant else a for i, a in enumerate(operands)]
        check_exact(Concat(axis=axis), *given, threads=1 + trial % 3)
        whole = np.concatenate(operands, axis)
        check_exact(Split(len(parts), axis), whole, Const(np.int64(parts)), threads=1 + trial % 3)
    x = numbers(rng, [7, 2])
    check_exact(Split(num_outputs=3), x)
    check_exact(Concat(axis=0), x, x, x)


def test_slice():
    rng = np.random.default_rng(4)
    for trial in range(150):
        shape = some_shape(rng, rank=int(rng.integers(1, 5)), most=7)
        axes = rng.permutation(len(shape))[: int(rng.integers(1, len(shape) + 1))]
        count = len(axes)
        starts, ends = rng.integers(-12, 12, count), rng.integers(-12, 12, count)
        steps = rng.choice([-3, -2, -1, 1, 2, 3], count)
        far = rng.random(count) < 0.2
        ends = np.where(far, np.where(steps > 0, 2**63 - 1, -(2**63)), ends)
        operands = [Const(np.int64(v)) for v in (starts, ends, axes, steps)]
        x = numbers(rng, shape, a_type(rng))
        check_exact(Slice(), x, *operands, threads=1 + trial % 3)
    x = numbers(rng, [5, 4])
    check_exact(Slice(), x, Const(np.int64([1, 0])), Const(np.int64([4, 3])))
    check_exact(Slice(), x, Const(np.int32([-9])), Const(np.int32([-9])), None, Const([-1]))


def test_expand_and_tile():
    rng = np.random.default_rng(5)
    for trial in range(50):
        shape = some_shape(rng, rank=int(rng.integers(0, 5)), most=4)
        target = [n if n != 1 else int(rng.integers(0, 4)) for n in shape]
        target = [int(n) for n in rng.integers(1, 3, int(rng.integers(0, 2)))] + target
        x = numbers(rng, shape, a_type(rng))
        check_exact(Expand(), x, Const(np.int64(target)), threads=1 + trial % 3, fallback=None)
        repeats = rng.integers(0, 4, len(shape))
        check_exact(Tile(), x, Const(np.int64(repeats)), threads=1 + trial % 3, fallback=None)
    check_exact(Expand(), np.float32([[2], [3]]), Const(np.int64([4, 2, 3])))
    check_exact(Tile(), numbers(rng, [2, 3, 4]), Const(np.int64([2, 3, 2])))


def test_pad():
    rng = np.random.default_rng(6)
    for trial in range(80):
        shape = some_shape(rng, rank=int(rng.integers(1, 5)), most=5)
        axes = [a for a in range(len(shape)) if rng.random() < 0.7] or [0]
        begins = [int(rng.integers(-min(2, shape[a]), 4)) for a in axes]
        left = [shape[a] - max(-b, 0) for a, b in zip(axes, begins, strict=True)]
        ends = [int(rng.integers(-n, 4)) for n in left]
        dtype = [np.float32, np.float64][trial % 2]
        value = Const(dtype(rng.choice([0, 7, -np.inf, np.nan]))) if rng.random() < 0.7 else None
        operands = [Const(np.int64([*begins, *ends])), value, Const(np.int64(axes))]
        check_exact(Pad(), numbers(rng, shape, dtype), *operands, threads=1 + trial % 3)


def test_pads_that_fall_back():
    x = np.arange(12, dtype=F32).reshape(3, 4)
    pads = Const(np.int64([1, 1, 1, 1]))
    for mode in ("reflect", "edge", "wrap"):
        check_exact(Pad(mode), x, pads, fallback=True)
    check_exact(Pad(), x.astype(np.int32), pads, fallback=True)
    check_exact(Pad(), x, pads, np.float32(3), fallback=True)


def test_depth_to_space_and_back():
    rng = np.random.default_rng(7)
    for mode in ("DCR", "CRD"):
        for b, (n, c, h, w) in ((2, (2, 3, 2, 3)), (3, (1, 2, 1, 4)), (1, (2, 2, 2, 2))):
            check_exact(DepthToSpace(b, mode), numbers(rng, [n, c * b * b, h, w]))
            check_exact(SpaceToDepth(b, mode), numbers(rng, [n, c, h * b, w * b]))


def test_gather():
    rng = np.random.default_rng(8)
    for trial in range(60):
        shape = some_shape(rng, rank=int(rng.integers(1, 5)), most=5)
        axis = int(rng.integers(-len(shape), len(shape)))
        size = shape[axis]
        picked = some_shape(rng, rank=int(rng.integers(0, 3)), most=4) if size else [0]
        kind = [np.int64, np.int32][trial % 2]
        index = rng.integers(-size, max(size, 1), picked).astype(kind)
        x = numbers(rng, shape, a_type(rng))
        given = Const(index) if rng.random() < 0.3 else index
        check_exact(Gather(axis), x, given, threads=1 + trial % 3)


@pytest.mark.parametrize("kind", [np.int32, np.int64])
@pytest.mark.parametrize("wrong", [3, -4, 2**31 - 1, -(2**31)])
def test_an_index_out_of_range_is_an_input_error(kind, wrong):
    graph, inputs = one_node(Gather(0), np.ones((3, 2), F32), kind([0, 1]))
    program = compiled(graph, threads=2)
    x, index = inputs.values()
    with pytest.raises(InputError, match="out of range"):
        run_guarded(program, [x, kind([1, wrong])])
    (y,) = program([x, index])
    np.testing.assert_array_equal(y, x[:2])


def test_an_index_out_of_range_in_numpy_is_an_input_error():
    graph, inputs = one_node(Gather(0), np.ones((3, 2), np.uint8), np.int64([0, 1]))
    program: CpuProgram = compiled(graph)
    with pytest.raises(InputError, match="%0: Gather: an index is out of range"):
        program([inputs["x0"], np.int64([0, 5])])


def test_views_as_outputs_are_copies():
    x = np.arange(12, dtype=F32).reshape(3, 4)
    for dtype in (*MOVED, np.uint8, np.bool_, np.float16):
        y = x.astype(dtype)
        check_exact(Identity(), y, fallback=None)
        check_exact(Reshape(), y, Const(np.int64([2, -1])), fallback=None)
        check_exact(Flatten(0), Const(y), fallback=None)
        check_exact(Squeeze(), y[:, None], fallback=None)
        check_exact(Unsqueeze(), y, Const(np.int64([0, -1])), fallback=None)
    check_exact(Identity(), integers(np.random.default_rng(9), (0, 3)))
    check_exact(Reshape(), x, np.int64([12]))
