"""Raises elementwise operators, activations and normalizations of old versions."""

from __future__ import annotations

import numpy as np

from irconv.dim import Dim
from irconv.errors import ModelError
from irconv.graph import Value
from irconv.onnx_reader.raising import rule
from irconv.onnx_reader.site import Site
from irconv.onnx_reader.tensor import element_type
from irconv.types import dtype_name


@rule("Add", 6)
@rule("Sub", 6)
@rule("Mul", 6)
@rule("Div", 6)
@rule("Pow", 1)
@rule("And", 1)
@rule("Or", 1)
@rule("Xor", 1)
@rule("Equal", 1)
@rule("Less", 1)
@rule("Greater", 1)
def old_broadcast(site: Site) -> None:
    """With `broadcast`, the second operand's axes are the first's from `axis` on, or its last."""
    axis = site.attribute("axis")
    broadcast = site.attribute("broadcast", 0)
    site.attribute("consumed_inputs")
    left, right = site.shape(0), site.shape(1)
    if not broadcast:
        if left != right:
            raise ModelError(
                f"{site.op_type}-{site.version} without broadcast takes equal shapes",
                expected=site.type(0),
                got=site.type(1),
            )
        site.native()
        return
    if site.type(1).size == 1:
        if len(right) > len(left):
            raise ModelError("the second operand has the higher rank", got=site.type(1))
    else:
        site.operands[1] = _placed(site, axis, left, right)
    site.native()


def _placed(site: Site, axis: int | None, left: tuple[Dim, ...], right: tuple[Dim, ...]) -> Value:
    start = len(left) - len(right) if axis is None else site.axis(axis)
    part = left[max(start, 0) : start + len(right)]
    if (
        start < 0
        or len(part) != len(right)
        or any(r not in (1, p) for r, p in zip(right, part, strict=True))
    ):
        raise ModelError(
            "the second operand is no part of the first's shape",
            expected=site.type(0),
            got=site.type(1),
        )
    behind = len(left) - start - len(right)
    if not behind:
        return site.required(1)
    axes = range(len(right), len(right) + behind)
    return site.emit(
        site.op("Unsqueeze"), [site.required(1), site.ints(list(axes), "axes")], "placed"
    )


@rule("PRelu", 6)
def prelu_6(site: Site) -> None:
    """A slope of one number per channel: channels are axis 1."""
    rank, slope = site.rank(), site.shape(1)
    if len(slope) == 1 and slope != (1,) and rank > 2:
        axes = site.ints(list(range(1, rank - 1)), "axes")
        site.operands[1] = site.emit(site.op("Unsqueeze"), [site.required(1), axes], "slope")
    site.native()


@rule("Gemm", 6)
def gemm_6(site: Site) -> None:
    """`broadcast` only permitted what is permitted now."""
    site.attribute("broadcast")
    site.native()


@rule("Clip", 6)
def clip_6(site: Site) -> None:
    """The limits become operands; left out, they are the largest float32 numbers."""
    limit = float(np.finfo(np.float32).max)
    low, high = site.attribute("min", -limit), site.attribute("max", limit)
    site.operands = [site.required(0), site.scalar(low, "min"), site.scalar(high, "max")]
    site.native()


@rule("Softmax", 1, 11)
@rule("LogSoftmax", 1, 11)
@rule("Hardmax", 1, 11)
def softmax_1(site: Site) -> None:
    """Below version 13 the axes from `axis` on were one: they are flattened, then unfolded."""
    axis = site.axis(site.attribute("axis", 1))
    shape = site.shape()
    if all(d == 1 for d in shape[axis + 1 :]):
        site.native(axis=-1 if axis == len(shape) - 1 else axis)
        return
    if sum(not isinstance(d, int) for d in shape[axis:]) > 1:
        raise ModelError(
            f"{site.op_type}-{site.version} needs known sizes from axis {axis} on", got=shape
        )
    copied = [0] * axis
    flat = site.emit(
        site.op("Reshape"), [site.required(0), site.ints([*copied, -1], "flat_shape")], "flat"
    )
    soft = site.emit(site.op(site.op_type, axis=-1), [flat], "rows")
    back = [d if isinstance(d, int) else -1 for d in shape[axis:]]
    site.finish(site.op("Reshape"), [soft, site.ints([*copied, *back], "back_shape")])


@rule("Dropout", 6)
def dropout_6(site: Site) -> None:
    """Trains unless told that it is tested."""
    if not site.attribute("is_test", 0):
        raise ModelError("Dropout in training mode is not supported", hint="export for inference")
    _inference_dropout(site)


@rule("Dropout", 7, 10)
def dropout_7(site: Site) -> None:
    """Does nothing."""
    _inference_dropout(site)


@rule("Dropout", 12, 13, 22)
def dropout_12(site: Site) -> None:
    """Does nothing, unless its third operand says that it trains; then it must tell its seed."""
    training = site.constant(2)
    if site.operand(2) is None or (training is not None and not np.any(training)):
        _inference_dropout(site)
    elif site.attribute_kept("seed") is None:
        raise ModelError(
            "Dropout in training mode without a seed is not supported", hint="export for inference"
        )
    else:
        site.generic(site.record.attributes)


