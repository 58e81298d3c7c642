"""Makes one node of a 1x1 convolution and the depthwise convolution of its result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from irconv.errors import PipelineError
from irconv.graph import Graph, Node, Value
from irconv.ops.conv import Conv
from irconv.ops.fused import FusedConv
from irconv.ops.pair import ConvPair
from irconv.passes.im2col import is_pointwise
from irconv.passes.products import fused_form, sharing
from irconv.pipeline import Pass
from irconv.rewrite import Rewriter, rule
from irconv.types import DTYPES, dtype_name


@dataclass(frozen=True)
class FusePairs(Pass):
    """Makes one node of a 1x1 convolution and the depthwise convolution of its result.

    Only on blocks of channels, where a kernel runs it (or `everywhere`), and where the result has
    at least `least` bytes: what fits a cache need not be fused. Layouts stay: it runs after `pack`.
    """

    exact: ClassVar[bool] = True

    least: int = 0
    everywhere: bool = False

    def __post_init__(self) -> None:
        if self.least < 0:
            raise PipelineError("fuse_pairs: wrong least", expected="0 or more", got=self.least)

    def run(self, graph: Graph, rewriter: Rewriter) -> None:
        rewriter.apply([fuse_pair.with_options(least=self.least, everywhere=self.everywhere)])


@rule(Conv, FusedConv)
def fuse_pair(node: Node, rewriter: Rewriter, least: int, everywhere: bool) -> Value | None:
    """depthwise(conv(x, w, b), v, c, r) => ConvPair(x, w, v, b, c, r)."""
    between = node.operand(0)
    before = between.producer if between is not None else None
    if before is None or between is None or type(before.op) not in (Conv, FusedConv):
        return None
    first, second = fused_form(before.op), fused_form(node.op)
    assert isinstance(first, FusedConv)
    assert isinstance(second, FusedConv)
    if not is_pointwise(first) or first.group != 1 or not _is_depthwise(node, second):
        return None
    size = between.tensor_type.nbytes
    if not isinstance(size, int):
        return rewriter.declined(before, "the size of its result is not known")
    if size < least:
        return rewriter.declined(before, f"its result has {size} bytes, fewer than {least}")
    if not everywhere and _block(between) is None:
        return rewriter.declined(before, "its result lies row by row, only kernels on blocks pair")
    reason = sharing(between) or _refusal(before, first, second)
    if reason is not None:
        return rewriter.declined(before, reason)
    (x, w, b), (v, c, r) = _operands(before), (node.operand(i) for i in range(1, 4))
    y = rewriter.emit(ConvPair(first, second), x, w, v, b, c, r)
    y.type = node.result.type
    return y


def _operands(node: Node) -> tuple[Value | None, ...]:
    return tuple(node.operand(i) for i in range(3))


def _is_depthwise(node: Node, op: FusedConv) -> bool:
    """Whether each channel is by itself."""
    weights = node.operand(1)
    return weights is not None and op.group == weights.shape[0] and weights.shape[1] == 1


def _refusal(before: Node, first: FusedConv, second: FusedConv) -> str | None:
    if first.pool is not None or second.pool is not None:
        return "one of the two convolutions is pooled"
    if before.operand(3) is not None:
        return "something is added to its result"
    if _block(before.operand(0)) != _block(before.result):
        return "its image lies in other blocks of channels than its result"
    dtype = before.result.tensor_type.dtype
    if dtype not in (DTYPES["f32"], DTYPES["f64"]):
        return f"its element type is {dtype_name(dtype)}, fused nodes compute in f32 or f64"
    return None


def _block(value: Value | None) -> int | None:
    """The channels of a block of a value; None: it lies row by row."""
    layout = value.tensor_type.layout if value is not None else None
    return layout.block if layout is not None else None
