"""Native ops with drawn attributes against onnxruntime: values and inferred types."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from irconv.attributes import make_op
from irconv.errors import GraphError
from irconv.types import Array, type_of
from tests.onnx_vectors import in_onnxruntime

Operands = list[Array | None]
# (op, opset, attributes, operands, results)
Case = tuple[str, int, dict[str, Any], Operands, int]


class Draw:
    """Random sizes and numbers from one seed."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def i(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high))

    def ints(self, count: int, low: int, high: int) -> tuple[int, ...]:
        return tuple(int(x) for x in self.rng.integers(low, high, count))

    def pick(self, choices: Any) -> Any:
        return choices[self.i(0, len(choices))]

    def f(self, *shape: int) -> Array:
        return self.rng.standard_normal(shape).astype(np.float32)


def pools(draw: Draw) -> Iterator[Case]:
    for _ in range(40):
        rank = draw.i(1, 4)
        kernel = draw.ints(rank, 1, 4)
        attributes = {
            "kernel_shape": kernel,
            "strides": draw.ints(rank, 1, 4),
            "dilations": draw.ints(rank, 1, 3),
            "pads": tuple(draw.i(0, k) for k in kernel * 2),
            "ceil_mode": draw.i(0, 2),
        }
        x = draw.f(2, 3, *draw.ints(rank, 5, 10))
        yield "MaxPool", 12, {**attributes, "storage_order": draw.i(0, 2)}, [x], draw.i(1, 3)
        yield "AveragePool", 19, {**attributes, "count_include_pad": draw.i(0, 2)}, [x], 1
        yield "LpPool", 18, {**attributes, "p": draw.i(1, 4)}, [np.abs(x)], 1


def resizes(draw: Draw) -> Iterator[Case]:
    # without tf_crop_and_resize: onnxruntime ignores the crop of an axis that keeps its size
    coordinates = "half_pixel pytorch_half_pixel align_corners asymmetric half_pixel_symmetric"
    roundings = "round_prefer_floor round_prefer_ceil floor ceil"
    for _ in range(80):
        mode = draw.pick(["nearest", "linear", "cubic"])
        attributes: dict[str, Any] = {
            "mode": mode,
            "coordinate_transformation_mode": draw.pick(coordinates.split()),
        }
        if mode == "nearest":
            attributes["nearest_mode"] = draw.pick(roundings.split())
        elif draw.i(0, 3) == 0:
            attributes["antialias"] = 1
        elif mode == "cubic":
            attributes |= {"cubic_coeff_a": -0.5, "exclude_outside": draw.i(0, 2)}
        x = draw.f(1, 2, *draw.ints(2, 2, 9))
        scales = [1, 1, draw.pick([0.5, 0.6, 0.75, 1.3, 2, 3]), draw.pick([0.5, 1.7, 2, 2.5])]
        sizes: Operands = [None, np.array([1, 2, *draw.ints(2, 1, 14)])]
        chosen = sizes if draw.i(0, 2) else [np.array(scales, np.float32)]
        yield "Resize", 19, attributes, [x, None, *chosen], 1


def cuts(draw: Draw) -> Iterator[Case]:
    for _ in range(60):
        x = draw.f(*draw.ints(3, 2, 6))
        count = draw.i(1, 4)
        axes = draw.rng.permutation(3)[:count] - 3 * draw.rng.integers(0, 2, count)
        steps = draw.rng.choice([-3, -2, -1, 1, 2, 3], count)
        bounds = [np.array(draw.ints(count, -8, 9)) for _ in range(2)]
        yield "Slice", 13, {}, [x, *bounds, axes, steps], 1
        mode = draw.pick(["reflect", "edge", "wrap"])
        yield "Pad", 19, {"mode": mode}, [x, np.array(draw.ints(6, 0, 2))], 1
        value = np.array(7, np.float32)
        yield "Pad", 19, {}, [x, np.array(draw.ints(6, -1, 3)), value], 1
        axis = draw.i(-3, 3)
        attributes = {"exclusive": draw.i(0, 2), "reverse": draw.i(0, 2)}
        yield "CumSum", 14, attributes, [x, np.array(axis)], 1
        attributes = {"axis": axis, "select_last_index": draw.i(0, 2), "keepdims": draw.i(0, 2)}
        yield "ArgMax", 13, attributes, [np.round(x)], 1


