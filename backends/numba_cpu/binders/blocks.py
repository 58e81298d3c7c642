"""Binds nodes whose operands or results lie in blocks of channels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from irconv.backends.numba_cpu.binders.block_layouts import fault_in_blocks
from irconv.backends.numba_cpu.binders.convolution import pool_window
from irconv.backends.numba_cpu.binders.epilogue import epilogue
from irconv.backends.numba_cpu.binders.kind import operand, shape_of, source
from irconv.backends.numba_cpu.binders.matrix import constant_matrix, tap_table
from irconv.backends.numba_cpu.binders.pairs import bind_pair
from irconv.backends.numba_cpu.blocked.convolution import convolution
from irconv.backends.numba_cpu.blocked.convolve_row import Operands
from irconv.backends.numba_cpu.blocked.copy import copy, copy_channels
from irconv.backends.numba_cpu.blocked.halo import clear_halo
from irconv.backends.numba_cpu.blocked.launches import Blocked
from irconv.backends.numba_cpu.blocked.layer import Layer, of_two_axes
from irconv.backends.numba_cpu.blocked.lrn import lrn
from irconv.backends.numba_cpu.blocked.pack import pack, unpack
from irconv.backends.numba_cpu.blocked.pointwise import activate, binary, per_channel, scale_shift
from irconv.backends.numba_cpu.blocked.pool import pool
from irconv.backends.numba_cpu.blocked.preactivation import Preactivation
from irconv.backends.numba_cpu.blocked.taps import tap_convolution
from irconv.backends.numba_cpu.blocked.winograd import winograd
from irconv.backends.numba_cpu.launch import Launch
from irconv.backends.numba_cpu.storages import Storages
from irconv.channels import channel_vector
from irconv.errors import BackendError, printable
from irconv.graph import Node, Value
from irconv.op import Op
from irconv.ops.activation import ACTIVATIONS
from irconv.ops.conv import Conv
from irconv.ops.elementwise import Add, Mul, Sum
from irconv.ops.fused import POOLS, Clamp, FusedConv
from irconv.ops.layout import Pack, Unpack
from irconv.ops.norm import LRN, BatchNormalization
from irconv.ops.pair import ConvPair
from irconv.ops.preact import PreactConv, ScaleShift
from irconv.ops.rearrange import ChannelShuffle, Concat
from irconv.ops.sparse import SparseMatMul
from irconv.ops.winograd import WinogradConv
from irconv.types import Array

# (node, number of threads, where values lie) -> its launches, or None where no kernel fits
BlockBinder: TypeAlias = "Callable[[Node, int, Storages], list[Launch] | None]"


def bind_in_blocks(node: Node, threads: int, storages: Storages) -> list[Launch]:
    """The launches of a node on blocks; raises BackendError where no kernel runs it so."""
    binder = BINDERS.get(type(node.op))
    fault = fault_in_blocks(node) if binder is not None else None
    launches = binder(node, threads, storages) if binder is not None and fault is None else None
    if launches is None:
        raise BackendError(
            f"no kernel runs this {node.op.name} on blocks of channels",
            where=f"%{printable(node.name)}",
            got=printable(fault, 300) if fault is not None else None,
            hint="put an Unpack in front of it, as the pass pack does",
        )
    return launches


def bind_pack(node: Node, threads: int, storages: Storages) -> list[Launch]:
    """Pack."""
    return pack(storages.blocked(node.result), source(operand(node, 0)))


def bind_unpack(node: Node, threads: int, storages: Storages) -> list[Launch]:
    """Unpack."""
    return unpack(node.result, storages.blocked(operand(node, 0)))


def bind_convolution(node: Node, threads: int, storages: Storages) -> list[Launch] | None:
    """Conv and FusedConv."""
    op = node.op
    assert isinstance(op, Conv | FusedConv)
    x, weights, bias, residual = (node.operand(i) for i in range(4))
    assert x is not None
    ending = epilogue(op.activation if isinstance(op, FusedConv) else None)
    if ending is None or weights is None or weights.array is None:
        return None
    geometry = op.conv_geometry(x.tensor_type, weights.array.shape[0], op.group)
    pool_op = op.pool if isinstance(op, FusedConv) else None
    return convolution(
        storages.blocked(x),
        storages.blocked(node.result),
        geometry,
        weights.array,
        bias.array if bias is not None else None,
        storages.blocked(residual) if residual is not None else None,
        ending,
        threads,
        pool=pool_window(pool_op, geometry.out) if pool_op is not None else None,
    )


def bind_matrix(node: Node, threads: int, storages: Storages) -> list[Launch] | None:
    """SparseMatMul with the tap form of a matrix of constant weights and index."""
    op = node.op
    assert isinstance(op, SparseMatMul)
    matrix, ending = constant_matrix(operand(node, 0)), epilogue(op.activation)
    x, bias, residual = operand(node, 1), node.operand(2), node.operand(3)
    if matrix is None or ending is None or (bias is not None and bias.array is None):
        return None
    if matrix.type.form != "tap" or matrix.type.transposed:
        return None
    table = tap_table(matrix)
    if table is None or x.is_parameter or (residual is not None and residual.is_parameter):
        return None
    y = storages.blocked(node.result)
    added = storages.blocked(residual) if residual is not None else None
    layer = Layer(
        of_two_axes(matrix.type.geometry),
        storages.held[x],
        y.storage,
        added.storage if added is not None else None,
        ending,
    )
    given = bias.array if bias is not None else None
    operands = Operands(storages.blocked(x), y, matrix.weights, given, added)
    return tap_convolution(layer, operands, table, threads)


def bind_preact(node: Node, threads: int, storages: Storages) -> list[Launch] | None:
    """PreactConv: where what comes before the convolution is a scale, a shift and bounds."""
    op = node.op
    assert isinstance(op, PreactConv)
    x = operand(node, 0)
    scale, shift, weights = (operand(node, i).array for i in range(1, 4))
    bias, residual = node.operand(4), node.operand(5)
    before, ending = epilogue(op.activation), epilogue(op.conv.activation)
    if scale is None or shift is None or weights is None or before is None or ending is None:
        return None
    if before.activation is not None or op.conv.pool is not None:
        return None
    return convolution(
        storages.blocked(x),
        storages.blocked(node.result),
        op.conv.conv_geometry(x.tensor_type, weights.shape[0], op.conv.group),
        weights,
        bias.array if bias is not None else None,
        storages.blocked(residual) if residual is not None else None,
        ending,
        threads,
        Preactivation(scale, shift, before.low, before.high),
    )


def bind_winograd(node: Node, threads: int, storages: Storages) -> list[Launch] | None:
    """WinogradConv."""
    op = node.op
    assert isinstance(op, WinogradConv)
    x, weights, bias, residual = (node.operand(i) for i in range(4))
    ending = epilogue(op.activation)
    if x is None or weights is None or weights.array is None or ending is None:
        return None
    geometry = op.conv_geometry(x.tensor_type, weights.array.shape[0], op.group)
    return winograd(
        storages.blocked(x),
        storages.blocked(node.result),
        geometry,
        op.tile,
        weights.array,
        bias.array if bias is not None else None,
        storages.blocked(residual) if residual is not None else None,
        ending,
        pool_window(op.pool, geometry.out) if op.pool is not None else None,
        threads,
    )


def bind_pool(node: Node, threads: int, storages: Storages) -> list[Launch]:
    """Max and average pools, global ones too."""
    x = operand(node, 0)
    y = storages.blocked(node.result)
    window = pool_window(node.op, shape_of(x)[2:])
    return [*clear_halo(y), *pool(y, storages.blocked(x), window, threads)]


def bind_activation(node: Node, threads: int, storages: Storages) -> list[Launch] | None:
    """An activation by itself."""
    ending, y = epilogue(node.op), storages.blocked(node.result)
    if ending is None:
        return None
    return [*clear_halo(y), *activate(y, storages.blocked(operand(node, 0)), ending)]


def bind_binary(node: Node, threads: int, storages: Storages) -> list[Launch]:
    """Add, Sum, Mul: of two values, or of a value and one constant per channel."""
    y = storages.blocked(node.result)
    name = "mul" if isinstance(node.op, Mul) else "add"
    operands = [_operand(v, node, storages) for v in node.operands if v is not None]
    return [*clear_halo(y), *binary(name, y, operands[0], operands[1])]


def _operand(value: Value, node: Node, storages: Storages) -> Blocked:
    if value.array is None:
        return storages.blocked(value)
    kind = node.result.tensor_type
    vector = channel_vector(value.array, kind.rank, shape_of(node.result)[1])
    assert vector is not None
    return per_channel(vector, storages.held[node.result].block)


def bind_batch_normalization(node: Node, threads: int, storages: Storages) -> list[Launch]:
    """BatchNormalization, as a scale and a shift of each channel."""
    assert isinstance(node.op, BatchNormalization)
    scale, bias, mean, variance = (_constant(node, i) for i in range(1, 5))
    factor = scale / np.sqrt(variance + node.op.epsilon)
    shift = bias - mean * factor
    y = storages.blocked(node.result)
    x = storages.blocked(operand(node, 0))
    launches = scale_shift(y, x, factor.astype(np.float32), shift.astype(np.float32))
    return [*clear_halo(y), *launches]


def bind_scale_shift(node: Node, threads: int, storages: Storages) -> list[Launch] | None:
    """ScaleShift: clamped in the same pass, another activation in a second one."""
    op = node.op
    assert isinstance(op, ScaleShift)
    scale, shift, ending = operand(node, 1).array, operand(node, 2).array, epilogue(op.activation)
    if scale is None or shift is None or ending is None:
        return None
    x, y = storages.blocked(operand(node, 0)), storages.blocked(node.result)
    launches = [*clear_halo(y), *scale_shift(y, x, scale, shift, ending.low, ending.high)]
    return launches if ending.activation is None else [*launches, *activate(y, y, ending)]


def bind_lrn(node: Node, threads: int, storages: Storages) -> list[Launch]:
    """LRN."""
    op, y = node.op, storages.blocked(node.result)
    assert isinstance(op, LRN)
    x = storages.blocked(operand(node, 0))
    return [*clear_halo(y), *lrn(y, x, op.size, op.alpha, op.beta, op.bias)]


def _constant(node: Node, index: int) -> Array:
    """A constant operand, in float64."""
    array = operand(node, index).array
    assert array is not None
    return array.astype(np.float64)


def bind_concat(node: Node, threads: int, storages: Storages) -> list[Launch]:
    """Concat along channels: copies what does not lie in the result already."""
    whole = storages.held[node.result]
    launches: list[Launch] = []
    first = 0
    for value in node.operands:
        assert value is not None
        x, channels = storages.blocked(value), storages.held[value].channels
        before = first % whole.block  # channels of the operand in front, in the same block
        origin = whole.origin + first // whole.block * whole.plane
        part = replace(whole, channels=before + channels, origin=origin)
        y = Blocked(node.result, part)
        if part != x.storage or not storages.share(value, node.result):
            launches += clear_halo(y)
            ends_block = channels % whole.block == 0 or first + channels == whole.channels
            if before == 0 and ends_block:
                launches += copy(y, x)
            else:
                y = storages.blocked(node.result)
                launches += copy_channels(y, x, range(channels), first)
        first += channels
    return launches


def bind_shuffle(node: Node, threads: int, storages: Storages) -> list[Launch]:
    """ChannelShuffle, where a reader needs the channels in their order."""
    assert isinstance(node.op, ChannelShuffle)
    y, x = storages.blocked(node.result), storages.blocked(operand(node, 0))
    return [*clear_halo(y), *copy_channels(y, x, node.op.order(x.storage.channels))]


BINDERS: dict[type[Op], BlockBinder] = {
    Pack: bind_pack,
    Unpack: bind_unpack,
    Conv: bind_convolution,
    FusedConv: bind_convolution,
    PreactConv: bind_preact,
    WinogradConv: bind_winograd,
    SparseMatMul: bind_matrix,
    ConvPair: bind_pair,
    **dict.fromkeys(POOLS, bind_pool),
    **dict.fromkeys((*ACTIVATIONS, Clamp), bind_activation),
    Add: bind_binary,
    Sum: bind_binary,
    Mul: bind_binary,
    BatchNormalization: bind_batch_normalization,
    ScaleShift: bind_scale_shift,
    LRN: bind_lrn,
    Concat: bind_concat,
    ChannelShuffle: bind_shuffle,
}
