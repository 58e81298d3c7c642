"""Single nodes for the CUDA kernels: every kernel, every attribute that a kernel reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from irconv.graph import Graph
from irconv.op import Op
from irconv.ops import activation as act
from irconv.ops import elementwise as ew
from irconv.ops import functions as fn
from irconv.ops import reduce as red
from irconv.ops.conv import Conv, ConvTranspose
from irconv.ops.fill import Expand
from irconv.ops.fused import Clamp, FusedConv, FusedMatMul
from irconv.ops.identity import Identity
from irconv.ops.im2col import Col2Im, Im2Col
from irconv.ops.linear import Gemm, MatMul
from irconv.ops.norm import LRN, BatchNormalization
from irconv.ops.pool import (
    AveragePool,
    GlobalAveragePool,
    GlobalLpPool,
    GlobalMaxPool,
    LpPool,
    MaxPool,
)
from irconv.ops.rearrange import ChannelShuffle, Concat, Gather, Split
from irconv.ops.shape import Flatten, Reshape, Squeeze, Transpose, Unsqueeze
from irconv.ops.slices import Pad, Slice
from irconv.ops.softmax import LogSoftmax, Softmax
from irconv.types import Array, type_of


@dataclass(frozen=True)
class Case:
    """One node: a tuple operand is an input of that shape, an array a constant.

    `ulp` is None where the answer must be equal bit for bit (on whole numbers), else how far it may
    be; `data` says what the inputs hold.
    """

    name: str
    op: Op
    operands: tuple[Any, ...]
    ulp: int | None = None
    data: str = "whole"
    input_dtypes: tuple[tuple[int, str], ...] = ()

    def build(self, dtype: str) -> tuple[Graph, dict[str, Array]]:
        """The graph of one node, and its inputs."""
        graph = Graph("one")
        rng = np.random.default_rng(7)
        values, inputs = [], {}
        for index, operand in enumerate(self.operands):
            name = f"operand{index}"
            if operand is None:
                values.append(None)
            elif isinstance(operand, np.ndarray):
                array = operand.astype(dtype) if operand.dtype == np.float16 else operand
                values.append(graph.add_parameter(name, array))
            else:
                chosen = dict(self.input_dtypes).get(index, dtype)
                inputs[name] = _data(rng, operand, chosen, self.data)
                values.append(graph.add_input(name, type_of(inputs[name])))
        node = graph.add_node(self.op, values, [f"y{i}" for i in range(self.op.n_results)])
        graph.set_outputs(node.results)
        return graph, inputs


def _data(rng: np.random.Generator, shape: tuple[int, ...], dtype: str, kind: str) -> Array:
    if kind.startswith("whole"):
        found = rng.integers(-4, 5, shape).astype(dtype)
        if kind == "whole, one NaN":
            found.reshape(-1)[3] = np.nan
        return found
    if kind == "positive":
        return rng.uniform(0.25, 4, shape).astype(dtype)
    if kind == "unit":
        return rng.uniform(-0.9, 0.9, shape).astype(dtype)
    found = rng.normal(0, 2, shape).astype(dtype)
    flat = found.reshape(-1)
    flat[:6] = [np.nan, np.inf, -np.inf, 0, 0.5, -2.5][: flat.size]
    return found


def ints(*values: int) -> Array:
    """A constant of i64 numbers."""
    return np.array(values, np.int64)


def floats(*shape: int, seed: int = 1) -> Array:
    """Whole numbers as f16: they take the element type of the case."""
    return np.random.default_rng(seed).integers(-3, 4, shape).astype(np.float16)


def _convolutions() -> Iterator[Case]:
    yield Case("conv_1d", Conv((3,)), ((2, 3, 7), floats(4, 3, 3), floats(4)))
    yield Case("conv_2d_no_bias", Conv((3, 3)), ((2, 2, 5, 6), floats(3, 2, 3, 3)))
    yield Case(
        "conv_2d_uneven",
        Conv((3, 2), (2, 1), (0, 1, 2, 0), (1, 2), group=2),
        ((1, 4, 6, 5), floats(6, 2, 3, 2), floats(6)),
    )
    yield Case(
        "conv_3d",
        Conv((2, 1, 3), (1, 2, 1), (1, 0, 1, 0, 0, 2), (2, 1, 1)),
        ((1, 2, 4, 3, 4), floats(3, 2, 2, 1, 3), floats(3)),
    )
    yield Case("conv_depthwise", Conv((3, 3), group=4), ((1, 4, 4, 4), floats(8, 1, 3, 3)))
    yield Case("conv_weights_computed", Conv((2, 2)), ((1, 2, 4, 4), (3, 2, 2, 2), (3,)))
    yield Case("conv_nan", Conv((2,)), ((1, 2, 6), floats(2, 2, 2)), data="whole, one NaN")
    yield Case("conv_empty_batch", Conv((2,)), ((0, 2, 6), floats(2, 2, 2), floats(2)))


def _fused() -> Iterator[Case]:
    w, b, x, r = floats(4, 2, 3, 3), floats(4), (2, 2, 6, 6), (2, 4, 6, 6)
    pads = (1, 1, 1, 1)
    pools: dict[str, Op | None] = {
        "no_pool": None,
        "max": MaxPool((2, 2), (2, 2)),
        "max_padded": MaxPool((3, 2), (2, 1), (1, 0, 1, 1), (1, 2)),
        "max_ceil": MaxPool((3, 3), (2, 2), ceil_mode=1),
        "average": AveragePool((2, 2), (2, 2), (1, 0, 0, 1)),
        "average_padded": AveragePool((2, 2), (1, 2), (1, 1, 1, 1), count_include_pad=1),
        "global_average": GlobalAveragePool(),
        "global_max": GlobalMaxPool(),
    }
    for name, pool in pools.items():
        op = FusedConv((3, 3), pads=pads, activation=act.Relu(), pool=pool)
        yield Case(f"fused_{name}", op, (x, w, b, r))
    clamp = FusedConv((3, 3), pads=pads, activation=Clamp(-5.0, 6.0), pool=pools["max"])
    yield Case("fused_clamp", clamp, (x, w, None, r))
    nan = FusedConv((3, 3), pads=pads, activation=act.Relu(), pool=pools["max_padded"])
    yield Case("fused_nan", nan, (x, w, b), data="whole, one NaN")
    yield Case("fused_1d", FusedConv((2,), pool=MaxPool((2,), (2,))), ((1, 2, 7), floats(2, 2, 2)))
    deep = FusedConv((2, 2, 2), pool=MaxPool((1, 2, 2), (1, 2, 2)), activation=act.Relu())
    yield Case("fused_3d", deep, ((1, 2, 3, 5, 5), floats(2, 2, 2, 2, 2), floats(2)))
    smooth = FusedConv((1, 1), activation=act.Tanh())
    yield Case("fused_tanh", smooth, ((1, 2, 3, 3), floats(3, 2, 1, 1)), ulp=4)


def _transposed() -> Iterator[Case]:
    yield Case("transposed_1d", ConvTranspose((3,), (2,)), ((2, 3, 4), floats(3, 2, 3), floats(2)))
    yield Case(
        "transposed_2d",
        ConvTranspose((3, 2), (2, 3), (1, 0, 0, 1), (1, 2), group=2, output_padding=(1, 0)),
        ((1, 4, 3, 4), floats(4, 3, 3, 2), floats(6)),
    )
    yield Case(
        "transposed_3d",
        ConvTranspose((2, 2, 2), (1, 2, 1)),
        ((1, 2, 2, 2, 3), floats(2, 2, 2, 2, 2)),
    )
    yield Case("im2col", Im2Col((3, 2), (2, 1), (0, 1, 2, 0), (1, 2), group=2), ((2, 4, 6, 5),))
    yield Case("im2col_1d", Im2Col((3,), (1,), (1, 1)), ((2, 3, 5),))
    yield Case("im2col_3d", Im2Col((2, 1, 2), (1, 1, 2)), ((1, 2, 3, 3, 4),))
    col2im = Col2Im((2, 1), (1, 0, 1, 0), (1, 2))
    yield Case("col2im", col2im, ((2, 8, 9), ints(4, 5), ints(2, 2)))


def _products() -> Iterator[Case]:
    yield Case("matmul", MatMul(), ((3, 4), floats(4, 5)))
    yield Case("matmul_batches", MatMul(), ((2, 1, 3, 4), (3, 4, 2)))
    yield Case("matmul_vector_left", MatMul(), ((4,), (2, 4, 3)))
    yield Case("matmul_vector_right", MatMul(), ((2, 3, 4), (4,)))
    yield Case("matmul_no_depth", MatMul(), ((3, 0), (0, 2)))
    yield Case("gemm", Gemm(), ((3, 4), floats(4, 5), floats(5)))
    yield Case("gemm_turned", Gemm(2.0, 0.5, 1, 1), ((4, 3), floats(5, 4), floats(3, 1)))
    yield Case("gemm_no_bias", Gemm(transB=1), ((3, 4), floats(5, 4)))
    yield Case(
        "product_im2col",
        FusedMatMul(activation=act.Relu()),
        (floats(2, 3, 4), (2, 2, 4, 5), floats(2, 3, 1), (2, 2, 3, 5)),
    )
    yield Case("product_turned", FusedMatMul(True, True), ((4, 3), floats(5, 4), floats(5)))
    yield Case(
        "product_nan",
        FusedMatMul(activation=act.Relu()),
        ((3, 4), floats(4, 2)),
        data="whole, one NaN",
    )


def _pools() -> Iterator[Case]:
    yield Case("max_pool", MaxPool((2, 3), (2, 1), (1, 1, 0, 1), (1, 2)), ((2, 2, 5, 6),))
    yield Case("max_pool_ceil", MaxPool((3,), (2,), ceil_mode=1), ((2, 2, 8),))
    yield Case("max_pool_nan", MaxPool((2, 2)), ((1, 2, 4, 4),), data="special")
    yield Case("max_pool_3d", MaxPool((2, 2, 2)), ((1, 2, 3, 3, 3),))
    yield Case("average_pool", AveragePool((2, 2), (1, 1), (1, 0, 1, 1)), ((1, 2, 4, 4),))
    padded = AveragePool((3, 2), (2, 2), (1, 1, 1, 1), ceil_mode=1, count_include_pad=1)
    yield Case("average_pool_padded", padded, ((1, 2, 4, 4),))
    yield Case("lp_pool", LpPool((2, 2), (2, 1), p=3), ((1, 2, 4, 4),), ulp=4)
    yield Case("global_average", GlobalAveragePool(), ((2, 3, 4, 4),))
    yield Case("global_max", GlobalMaxPool(), ((2, 3, 4, 5),), data="special")
    yield Case("global_lp", GlobalLpPool(), ((2, 3, 5),), ulp=4)


def _activations() -> Iterator[Case]:
    exact: list[Op] = [
        act.Relu(),
        act.ThresholdedRelu(0.7),
        Clamp(-1.0, 2.0),
        act.LeakyRelu(0.25),
        act.Shrink(0.5, 0.25),
    ]
    near: list[Op] = [
        act.HardSigmoid(), act.HardSwish(), act.Elu(0.7), act.Selu(), act.Celu(1.5), act.Softsign(),
        act.Sigmoid(), act.Tanh(), act.Softplus(), act.Gelu(), act.Gelu("tanh"), act.Mish(),
        act.Swish(1.3),
    ]  # fmt: skip
    for number, op in enumerate([*exact, *near]):
        ulp = None if op in exact else 8
        yield Case(f"{number}_{op.name}", op, ((3, 4),), ulp=ulp, data="special")
    yield Case("prelu", act.PRelu(), ((2, 3, 4), floats(3, 1)), data="special")
    yield Case("clip", act.Clip(), ((2, 5), floats(), floats(1, seed=3)), data="special")
    yield Case("clip_low_only", act.Clip(), ((2, 5), floats()), data="special")


def _functions() -> Iterator[Case]:
    exact: list[Op] = [
        fn.Neg(),
        fn.Abs(),
        fn.Sign(),
        fn.Floor(),
        fn.Ceil(),
        fn.Round(),
        fn.Reciprocal(),
        fn.Sqrt(),
    ]
    near: list[Op] = [
        fn.Exp(),
        fn.Log(),
        fn.Erf(),
        fn.Sinh(),
        fn.Cosh(),
        fn.Asinh(),
        fn.Sin(),
        fn.Cos(),
        fn.Tan(),
        fn.Atan(),
    ]
    for op in [*exact, *near]:
        yield Case(op.name.lower(), op, ((3, 4),), ulp=None if op in exact else 4, data="special")
    for op in (fn.Asin(), fn.Acos(), fn.Atanh()):
        yield Case(op.name.lower(), op, ((3, 4),), ulp=4, data="unit")
    yield Case("acosh", fn.Acosh(), ((3, 4),), ulp=4, data="positive")


def _arithmetic() -> Iterator[Case]:
    for op in (ew.Add(), ew.Sub(), ew.Mul(), ew.Div(), ew.Max(), ew.Min()):
        yield Case(op.name.lower(), op, ((2, 3, 4), (3, 1)), data="special")
    yield Case("pow", ew.Pow(), ((2, 3), (1, 3)), ulp=4, data="positive")
    yield Case("add_scalar", ew.Add(), ((2, 3), floats()))
    yield Case("add_outer", ew.Add(), ((4, 1), (1, 3)))
    yield Case("sum_of_three", ew.Sum(), ((2, 3), (3,), (2, 1)))
    yield Case("sum_of_one", ew.Sum(), ((2, 3),))
    yield Case("max_of_three", ew.Max(), ((2, 3), (3,), (1, 1)), data="special")
    yield Case("mean_of_three", ew.Mean(), ((2, 3), (3,), (2, 1)))


def _normalisations() -> Iterator[Case]:
    yield Case("softmax", Softmax(), ((3, 5),), ulp=8)
    yield Case("softmax_axis", Softmax(1), ((2, 3, 4),), ulp=8, data="special")
    yield Case("log_softmax", LogSoftmax(0), ((3, 2),), ulp=16)
    var = np.array([1, 4, 0.25], np.float16)
    yield Case(
        "batch_norm",
        BatchNormalization(),
        ((2, 3, 4), floats(3), floats(3, seed=2), floats(3), var),
        ulp=16,
    )
    yield Case(
        "batch_norm_rank_1",
        BatchNormalization(),
        ((4,), floats(1), floats(1), floats(1), var[:1]),
        ulp=16,
    )
    yield Case("lrn", LRN(3, 0.1, 0.75, 2.0), ((1, 4, 2, 2),), ulp=8)
    yield Case("lrn_even", LRN(4), ((2, 3, 2),), ulp=8)


def _reductions() -> Iterator[Case]:
    exact = (
        red.ReduceSum,
        red.ReduceMax,
        red.ReduceMin,
        red.ReduceL1,
        red.ReduceSumSquare,
        red.ReduceProd,
    )
    for kind in exact:
        yield Case(kind.__name__, kind(), ((2, 3, 4), ints(1)))
    yield Case("reduce_mean", red.ReduceMean(keepdims=0), ((2, 3, 4, 2), ints(-1, 1)))
    yield Case("reduce_l2", red.ReduceL2(), ((2, 3, 4), ints(0, 2)), ulp=4)
    yield Case("reduce_all", red.ReduceSum(keepdims=0), ((2, 3),))
    yield Case("reduce_max_nan", red.ReduceMax(), ((2, 3, 4), ints(1)), data="special")
    yield Case("reduce_nothing_left", red.ReduceMax(), ((2, 0), ints(1)))


def _movements() -> Iterator[Case]:
    yield Case("transpose", Transpose((2, 0, 1)), ((2, 3, 4),))
    yield Case("transpose_all", Transpose(), ((2, 3),))
    yield Case("channel_shuffle", ChannelShuffle(3), ((2, 6, 5),))
    yield Case("slice", Slice(), ((4, 5), ints(-1, 1), ints(-9, 4), ints(0, 1), ints(-2, 2)))
    yield Case("slice_nothing", Slice(), ((4, 5), ints(3), ints(1)))
    yield Case("split", Split(3, 1), ((2, 7),))
    yield Case("split_sizes", Split(2, -1), ((2, 5), ints(1, 4)))
    yield Case("concat", Concat(1), ((2, 3), (2, 1), floats(2, 2)))
    yield Case("concat_empty", Concat(0), ((2, 3), (0, 3)))
    yield Case("pad", Pad(), ((2, 3), ints(1, 0, 0, 2)))
    yield Case("pad_value", Pad(), ((2, 3), ints(1, -1, 2, 2), floats(seed=5)))
    yield Case("pad_axes", Pad(), ((2, 3), ints(1, 1), None, ints(-1)))
    yield Case("expand", Expand(), ((3, 1), ints(2, 1, 4)))
    for dtype in ("i32", "i64"):
        places = np.array([[0, 2], [-1, 1]], {"i32": np.int32, "i64": np.int64}[dtype])
        yield Case(f"gather_{dtype}", Gather(1), ((2, 3, 2), places))
    yield Case("gather_rows", Gather(), (floats(5, 3), (2, 4)), input_dtypes=((1, "int64"),))
    yield Case("identity", Identity(), ((2, 3),))
    yield Case("reshape", Reshape(), ((2, 6), ints(3, -1)))
    yield Case("flatten", Flatten(2), ((2, 3, 2),))
    yield Case("squeeze", Squeeze(), ((2, 1, 3), ints(1)))
    yield Case("unsqueeze", Unsqueeze(), ((2, 3), ints(0, 3)))


def cases() -> list[Case]:
    """All cases."""
    families = (
        _convolutions, _fused, _transposed, _products, _pools, _activations, _functions,
        _arithmetic, _normalisations, _reductions, _movements,
    )  # fmt: skip
    return [case for family in families for case in family()]
