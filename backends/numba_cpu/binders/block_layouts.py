"""What kernels on blocks of channels ask of the types of a node, whichever passes wrote it."""

from __future__ import annotations

from itertools import chain

import numpy as np

from irconv.backends.numba_cpu.binders.kind import shape_of
from irconv.backends.numba_cpu.blocked.tile import lanes
from irconv.backends.numba_cpu.views import is_static, layout_of
from irconv.channels import channel_vector
from irconv.graph import Node, Value
from irconv.ops.conv import Conv
from irconv.ops.elementwise import Add, Mul, Sum
from irconv.ops.fused import FusedConv
from irconv.ops.layout import Pack, Unpack
from irconv.ops.norm import BatchNormalization
from irconv.ops.pair import ConvPair
from irconv.ops.preact import PreactConv
from irconv.ops.rearrange import Concat
from irconv.ops.sparse import SparseMatMul
from irconv.types import TensorType

# their own kernels tell which sizes of blocks they take
_CHECKED = (Pack, Unpack, Conv, FusedConv, PreactConv, ConvPair, SparseMatMul)


def fault_in_blocks(node: Node) -> str | None:
    """Why no kernel on blocks may run this node, None where nothing speaks against it."""
    if len(node.results) != 1:
        return "it has more than one result"
    images = [
        v
        for v in node.operands
        if v is not None and not v.is_parameter and isinstance(v.type, TensorType)
    ]
    if any(layout_of(v) is not None for v in node.operands if v is not None and v.is_parameter):
        return "a parameter lies row by row, whatever its type says"
    plain = images if isinstance(node.op, Pack) else []
    plain = [node.result] if isinstance(node.op, Unpack) else plain
    for value in chain(images, node.results):
        reason = _fault_of_image(value, value in plain)
        if reason is not None:
            return reason
    if not isinstance(node.op, _CHECKED):
        blocks = {layout.block for v in (*images, node.result) if (layout := layout_of(v))}
        if len(blocks) > 1:
            return f"it reads and makes blocks of several sizes, {sorted(blocks)}"
    return _fault_of_op(node)


def _fault_of_image(value: Value, is_plain: bool) -> str | None:
    kind = value.tensor_type
    if kind.dtype != np.float32 or kind.rank not in (3, 4):
        return f"%{value.name} is {kind.plain}, not an image of f32 with one or two axes"
    if not is_static(value) or 0 in shape_of(value):
        return f"%{value.name} is {kind.plain}: empty, or of unknown sizes"
    if is_plain == (layout_of(value) is not None):
        return f"%{value.name} must lie {'row by row' if is_plain else 'in blocks of channels'}"
    layout = layout_of(value)
    if layout is not None and layout.block > lanes():
        return f"%{value.name} has blocks of {layout.block} channels, a vector has {lanes()}"
    return None


def _fault_of_op(node: Node) -> str | None:
    op = node.op
    if isinstance(op, Concat):
        rank = node.result.tensor_type.rank
        is_joined = op.axis % rank == 1 and not any(
            v is None or v.is_parameter for v in node.operands
        )
        return None if is_joined else "it does not join channels of images"
    if isinstance(op, Add | Sum | Mul):
        return _fault_of_terms(node)
    if isinstance(op, BatchNormalization):
        constant = all(v is not None and v.array is not None for v in node.operands[1:])
        return None if constant else "its statistics are not constant"
    return None


def _fault_of_terms(node: Node) -> str | None:
    shape = shape_of(node.result)
    if len(node.operands) != 2:
        return f"it has {len(node.operands)} operands"
    for value in node.operands:
        assert value is not None
        if value.array is not None:
            if channel_vector(value.array, len(shape), shape[1]) is None:
                return f"%{value.name} is not one number per channel"
        elif shape_of(value) not in (shape, (*shape[:2], *(1,) * (len(shape) - 2))):
            return f"%{value.name} is broadcast"
    return None
