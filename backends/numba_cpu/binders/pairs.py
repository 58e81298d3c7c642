"""Binds pairs of convolutions on blocks."""

from __future__ import annotations

from irconv.backends.numba_cpu.binders.epilogue import epilogue
from irconv.backends.numba_cpu.binders.kind import operand
from irconv.backends.numba_cpu.blocked.convolve_row import Operands
from irconv.backends.numba_cpu.blocked.layer import of_two_axes
from irconv.backends.numba_cpu.blocked.pair import Pair, convolution_pair
from irconv.backends.numba_cpu.launch import Launch
from irconv.backends.numba_cpu.storages import Storages
from irconv.graph import Node
from irconv.ops.pair import ConvPair
from irconv.types import Type


def bind_pair(node: Node, threads: int, storages: Storages) -> list[Launch] | None:
    """ConvPair: a 1x1 convolution, and one of each channel by itself without a pool."""
    op = node.op
    assert isinstance(op, ConvPair)
    x, between, residual = operand(node, 0), op.between(_types(node)), node.operand(5)
    weights, kernel, bias, kernel_bias = (node.constant(i) for i in range(1, 5))
    endings = [epilogue(part.activation) for part in (op.first, op.second)]
    if weights is None or kernel is None or endings[0] is None or endings[1] is None:
        return None
    if not _is_supported(op, len(weights), len(kernel)):
        return None
    pair = Pair(
        of_two_axes(op.first.conv_geometry(x.tensor_type, len(weights), 1)),
        of_two_axes(op.second.conv_geometry(between, len(kernel), op.second.group)),
        kernel,
        kernel_bias,
        endings[0],
        endings[1],
    )
    added = storages.blocked(residual) if residual is not None else None
    operands = Operands(storages.blocked(x), storages.blocked(node.result), weights, bias, added)
    return convolution_pair(pair, operands, threads)


def _is_supported(op: ConvPair, between: int, channels: int) -> bool:
    first, second = op.first, op.second
    points = {*first.kernel_shape, *first.strides, first.group}
    by_itself = second.group == between == channels
    return points == {1} and not any(first.pads) and by_itself and second.pool is None


def _types(node: Node) -> list[Type | None]:
    return [v.type if v is not None else None for v in node.operands]