def _inference_dropout(site: Site) -> None:
    x = site.required(0)
    values = [x]
    if len(site.record.outputs) > 1 and site.record.outputs[1]:
        never = site.emit(site.op("Greater"), [x, x], "never")
        mask = site.emit(site.op("Not"), [never], "kept")
        if site.version < 10:
            mask = site.emit(site.op("Cast", to=dtype_name(site.type(0).dtype)), [mask], "kept_as")
        values.append(mask)
    site.finish_with(*values)


@rule("BatchNormalization", 6, 7, 9, 14, 15)
def batch_normalization(site: Site) -> None:
    """With running statistics; from version 14 on, with those of the batch if it trains."""
    training = site.attribute("training_mode", 0)
    if training and site.version >= 14:
        _training_batch_normalization(site)
        return
    if site.version == 6:
        training = not site.attribute("is_test", 0)
    if training or any(site.record.outputs[1:]):
        raise ModelError(
            "BatchNormalization in training mode is not supported", hint="export for inference"
        )
    if not site.attribute("spatial", 1) and site.rank() > 2:
        raise ModelError("BatchNormalization with spatial=0 is not supported", got=site.type(0))
    site.attribute("momentum")
    site.native()


def _training_batch_normalization(site: Site) -> None:
    """Normalised by mean and variance of the batch, which also move the running ones."""
    x, dtype = site.required(0), site.type(0).dtype
    if site.rank() < 2 or any(site.type(i).dtype != dtype for i in range(1, 5)):
        raise ModelError("BatchNormalization in training mode takes one element type", got=x.type)
    axes = site.ints([a for a in range(site.rank()) if a != 1], "axes")
    centre = site.emit(site.op("ReduceMean"), [x, axes], "centre")
    away = site.emit(site.op("Sub"), [x, centre], "away")
    squares = site.emit(site.op("Mul"), [away, away], "squares")
    statistics = [
        site.emit(site.op("ReduceMean", keepdims=0), [value, axes], stem)
        for value, stem in ((x, "mean"), (squares, "var"))
    ]
    op = site.op("BatchNormalization", epsilon=site.attribute("epsilon"))
    results = [site.emit(op, [x, site.required(1), site.required(2), *statistics], "unit")]
    momentum = site.attribute("momentum", 0.9)
    for running, current in zip((site.required(3), site.required(4)), statistics, strict=True):
        old = site.emit(site.op("Mul"), [running, site.scalar(momentum, "kept")], "old")
        new = site.emit(site.op("Mul"), [current, site.scalar(1 - momentum, "moved")], "new")
        results.append(site.emit(site.op("Add"), [old, new], "running"))
    site.finish_with(*results)


@rule("Constant", 1, 9, 11, 12, 13, 19, 21, 23, 24, 25)
def constant(site: Site) -> None:
    """A parameter, from any of the ways to write one."""
    given = {k: v for k, v in site.record.attributes.items() if v is not None}
    if len(given) != 1:
        raise ModelError("Constant takes one attribute", got=len(given))
    ((name, value),) = given.items()
    if name in {"value_string", "value_strings"}:
        raise ModelError("strings are not supported", expected="numbers or booleans")
    dtype = {
        "value_float": np.float32,
        "value_floats": np.float32,
        "value_int": np.int64,
        "value_ints": np.int64,
    }
    array = value if name == "value" else np.array(value, dtype[name])
    site.finish_constant(array, trainable=False)


@rule("ConstantOfShape", 9, 20, 21, 23, 24, 25)
def constant_of_shape(site: Site) -> None:
    """Weights of a single number become a parameter without taking its memory."""
    value = site.attribute("value")
    fill = np.zeros(1, np.float32) if value is None else value
    if fill.size != 1:
        raise ModelError("the value of ConstantOfShape has one element", got=fill.size)
    shape = site.constant(0)
    if shape is None or shape.ndim != 1 or (shape < 0).any():
        if shape is not None:
            raise ModelError("ConstantOfShape has no such shape", got=shape.tolist())
        site.native(value=fill.reshape(()).item(), dtype=dtype_name(fill.dtype))
        return
    sizes = [int(s) for s in shape]
    size = int(np.prod(sizes, dtype=object)) * fill.dtype.itemsize
    if size > site.budgets.folded_bytes or len(sizes) > site.budgets.rank:
        raise ModelError(
            "ConstantOfShape is over the budget",
            expected=f"at most {site.budgets.folded_bytes} bytes",
            got=size,
            hint="raise Budgets.folded_bytes",
        )
    array = np.broadcast_to(fill.reshape(()), sizes)
    site.finish_constant(array, trainable=fill.dtype.kind == "f")


@rule("RandomNormal", 1, 22)
@rule("RandomUniform", 1, 22)
@rule("RandomNormalLike", 1, 22)
@rule("RandomUniformLike", 1, 22)
@rule("Bernoulli", 15, 22)
@rule("Multinomial", 7, 22)
def random(site: Site) -> None:
    """A random op gets a seed of its own, so that it says what it draws."""
    seed = site.attribute("seed")
    dtype = site.attribute("dtype")
    name = None if dtype is None else dtype_name(element_type(dtype))
    site.native(seed=float(site.record.index if seed is None else seed), dtype=name)
