"""Ops whose form depends on the opset or on known operands: axes, shapes, bounds."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from irconv.backends.onnx.records import Emitter, Site
from irconv.backends.onnx.standard import dtype_number, needs_newer, standard
from irconv.dim import Dim, known, product
from irconv.errors import ExportError
from irconv.types import DTYPES, TensorType, dtype_name

Form = Callable[[Emitter, Site], tuple[str, ...]]


def reshape(out: Emitter, site: Site) -> tuple[str, ...]:
    """Reshape by 0 (copy), known sizes and at most one -1: right for every batch, 0 too."""
    target = known_target(site.type(0).shape, site.result().shape)
    if site.array(1) is None or target is None:
        return standard(out, site)
    return (out.reshape(site.operand(0), target),)


def known_target(shape: tuple[Dim, ...], wanted: tuple[Dim, ...]) -> list[int] | None:
    """What Reshape is told to make `wanted` of `shape`, or None where that cannot be said so."""
    target = []
    for axis, size in enumerate(wanted):
        if isinstance(size, int) and size > 0:
            target.append(size)
        elif axis < len(shape) and size == shape[axis]:
            target.append(0)
        else:
            target.append(-1)
    if target.count(-1) > 1 or any(t == -1 and d == 0 for t, d in zip(target, wanted, strict=True)):
        return None
    return target


def reduction(out: Emitter, site: Site) -> tuple[str, ...]:
    """A reduction; below opset 18 its axes are an attribute (of ReduceSum below 13).

    Axes are counted from the front: onnxruntime 1.31 leaves negative ones out where a size is 0.
    """
    op: Any = site.op
    axes = site.array(1)
    axes = axes if axes is None else axes.reshape(-1) % max(1, site.type(0).rank)
    if out.opset >= 18 or op.name == "ReduceSum":
        front = None if axes is None else out.ints(axes, "axes")
        operands = (site.operand(0), site.operand(1) if front is None else front)
        return standard(out, Site(op, operands, site.types, site.results))
    if site.operand(1) is not None and axes is None:
        raise needs_newer(op.name, out.opset, "takes no computed axes")
    if axes is None or not axes.size:
        if op.noop_with_empty_axes:
            raise needs_newer(op.name, out.opset, "cannot have empty axes")
        chosen: dict[str, Any] = {}
    else:
        chosen = {"axes": tuple(int(a) for a in axes)}
    return (out.add(op.name, [site.operand(0)], {"keepdims": int(op.keepdims), **chosen}),)


def arg(out: Emitter, site: Site) -> tuple[str, ...]:
    """ArgMax or ArgMin, the axis counted from the front: as for the reductions."""
    op: Any = site.op
    front = replace(op, axis=op.axis % site.type(0).rank)
    return standard(out, Site(front, site.operands, site.types, site.results))


def split(out: Emitter, site: Site) -> tuple[str, ...]:
    """Split: by sizes wherever they are known; equal parts are counted from opset 18 on."""
    op: Any = site.op
    sizes = [t.shape[op.axis] for t in map(site.result, range(len(site.results)))]
    operands = [site.operand(0), site.operand(1)]
    known = [int(s) for s in sizes if isinstance(s, int)]
    if operands[1] is None and len(known) == len(sizes):
        operands[1] = out.ints(known, "split")
    attributes = {"axis": op.axis}
    if operands[1] is None:
        if out.opset < 18:
            raise needs_newer("Split", out.opset, "needs known sizes")
        attributes["num_outputs"] = len(sizes)
    return out.add_node("Split", operands, attributes, len(sizes))


def pad(out: Emitter, site: Site) -> tuple[str, ...]:
    """Pad; below opset 18 all axes are listed."""
    op: Any = site.op
    axes, pads = site.array(3), site.array(1)
    if out.opset >= 18 or site.operand(3) is None:
        if op.mode == "wrap" and out.opset < 19:
            raise needs_newer("Pad", out.opset, "has no mode wrap")
        return standard(out, site)
    if axes is None or pads is None:
        raise needs_newer("Pad", out.opset, "takes no computed axes")
    rank = site.type(0).rank
    full = np.zeros((2, rank), np.int64)
    full[:, axes.reshape(-1)] = pads.reshape(2, -1)
    operands = [site.operand(0), out.ints(full.reshape(-1), "pads"), site.operand(2)]
    return (out.add("Pad", operands, {"mode": op.mode}),)


def resize(out: Emitter, site: Site) -> tuple[str, ...]:
    """Resize; below opset 18 all axes are listed, those that keep their size by 1 or their size."""
    op: Any = site.op
    if out.opset >= 18 or not op.axes or op.keep_aspect_ratio_policy != "stretch":
        return standard(out, site)
    roi, scales, sizes = (site.array(i) if site.operand(i) is not None else None for i in (1, 2, 3))
    given = scales if sizes is None else sizes
    if given is None:
        raise needs_newer("Resize", out.opset, "takes computed sizes of some axes only")
    shape = site.type(0).shape
    places = [axis % len(shape) for axis in op.axes]
    operands = [*site.operands[:1], None, None, None]
    if roi is not None:
        whole = np.repeat(np.array([0, 1], roi.dtype), len(shape))
        whole[[*places, *(len(shape) + p for p in places)]] = roi
        operands[1] = out.constant(whole, "roi")
    if scales is not None:
        full = np.ones(len(shape), np.float32)
        full[places] = scales
        operands[2] = out.constant(full, "scales")
    else:
        new = dict(zip(places, map(int, given), strict=True))
        operands[3] = _shape_with(out, site.operand(0), shape, new)
    plain = replace(op, axes=())
    return standard(out, Site(plain, tuple(operands), site.types, site.results))


def _shape_with(out: Emitter, x: Any, shape: tuple[Dim, ...], new: dict[int, int]) -> str:
    """The shape of x with some of its sizes changed; what is not known is asked of x."""
    sizes = [new.get(axis, size) for axis, size in enumerate(shape)]
    if all(isinstance(size, int) for size in sizes):
        return out.ints([known(size) for size in sizes], "sizes")
    asked = out.add("Shape", [x])
    parts = [
        out.ints([size], "size") if isinstance(size, int) else out.cut(asked, 0, axis, axis + 1)
        for axis, size in enumerate(sizes)
    ]
    return out.add("Concat", parts, {"axis": 0})


def clip(out: Emitter, site: Site) -> tuple[str, ...]:
    """Clip: its bounds are scalars in ONNX."""
    return (out.add("Clip", [site.operand(0), *(_scalar(out, site, i) for i in (1, 2))]),)


def _scalar(out: Emitter, site: Site, index: int) -> str | None:
    bound, array = site.operand(index), site.array(index)
    if bound is None:
        return None
    if array is not None:
        return out.constant(array.reshape(()), "bound")
    if site.type(index).rank == 0:
        return out.ref(bound)
    return out.reshape(bound, (), "bound")


def clamp(out: Emitter, site: Site) -> tuple[str, ...]:
    """Clamp => Clip, its bounds as constants; an infinite one is left out."""
    op: Any = site.op
    low = None if op.min == -math.inf else out.scalar(op.min, site.type(0), "min")
    high = None if op.max == math.inf else out.scalar(op.max, site.type(0), "max")
    return (out.add("Clip", [site.operand(0), low, high]),)


def constant_of_shape(out: Emitter, site: Site) -> tuple[str, ...]:
    """ConstantOfShape: its value is a tensor of one element."""
    op: Any = site.op
    value = np.array([op.value], DTYPES[op.dtype])
    return (out.add("ConstantOfShape", [site.operand(0)], {"value": value}),)


def cast_like(out: Emitter, site: Site) -> tuple[str, ...]:
    """CastLike => Cast below opset 15."""
    if out.opset >= 15:
        return standard(out, site)
    to = dtype_number(dtype_name(site.type(1).dtype))
    return (out.add("Cast", [site.operand(0)], {"to": to}),)


def shape(out: Emitter, site: Site) -> tuple[str, ...]:
    """Shape; below opset 15 its part is cut out."""
    op: Any = site.op
    if out.opset >= 15 or (not op.start and op.end is None):
        return standard(out, site)
    rank = site.type(0).rank
    start, end, _ = slice(op.start, op.end).indices(rank)
    return (out.cut(out.add("Shape", [site.operand(0)]), 0, start, max(start, end)),)


def hard_swish(out: Emitter, site: Site) -> tuple[str, ...]:
    """HardSwish => x * HardSigmoid(x) below opset 14."""
    if out.opset >= 14:
        return standard(out, site)
    gate = out.add("HardSigmoid", [site.operand(0)], {"alpha": 1 / 6, "beta": 0.5})
    return (out.add("Mul", [site.operand(0), gate]),)


def mish(out: Emitter, site: Site) -> tuple[str, ...]:
    """Mish => x * Tanh(Softplus(x)) below opset 18."""
    if out.opset >= 18:
        return standard(out, site)
    x = site.operand(0)
    return (out.add("Mul", [x, out.add("Tanh", [out.add("Softplus", [x])])]),)


def swish(out: Emitter, site: Site) -> tuple[str, ...]:
    """Swish => x * Sigmoid(alpha * x) below opset 24."""
    if out.opset >= 24:
        return standard(out, site)
    op: Any = site.op
    x = site.operand(0)
    scaled = (
        x if op.alpha == 1 else out.add("Mul", [x, out.scalar(op.alpha, site.type(0), "alpha")])
    )
    return (out.add("Mul", [x, out.add("Sigmoid", [scaled])]),)


def gelu(out: Emitter, site: Site) -> tuple[str, ...]:
    """Gelu => x/2 * (1 + Erf(x / sqrt 2)), or its tanh form, below opset 20."""
    if out.opset >= 20:
        return standard(out, site)
    op: Any = site.op
    x, t = site.operand(0), site.type(0)
    if op.approximate == "tanh":
        square = out.add("Mul", [x, x])
        inner = out.add("Mul", [square, out.scalar(0.044715, t, "cubic")])
        inner = out.add("Mul", [out.add("Add", [inner, out.scalar(1, t, "one")]), x])
        bent = out.add(
            "Tanh", [out.add("Mul", [inner, out.scalar(math.sqrt(2 / math.pi), t, "c")])]
        )
    else:
        bent = out.add("Erf", [out.add("Div", [x, out.scalar(math.sqrt(2), t, "root")])])
    half = out.add("Mul", [x, out.scalar(0.5, t, "half")])
    return (out.add("Mul", [half, out.add("Add", [bent, out.scalar(1, t, "one")])]),)


def layer_normalization(out: Emitter, site: Site) -> tuple[str, ...]:
    """LayerNormalization => its arithmetic below opset 17."""
    op: Any = site.op
    if out.opset >= 17:
        return standard(out, site)
    _only_f32(site)
    t = site.type(0)
    axes = tuple(range(op.axis % t.rank, t.rank))
    unit, mean, inverse = _normalized(out, site.operand(0), t, axes, op.epsilon)
    y = out.add("Mul", [unit, site.operand(1)])
    y = y if site.operand(2) is None else out.add("Add", [y, site.operand(2)])
    return (y, mean, inverse)[: len(site.results)]


def rms_normalization(out: Emitter, site: Site) -> tuple[str, ...]:
    """RMSNormalization => its arithmetic below opset 23."""
    op: Any = site.op
    if out.opset >= 23:
        return standard(out, site)
    _only_f32(site)
    x, t = site.operand(0), site.type(0)
    axes = tuple(range(op.axis % t.rank, t.rank))
    square = mean_of(out, out.add("Mul", [x, x]), axes)
    root = out.add("Sqrt", [out.add("Add", [square, out.scalar(op.epsilon, t, "epsilon")])])
    return (out.add("Mul", [out.add("Div", [x, root]), site.operand(1)]),)


def group_normalization(out: Emitter, site: Site) -> tuple[str, ...]:
    """GroupNormalization => its arithmetic below opset 21, where scale and bias went by group."""
    op: Any = site.op
    if out.opset >= 21:
        return standard(out, site)
    _only_f32(site)
    t = site.type(0)
    target = known_target((t.shape[0],), t.shape)
    if target is None:
        raise needs_newer(op.name, out.opset, "needs known sizes")
    size = product(t.shape[1:]) // op.num_groups
    grouped = out.reshape(site.operand(0), (0, op.num_groups, known(size)))
    unit = _normalized(out, grouped, t, (2,), op.epsilon)[0]
    back = out.reshape(unit, target)
    column = (-1, *(1 for _ in t.shape[2:]))
    scaled = out.add("Mul", [back, out.reshape(site.operand(1), column)])
    return (out.add("Add", [scaled, out.reshape(site.operand(2), column)]),)


def _only_f32(site: Site) -> None:
    if dtype_name(site.type(0).dtype) not in {"f32", "f64"}:
        raise ExportError(
            f"{site.op.name} of {dtype_name(site.type(0).dtype)} has no older form",
            hint="export with a newer opset",
        )


def _normalized(
    out: Emitter, x: Any, t: TensorType, axes: tuple[int, ...], epsilon: float
) -> tuple[str, str, str]:
    """(x - mean) / sqrt(variance + epsilon); the mean; the inverse deviation."""
    mean = mean_of(out, x, axes)
    centred = out.add("Sub", [x, mean])
    variance = mean_of(out, out.add("Mul", [centred, centred]), axes)
    shifted = out.add("Add", [variance, out.scalar(epsilon, t, "epsilon")])
    inverse = out.add("Reciprocal", [out.add("Sqrt", [shifted])])
    return out.add("Mul", [centred, inverse]), mean, inverse


def mean_of(out: Emitter, x: Any, axes: tuple[int, ...]) -> str:
    """The mean over `axes`, which stay as 1."""
    if out.opset < 18:
        return out.add("ReduceMean", [x], {"axes": axes, "keepdims": 1})
    return out.add("ReduceMean", [x, out.ints(axes, "axes")], {"keepdims": 1})


def global_lp_pool(out: Emitter, site: Site) -> tuple[str, ...]:
    """GlobalLpPool => ReduceL1, ReduceL2 from opset 22 on: onnxruntime 1.31 has no kernel."""
    op: Any = site.op
    if out.opset < 22 or op.p not in (1, 2):
        return standard(out, site)
    axes = out.ints(range(2, site.type(0).rank), "axes")
    return (out.add(f"ReduceL{op.p}", [site.operand(0), axes], {"keepdims": 1}),)


_REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")

FORMS: dict[str, Form] = {
    "ArgMax": arg,
    "ArgMin": arg,
    "CastLike": cast_like,
    "Clamp": clamp,
    "Clip": clip,
    "ConstantOfShape": constant_of_shape,
    "Gelu": gelu,
    "GlobalLpPool": global_lp_pool,
    "GroupNormalization": group_normalization,
    "HardSwish": hard_swish,
    "LayerNormalization": layer_normalization,
    "Mish": mish,
    "Pad": pad,
    "RMSNormalization": rms_normalization,
    "Reshape": reshape,
    "Resize": resize,
    "Shape": shape,
    "Split": split,
    "Swish": swish,
    **{f"Reduce{kind}": reduction for kind in _REDUCTIONS},
}