def reductions(draw: Draw) -> Iterator[Case]:
    names = "Sum Mean Max Min Prod L1 L2 LogSum LogSumExp SumSquare"
    for name in names.split():
        x = np.abs(draw.f(3, 4, 2)) + np.float32(0.1)
        opset = 13 if name == "Sum" else 18
        for axes in (None, np.array([], np.int64), np.array([1]), np.array([-1, 0])):
            for noop in (0, 1):
                attributes = {"keepdims": draw.i(0, 2), "noop_with_empty_axes": noop}
                yield f"Reduce{name}", opset, attributes, [x, axes], 1


def arithmetic(draw: Draw) -> Iterator[Case]:
    for _ in range(10):
        a = draw.rng.integers(-9, 9, (4, 5))
        b = draw.rng.choice([-3, -2, -1, 1, 2, 3], (1, 5))
        yield "Div", 14, {}, [a.astype(np.int32), b.astype(np.int32)], 1
        yield "Mod", 13, {"fmod": draw.i(0, 2)}, [a, b], 1
        yield "Pow", 15, {}, [a, np.abs(b)], 1
        yield "Round", 11, {}, [np.round(draw.f(4, 5) * 4) / 2], 1
        yield "Gelu", 20, {"approximate": draw.pick(["none", "tanh"])}, [draw.f(4, 5) * 3], 1


def norms(draw: Draw) -> Iterator[Case]:
    for _ in range(10):
        x, s, b = draw.f(2, 4, 3, 5), draw.f(4), draw.f(4)
        attributes = {"size": draw.pick([1, 3, 5]), "alpha": 0.5, "beta": 0.6, "bias": 1.5}
        yield "LRN", 13, attributes, [x], 1
        yield "InstanceNormalization", 22, {}, [x, s, b], 1
        yield "GroupNormalization", 21, {"num_groups": 2}, [x, s, b], 1
        yield "BatchNormalization", 15, {}, [x, s, b, draw.f(4), np.abs(draw.f(4))], 1
        yield "LayerNormalization", 17, {"axis": -1}, [x, draw.f(5), draw.f(5)], 1
        steps = [np.abs(draw.f(4)) + np.float32(0.1), np.array(draw.ints(4, -9, 9), np.int8)]
        yield "QuantizeLinear", 19, {"axis": draw.i(0, 2)}, [draw.f(4, 4) * 50, *steps], 1
        q = np.array(draw.ints(16, -99, 99), np.int8).reshape(4, 4)
        yield "DequantizeLinear", 19, {"axis": draw.i(0, 2)}, [q, *steps], 1


FAMILIES = (pools, resizes, cuts, reductions, arithmetic, norms)
COUNTED = {"MaxPool": "n_outputs"}


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.__name__)
def test_as_onnxruntime(family: Callable[[Draw], Iterator[Case]]) -> None:
    same = refused = 0
    for case in family(Draw(7)):
        if agrees(*case):
            same += 1
        else:
            refused += 1
    print(family.__name__, same, "agree,", refused, "refused")
    assert same >= 40
    assert refused <= same // 10


def agrees(
    name: str, opset: int, attributes: dict[str, Any], operands: Operands, count: int
) -> bool:
    """Whether the op takes the case at all; raises AssertionError where it differs."""
    counted = {COUNTED[name]: count} if name in COUNTED else {}
    try:
        op = make_op(name, {**attributes, **counted})
        types = op.infer([None if a is None else type_of(a) for a in operands], operands)
    except GraphError:
        return False
    with np.errstate(all="ignore"):
        results = op.run(operands)
    where = f"{name} {attributes} {[a if a is None else a.shape for a in operands]}"
    expected = in_onnxruntime(name, opset, attributes, operands, count)
    for found, wanted, t in zip(results, expected, types, strict=True):
        assert type_of(found) == type_of(wanted) == t, where
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4, err_msg=where)
    return True
