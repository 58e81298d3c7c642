"""Takes a scale, a shift and an activation into the load of the 1x1 convolution after them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from irconv.channels import channel_vector
from irconv.graph import Graph, Node, Value
from irconv.op import Op
from irconv.ops.activation import ACTIVATIONS, Clip, Relu
from irconv.ops.conv import Conv
from irconv.ops.elementwise import Add, Mul
from irconv.ops.fused import Clamp, FusedConv
from irconv.ops.norm import BatchNormalization
from irconv.ops.preact import PreactConv, ScaleShift
from irconv.passes.affine import NOT_FINITE, Affine, affine_of
from irconv.passes.clamps import clamp_of
from irconv.passes.im2col import is_pointwise
from irconv.passes.products import fused_form, sharing
from irconv.pipeline import Pass
from irconv.rewrite import Rewriter, rule
from irconv.types import DTYPES, Array, TensorType, dtype_name

_TYPES = (DTYPES["f32"], DTYPES["f64"])


@dataclass(frozen=True)
class FusePreactivation(Pass):
    """Takes a scale, a shift and an activation into the load of the 1x1 convolution after them.

    A batch normalization, or constants per channel that multiply or add, and the activation after
    it become one ScaleShift; with the convolution that alone reads it, one PreactConv. Computed in
    float64, rounded once. Layouts stay as they are: it may run after `pack`.
    """

    everywhere: bool = False

    def run(self, graph: Graph, rewriter: Rewriter) -> None:
        into = take_into_convolution.with_options(everywhere=self.everywhere)
        rewriter.apply([scale_and_shift, join_steps, take_activation, into])


@dataclass(frozen=True)
class _Step:
    """What a node does to its image: scale and shift per channel."""

    image: Value
    affine: Affine
    parameters: tuple[Value, ...]


@rule(BatchNormalization)
def scale_and_shift(node: Node, rewriter: Rewriter) -> Value | None:
    """BatchNormalization(x) => ScaleShift(x, scale, shift)."""
    step = _batchnorm(node)
    if isinstance(step, str):
        return rewriter.declined(node, step)
    return _scale_shift(rewriter, node, step, ScaleShift())


@rule(Mul, Add)
def join_steps(node: Node, rewriter: Rewriter) -> Value | None:
    """(x * a) + b and the like => ScaleShift(x, scale, shift), for constants per channel."""
    step = _step(node)
    before = _step_behind(step.image, rewriter) if step is not None else None
    if step is None or before is None:
        return None
    first, second = before.affine, step.affine
    both = Affine(first.scale * second.scale, first.shift * second.scale + second.shift)
    joined = _Step(before.image, both, before.parameters + step.parameters)
    return _scale_shift(rewriter, node, joined, ScaleShift())


@rule(*ACTIVATIONS, Clamp, Clip)
def take_activation(node: Node, rewriter: Rewriter) -> Value | None:
    """f(x * scale + shift) => ScaleShift with activation f."""
    step = _step_behind(node.operand(0), rewriter)
    if step is None:
        return None
    activation = clamp_of(node) if isinstance(node.op, Clip) else node.op
    if isinstance(activation, str):
        return rewriter.declined(node, activation)
    return _scale_shift(rewriter, node, step, ScaleShift(activation))


@rule(Conv, FusedConv)
def take_into_convolution(node: Node, rewriter: Rewriter, everywhere: bool) -> Value | None:
    """conv(ScaleShift(x, scale, shift), w) => PreactConv(x, scale, shift, w)."""
    image = node.operand(0)
    before = image.producer if image is not None else None
    if before is None or image is None or not isinstance(before.op, ScaleShift):
        return None
    reason = sharing(image)
    if reason is not None:
        return rewriter.declined(before, reason)
    op = fused_form(node.op)
    assert isinstance(op, FusedConv)
    reason = _load_refusal(node, op, before.op.activation, everywhere)
    if reason is not None:
        return rewriter.declined(node, reason)
    y = rewriter.emit(PreactConv(op, before.op.activation), *before.operands, *node.operands[1:])
    y.type = node.result.type
    return y


def _load_refusal(node: Node, op: FusedConv, activation: Op | None, everywhere: bool) -> str | None:
    """Why this convolution does not take in what is before it."""
    if not is_pointwise(op) or op.group != 1:
        return "its kernel is not 1x1 with stride 1, no pads and one group"
    if everywhere:
        return None
    if node.result.tensor_type.layout is None:
        return "its result lies row by row, only kernels on blocks of channels take it in"
    if op.pool is not None:
        return "it is pooled"
    if activation is not None and not isinstance(activation, Relu | Clamp):
        return f"{activation.name} does not only bound its operand"
    return None


def _batchnorm(node: Node) -> _Step | str:
    x = node.operand(0)
    kind = node.result.tensor_type
    if x is None or kind.rank < 2 or not isinstance(kind.shape[1], int):
        return "the number of its channels is not known"
    if kind.dtype not in _TYPES:
        return f"its element type is {dtype_name(kind.dtype)}, it is computed in f32 or f64"
    affine = affine_of(node)
    if isinstance(affine, str):
        return affine
    return _Step(x, affine, tuple(v for v in node.operands[1:] if v is not None))


def _step_behind(value: Value | None, rewriter: Rewriter) -> _Step | None:
    """The step that makes `value` for one reader alone; a remark where others read it too."""
    node = value.producer if value is not None else None
    step = _step(node) if node is not None else None
    reason = sharing(value) if step is not None and value is not None else None
    if node is not None and reason is not None:
        rewriter.declined(node, reason)
        return None
    return step


def _step(node: Node) -> _Step | None:
    """What a ScaleShift without activation does, or a Mul or Add with constants per channel."""
    kind = node.results[0].type
    if not isinstance(kind, TensorType) or kind.rank < 2 or kind.dtype not in _TYPES:
        return None
    if isinstance(node.op, Mul | Add):
        return _constant_step(node, kind)
    if not isinstance(node.op, ScaleShift) or node.op.activation is not None:
        return None
    image, *parameters = (v for v in node.operands if v is not None)
    arrays = [v.array.astype(np.float64) for v in parameters if v.array is not None]
    return _Step(image, Affine(*arrays), tuple(parameters)) if len(arrays) == 2 else None


def _constant_step(node: Node, kind: TensorType) -> _Step | None:
    channels = kind.shape[1]
    if not isinstance(channels, int):
        return None
    for x, other in (node.operands, node.operands[::-1]):
        if x is None or other is None or other.array is None or x.tensor_type.plain != kind.plain:
            continue
        vector = channel_vector(other.array, kind.rank, channels)
        if vector is not None:
            make = Affine.scaling if isinstance(node.op, Mul) else Affine.shifting
            return _Step(x, make(vector), (other,))
    return None


def _scale_shift(rewriter: Rewriter, node: Node, step: _Step, op: ScaleShift) -> Value | None:
    """`op` with the constants of `step`, in place of `node`."""
    dtype = node.result.tensor_type.dtype
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = [a.astype(dtype) for a in (step.affine.scale, step.affine.shift)]
    if not all(np.isfinite(a).all() for a in rounded):
        return rewriter.declined(node, NOT_FINITE)
    scale = _parameter(rewriter, "scale", rounded[0], step, 0)
    shift = _parameter(rewriter, "shift", rounded[1], step, 1)
    y = rewriter.emit(op, step.image, scale, shift)
    y.type = node.result.type
    return y


def _parameter(rewriter: Rewriter, name: str, array: Array, step: _Step, place: int) -> Value:
    """A parameter that holds `array`: that of the step at this place if it does already."""
    for value in step.parameters[place : place + 1]:
        if value.array is not None and np.array_equal(value.array, array):
            return value
    return rewriter.constant(array, name, trainable=any(v.trainable for v in step.parameters))
