"""Graphs of one op each, as data, for the tests of the ONNX export."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from irconv.attributes import make_op
from irconv.graph import Graph, Value
from irconv.op import Op
from irconv.ops.activation import Relu
from irconv.ops.fused import Clamp, FusedConv
from irconv.ops.pool import GlobalAveragePool, MaxPool
from irconv.types import Array, TensorType, dtype_name

# an operand: the type of an input ("f32[N, 3]"), the array of a constant, or None where it is
# absent
Operand = Any
Case = tuple[str, dict[str, Any], Sequence[Operand]]


def weights(*shape: int, seed: int = 1) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def ints(*values: int) -> Array:
    return np.array(values, np.int64)


IMAGE = "f32[N, 4, 9, 8]"
ROWS = "f32[N, 6]"
UNARY = (
    "Abs Acos Asin Asinh Atan Atanh Ceil Celu Cos Cosh Elu Erf Exp Floor Gelu HardSigmoid "
    "HardSwish Hardmax Identity IsInf IsNaN LeakyRelu Log LogSoftmax LpNormalization Mish Neg "
    "Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin Sinh Softmax Softplus Softsign Sqrt Swish "
    "Tan Tanh ThresholdedRelu Size"
)
BROADCASTING = "Add Sub Mul Div Pow Max Min Sum Mean Greater GreaterOrEqual Less LessOrEqual Equal"
REDUCTIONS = "L1 L2 LogSum LogSumExp Max Mean Min Prod Sum SumSquare"

CASES: list[Case] = [
    *((name, {}, [ROWS]) for name in UNARY.split()),
    *((name, {}, [IMAGE, weights(4, 1, 8)]) for name in BROADCASTING.split()),
    *((f"Reduce{k}", {"keepdims": 0}, [IMAGE, ints(1, -1)]) for k in REDUCTIONS.split()),
    *((f"Reduce{k}", {}, [IMAGE]) for k in ("Sum", "Mean")),
    *((name, {}, ["bool[N, 3]", np.array([True, False, True])]) for name in ("And", "Or", "Xor")),
    ("Not", {}, ["bool[N, 3]"]),
    ("Acosh", {}, ["f32[N, 3]"]),
    ("Gelu", {"approximate": "tanh"}, [ROWS]),
    ("Swish", {"alpha": 1.5}, [ROWS]),
    ("PRelu", {}, [IMAGE, weights(4, 1, 1)]),
    ("Clip", {}, [ROWS, np.array([0.3], np.float32)]),
    ("Clip", {}, [ROWS, None, np.array(0.6, np.float32)]),
    ("Clamp", {"min": 0.3, "max": 0.6}, [ROWS]),
    ("Clamp", {"min": 0.3}, [ROWS]),
    ("Mod", {"fmod": 1}, [ROWS, weights(6)]),
    ("BitShift", {"direction": "LEFT"}, ["u8[N, 3]", np.array([1, 2, 3], np.uint8)]),
    ("Where", {}, ["bool[N, 3]", "f32[N, 3]", weights(3)]),
    ("Cast", {"to": "i32"}, [ROWS]),
    ("CastLike", {}, [ROWS, np.zeros(1, np.float64)]),
    ("MatMul", {}, ["f32[N, 2, 6]", weights(6, 5)]),
    ("Gemm", {"transB": 1, "alpha": 0.5}, [ROWS, weights(5, 6), weights(5)]),
    ("FusedMatMul", {"transB": True, "activation": Relu()}, [ROWS, weights(5, 6), weights(5)]),
    ("FusedMatMul", {"transA": True}, [weights(6, 5), "f32[N, 6, 7]", None, "f32[N, 5, 7]"]),
    ("Conv", {"kernel_shape": (3, 2), "pads": (1, 0, 1, 1)}, [IMAGE, weights(5, 4, 3, 2)]),
    ("ConvTranspose", {"kernel_shape": (3, 3), "strides": (2, 2)}, [IMAGE, weights(4, 3, 3, 3)]),
    (
        "FusedConv",
        {"kernel_shape": (3, 3), "activation": Clamp(0.0, 6.0), "pool": MaxPool((2, 2))},
        [IMAGE, weights(5, 4, 3, 3), weights(5), "f32[N, 5, 7, 6]"],
    ),
    (
        "FusedConv",
        {"kernel_shape": (3, 3), "pool": GlobalAveragePool()},
        [IMAGE, weights(5, 4, 3, 3)],
    ),
    ("ScaleShift", {"activation": Relu()}, [IMAGE, weights(4), weights(4)]),
    ("ScaleShift", {}, [ROWS, weights(6), weights(6)]),
    ("ScaleShift", {}, ["f32[N, 4, 3]", "f32[4]", weights(4)]),
    (
        "PreactConv",
        {"activation": Relu(), "conv": FusedConv((1, 1), activation=Clamp(0.0, 6.0))},
        [IMAGE, weights(4), weights(4), weights(5, 4, 1, 1), weights(5)],
    ),
    (
        "PreactConv",
        {"conv": FusedConv((3, 2), pads=(1, 1, 0, 0), group=2, pool=MaxPool((2, 2)))},
        [IMAGE, weights(4), weights(4), weights(6, 2, 3, 2), None, "f32[N, 6, 8, 8]"],
    ),
    (
        "ConvPair",
        {
            "first": FusedConv((1, 1), activation=Relu()),
            "second": FusedConv((3, 2), pads=(1, 1, 0, 0), group=6, activation=Clamp(0.0, 6.0)),
        },
        [IMAGE, weights(6, 4, 1, 1), weights(6, 1, 3, 2), None, weights(6), "f32[N, 6, 8, 8]"],
    ),
    (
        "ConvPair",
        {"first": FusedConv((1, 1)), "second": FusedConv((3, 3))},
        [IMAGE, weights(6, 4, 1, 1), weights(2, 6, 3, 3), weights(6)],
    ),
    ("MaxPool", {"kernel_shape": (3, 3), "strides": (2, 2), "ceil_mode": 1}, [IMAGE]),
    ("MaxPool", {"kernel_shape": (2, 2), "n_outputs": 2}, [IMAGE]),
    ("AveragePool", {"kernel_shape": (3, 3), "pads": (1, 1, 1, 1)}, [IMAGE]),
    ("LpPool", {"kernel_shape": (2, 2)}, [IMAGE]),
    ("GlobalAveragePool", {}, [IMAGE]),
    ("GlobalMaxPool", {}, [IMAGE]),
    ("GlobalLpPool", {}, [IMAGE]),
    ("LRN", {"size": 3}, [IMAGE]),
    (
        "BatchNormalization",
        {"epsilon": 1e-3},
        [IMAGE, weights(4), weights(4), weights(4), abs(weights(4)) + 0.1],
    ),
    ("InstanceNormalization", {}, [IMAGE, weights(4), weights(4)]),
    ("GroupNormalization", {"num_groups": 2}, [IMAGE, weights(4), weights(4)]),
    ("LayerNormalization", {"axis": 2}, [IMAGE, weights(9, 8), weights(9, 8)]),
    ("RMSNormalization", {}, [IMAGE, weights(8)]),
    ("MeanVarianceNormalization", {}, [IMAGE]),
    ("Reshape", {}, [IMAGE, ints(0, -1, 8)]),
    ("Reshape", {}, [IMAGE, ints(-1, 288)]),
    ("Flatten", {}, [IMAGE]),
    ("Transpose", {"perm": (0, 2, 3, 1)}, [IMAGE]),
    ("Squeeze", {}, ["f32[N, 1, 3]", ints(1)]),
    ("Unsqueeze", {}, [ROWS, ints(1, -1)]),
    ("Shape", {"start": 1}, [IMAGE]),
    ("Slice", {}, [IMAGE, ints(1, 6), ints(9, 0), ints(2, 3), ints(2, -1)]),
    ("Pad", {}, [IMAGE, ints(0, 0, 1, -1, 0, 0, 2, 0)]),
    ("Pad", {"mode": "reflect"}, [IMAGE, ints(1, 2, 2, 1), None, ints(2, 3)]),
    ("Concat", {"axis": 1}, [IMAGE, IMAGE]),
    ("Split", {"axis": 1, "num_outputs": 2}, [IMAGE]),
    ("Split", {"axis": 2, "num_outputs": 2}, [IMAGE]),
    ("Split", {"axis": 3, "num_outputs": 2}, [IMAGE, ints(3, 5)]),
    ("Gather", {"axis": 1}, [IMAGE, ints(2, 0)]),
    ("DepthToSpace", {"blocksize": 2}, [IMAGE]),
    ("SpaceToDepth", {"blocksize": 2}, ["f32[N, 3, 4, 6]"]),
    ("ChannelShuffle", {"group": 2}, [IMAGE]),
    ("ChannelShuffle", {"group": 3}, ["i64[N, 6]"]),
    ("ChannelShuffle", {"group": 3}, ["f32[2, 6, 0]"]),
    ("ConstantOfShape", {"value": 3, "dtype": "i32"}, [ints(2, 3)]),
    ("Range", {}, [np.array(v, np.float32) for v in (1, 7, 2)]),
    ("Expand", {}, ["f32[N, 1, 3]", ints(1, 4, 3)]),
    ("Tile", {}, ["f32[N, 3]", ints(1, 2)]),
    ("CumSum", {}, [ROWS, np.array(1, np.int64)]),
    ("ArgMax", {"axis": 1}, [ROWS]),
    ("ArgMin", {"axis": -1, "keepdims": 0}, [ROWS]),
    ("Resize", {"mode": "linear"}, [IMAGE, None, np.array([1, 1, 2, 2], np.float32)]),
    ("Resize", {"axes": (2, 3)}, [IMAGE, None, None, ints(18, 4)]),
    ("Resize", {"axes": (3,), "mode": "linear"}, [IMAGE, None, np.array([1.5], np.float32)]),
    (
        "Resize",
        {"axes": (2, 3), "coordinate_transformation_mode": "tf_crop_and_resize"},
        [IMAGE, np.array([0, 0.2, 0.9, 0.8], np.float32), None, ints(5, 4)],
    ),
    ("QuantizeLinear", {}, [ROWS, np.array(0.01, np.float32), np.array(3, np.uint8)]),
    ("DequantizeLinear", {}, ["u8[N, 6]", np.array(0.01, np.float32), np.array(3, np.uint8)]),
    ("Im2Col", {"kernel_shape": (3, 2), "strides": (2, 1), "pads": (1, 0, 0, 2)}, [IMAGE]),
    ("Col2Im", {"strides": (2, 1)}, ["f32[N, 24, 20]", ints(9, 6), ints(3, 2)]),
    ("Col2Im", {"dilations": (2,), "pads": (1, 0)}, ["f32[N, 6, 6]", ints(9), ints(3)]),
    (
        "Col2Im",
        {"dilations": (2, 1, 2), "strides": (2, 1, 1)},
        ["f32[N, 16, 24]", ints(6, 4, 6), ints(2, 2, 2)],
    ),
    ("onnx.Trilu", {"opset": 14, "upper": 0}, ["f32[N, 4, 4]"]),
    ("BitwiseAnd", {}, ["i32[N, 3]", np.array([1, 2, 3], np.int32)]),
    ("BitwiseOr", {}, ["i32[N, 3]", np.array([1, 2, 3], np.int32)]),
    ("BitwiseXor", {}, ["i32[N, 3]", np.array([1, 2, 3], np.int32)]),
    ("BitwiseNot", {}, ["i32[N, 3]"]),
]


def case_id(case: Case) -> str:
    return f"{case[0]}-{'-'.join(map(str, case[1].values())) or 'plain'}"[:60]


def graph_of(case: Case) -> Graph:
    """The graph of one case: inputs x0, x1, ..., constants c0, c1, ..., results y."""
    name, attributes, operands = case
    graph = Graph("case")
    values = [_operand(graph, i, operand) for i, operand in enumerate(operands)]
    return single(graph, make_op(name, attributes), values)


def single(graph: Graph, op: Op, values: Sequence[Value | None]) -> Graph:
    names = [f"y{i or ''}" for i in range(op.n_results)]
    graph.set_outputs(graph.add_node(op, values, names).results)
    return graph


def _operand(graph: Graph, index: int, operand: Operand) -> Value | None:
    if operand is None:
        return None
    if isinstance(operand, str):
        dtype, _, shape = operand.rstrip("]").partition("[")
        kind = TensorType(dtype, [s if s.strip() == "N" else int(s) for s in shape.split(",")])
        return graph.add_input(f"x{index}", kind)
    return graph.add_parameter(f"c{index}", operand)


def inputs_of(graph: Graph, batch: int, seed: int = 0, integers: bool = False) -> dict[str, Array]:
    """Numbers between 0.1 and 1.1 (or small integers) for each input."""
    rng = np.random.default_rng(seed)
    found = {}
    for value in graph.inputs:
        shape = [batch if str(d) == "N" else int(str(d)) for d in value.shape]
        name = dtype_name(value.tensor_type.dtype)
        if name == "bool":
            array: Array = rng.integers(0, 2, shape).astype(bool)
        elif name[0] in "iu" or integers:
            array = rng.integers(0, 5, shape).astype(value.tensor_type.dtype)
        else:
            array = (rng.random(shape) + 0.1).astype(value.tensor_type.dtype)
        found[value.name] = array
    return found
