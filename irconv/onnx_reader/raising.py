"""Raises each node to the newest meaning of its operator."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from irconv.errors import ModelError
from irconv.onnx_reader.site import Site
from irconv.onnx_reader.trusted import TRUSTED

Rule: TypeAlias = Callable[[Site], None]

# (operator, version) -> its rule; the files onnx_raise_*.py fill it
RULES: dict[tuple[str, int], Rule] = {}

# Versions whose meaning is the newest one's: later versions only took more element types, optional
# operands or attributes whose default is the old meaning. A version that is neither here nor in
# RULES is refused, so that a newer onnx cannot surprise.
_AS_THEY_STAND = """
Abs 6 13; Acos 7 22; Acosh 9 22; Add 7 13 14; And 7; ArgMax 1 11 12 13; ArgMin 1 11 12 13; Asin
7 22; Asinh 9 22; Atan 7 22; Atanh 9 22; BitShift 11 28; BitwiseAnd 18; BitwiseNot 18; BitwiseOr
18; BitwiseXor 18; Cast 6 9 13 19 21 23 24 25 28; CastLike 15 19 21 23 24 25; Ceil 6 13; Celu 12
28; Clip 11 12 13; Col2Im 18; Compress 9 11 28; Concat 4 11 13; Cos 7 22; Cosh 9 22; CumSum 11
14; DepthToSpace 1 11 13 28; Det 11 22; DequantizeLinear 10 13 19 21 23 24 25 28; Div 7 13 14;
DynamicQuantizeLinear 11; Einsum 12 28; Elu 6 22; Equal 7 11 13 19; Erf 9 13; Exp 6 13; Expand 8
13; Flatten 1 9 11 13 21 23 24 25; Floor 6 13; Gather 1 11 13; GatherElements 11 13; GatherND 11
12 13; Gelu 20; Gemm 7 9 11 13; GlobalAveragePool 1 22; GlobalLpPool 2 22; GlobalMaxPool 1 22;
Greater 7 9 13; GreaterOrEqual 12 16; GroupNormalization 21; HardSigmoid 6 22; HardSwish 14 22;
Hardmax 13; Identity 1 13 14 16 19 21 23 24 25; InstanceNormalization 6 22; IsInf 10 20; IsNaN 9
13 20; LRN 1 13; LayerNormalization 17; LeakyRelu 6 16; Less 7 9 13; LessOrEqual 12 16; Log 6
13; LogSoftmax 13; LpNormalization 1 22; MatMul 1 9 13; MatMulInteger 10; Max 6 8 12 13; Mean 6
8 13; MeanVarianceNormalization 9 13; Min 6 8 12 13; Mish 18 22; Mod 10 13 28; Mul 7 13 14; Neg
6 13; NonZero 9 13; Not 1; OneHot 9 11 28; Or 7; PRelu 7 9 16; Pad 11 13 18 19 21 23 24 25; Pow
7 12 13 15; QLinearMatMul 10 21; QuantizeLinear 10 13 19 21 23 24 25 28; RMSNormalization 23;
Range 11 27; Reciprocal 6 13; ReduceL1 18; ReduceL2 18; ReduceLogSum 18 28; ReduceLogSumExp 18
28; ReduceMax 18 20; ReduceMean 18; ReduceMin 18 20; ReduceProd 18; ReduceSum 13;
ReduceSumSquare 18; Relu 6 13 14; Reshape 5 13 14 19 21 23 24 25; Round 11 22; ScatterElements
11 13 16 18; ScatterND 11 13 16 18; Selu 6 22; Shape 1 13 15 19 21 23 24 25; Shrink 9; Sigmoid 6
13; Sign 9 13; Sin 7 22; Sinh 9 22; Size 1 13 19 21 23 24 25; Slice 10 11 13; Softmax 13;
Softplus 1 22; Softsign 1 22; SpaceToDepth 1 13 28; Sqrt 6 13; Squeeze 13 21 23 24 25; Sub 7 13
14; Sum 6 8 13; Swish 24; Tan 7 22; Tanh 6 13; ThresholdedRelu 10 22; Tile 6 13; TopK 10 11 24;
Transpose 1 13 21 23 24 25; Trilu 14; Unsqueeze 13 21 23 24 25; Where 9 16; Xor 7
"""
NATIVE: dict[str, frozenset[int]] = {
    words[0]: frozenset(map(int, words[1:]))
    for words in (entry.split() for entry in _AS_THEY_STAND.split(";"))
}


def rule(op_type: str, *versions: int) -> Callable[[Rule], Rule]:
    """Registers the rule for some versions of an operator."""

    def register(function: Rule) -> Rule:
        for version in versions:
            RULES[op_type, version] = function
        return function

    return register


def raise_node(site: Site) -> None:
    """Adds to the graph what the node means; raises ModelError where it is refused."""
    found = RULES.get((site.op_type, site.version))
    if found is not None:
        found(site)
    elif site.version in NATIVE.get(site.op_type, ()):
        site.native()
    elif site.version in TRUSTED.get(site.op_type, ()):
        site.generic(site.record.attributes)
    else:
        raise ModelError(
            f"{site.op_type}-{site.version} is not supported",
            hint="no class holds it, and no test vouches for ONNX's reference of it",
        )
