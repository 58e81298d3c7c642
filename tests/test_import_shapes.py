"""Shape arithmetic that exporters leave, symbolic sizes, and another batch for a file."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from irconv.dim import symbol
from irconv.errors import ModelError
from irconv.graph import Graph
from irconv.interpret import interpret
from irconv.onnx_import import load
from irconv.shape_contents import reshape_target
from irconv.types import Array
from irconv.verify import verify

F = TensorProto.FLOAT
RNG = np.random.default_rng(1)
WEIGHT = RNG.standard_normal((48, 5)).astype(np.float32)


def model(
    text: str, shape: list[Any], constants: dict[str, Any], opset: int = 17, **inputs: list[Any]
) -> onnx.ModelProto:
    """`y = Op(a, b) {axis: 1}` a line; the last line makes the output."""
    nodes = []
    for line in filter(None, map(str.strip, text.splitlines())):
        head, _, attributes = line.partition(" {")
        result, _, call = head.partition(" = ")
        op, _, operands = call.rstrip(")").partition("(")
        pairs = [pair.split(": ") for pair in attributes.rstrip("}").split(", ") if pair]
        nodes.append(
            helper.make_node(
                op,
                [o for o in operands.split(", ") if o],
                result.split(", "),
                **{k: [int(x) for x in v.split()] if " " in v else int(v) for k, v in pairs},
            )
        )
    declared = {"x": shape, **inputs}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(k, F, s) for k, s in declared.items()],
        [onnx.ValueInfoProto(name=nodes[-1].output[0])],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    made.ir_version = 8
    return made


def loaded(*arguments: Any, **options: Any) -> Graph:
    batch = options.pop("batch", None)
    graph = load(model(*arguments, **options), batch)
    verify(graph)
    return graph


def run(graph: Graph, x: Array) -> Array:
    (y,) = interpret(graph, {"x": x}).values()
    return y


FLATTEN = """
    s = Shape(x)
    n = Gather(s, zero) {axis: 0}
    m = Unsqueeze(n, axes)
    t = Concat(m, minus) {axis: 0}
    f = Reshape(x, t)
    y = MatMul(f, w)
"""
CONSTANTS = {"zero": np.int64(0), "axes": np.array([0]), "minus": np.array([-1]), "w": WEIGHT}


def test_the_chain_of_exporters_becomes_one_reshape() -> None:
    graph = loaded(FLATTEN, ["N", 3, 4, 4], CONSTANTS)
    assert [n.op.name for n in graph] == ["Reshape", "MatMul"]
    target = graph.node("f").constant(1)
    assert target is not None
    assert target.tolist() == [0, -1]
    assert str(graph.outputs[0].type) == "f32[N, 5]"
    assert set(graph.parameters) == {"f.shape", "w"}
    x = RNG.standard_normal((7, 3, 4, 4)).astype(np.float32)
    np.testing.assert_allclose(run(graph, x), x.reshape(7, -1) @ WEIGHT, rtol=1e-5, atol=1e-5)


def test_sizes_computed_through_arithmetic() -> None:
    # channel shuffle, with every size computed
    text = """
        s = Shape(x)
        n = Slice(s, zero, one)
        c = Slice(s, one, two)
        h = Slice(s, two, three)
        w = Slice(s, three, four)
        k = Div(c, two)
        a = Concat(n, two, k, h, w) {axis: 0}
        r = Reshape(x, a)
        t = Transpose(r) {perm: 0 2 1 3 4}
        b = Concat(n, c, h, w) {axis: 0}
        y = Reshape(t, b)
    """
    numbers = {k: np.array([i]) for i, k in enumerate(("zero", "one", "two", "three", "four"))}
    graph = loaded(text, ["N", 6, "H", 4], numbers)
    assert [n.op.name for n in graph] == ["Reshape", "Transpose", "Reshape"]
    assert str(graph.outputs[0].type) == "f32[N, 6, H, 4]"
    x = RNG.standard_normal((2, 6, 3, 4)).astype(np.float32)
    wanted = x.reshape(2, 2, 3, 3, 4).transpose(0, 2, 1, 3, 4).reshape(2, 6, 3, 4)
    np.testing.assert_array_equal(run(graph, x), wanted)


def test_sizes_scaled_through_floats() -> None:
    text = """
        s = Shape(x)
        h = Slice(s, two, four)
        f = Cast(h) {to: 1}
        g = Mul(f, scale)
        r = Floor(g)
        i = Cast(r) {to: 7}
        n = Slice(s, zero, two)
        t = Concat(n, i) {axis: 0}
        y = Resize(x, , , t)
    """
    numbers = {k: np.array([i]) for i, k in enumerate(("zero", "one", "two", "three", "four"))}
    made = model(text, ["N", 3, 4, 5], {**numbers, "scale": np.array([2, 2.5], np.float32)})
    made.graph.node[-1].input[:] = ["x", "", "", "t"]
    graph = load(made)
    verify(graph)
    assert [n.op.name for n in graph] == ["Resize"]
    assert str(graph.outputs[0].type) == "f32[N, 3, 8, 12]"


def test_scales_put_together_from_constants() -> None:
    text = """
        d = Cast(two) {to: 1}
        s = Concat(ones, d, d) {axis: 0}
        y = Resize(x, , s)
    """
    made = model(text, ["N", 3, 4, 5], {"two": np.array([2]), "ones": np.ones(2, np.float32)})
    made.graph.node[-1].input[:] = ["x", "", "s"]
    graph = load(made)
    verify(graph)
    assert [n.op.name for n in graph] == ["Resize"]
    assert str(graph.outputs[0].type) == "f32[N, 3, 8, 10]"


def resized(attributes: dict[str, Any], sizes: list[int], opset: int = 18) -> Graph:
    """Resize of `x [N, 3, 4, 5]` to its own first two sizes and `sizes`."""
    text = """
        s = Shape(x)
        n = Slice(s, zero, two)
        t = Concat(n, sizes) {axis: 0}
        y = Resize(x, t)
    """
    numbers = {"zero": np.array([0]), "two": np.array([2]), "sizes": np.array(sizes)}
    made = model(text, ["N", 3, 4, 5], numbers, opset)
    made.graph.node[-1].input[:] = ["x", "", "", "t"]
    made.graph.node[-1].attribute.extend(helper.make_attribute(k, v) for k, v in attributes.items())
    graph = load(made)
    verify(graph)
    return graph


def test_resize_to_its_own_size_is_the_identity() -> None:
    graph = resized({"mode": "linear"}, [4, 5])
    assert [n.op.name for n in graph] == ["Identity"]
    assert str(graph.outputs[0].type) == "f32[N, 3, 4, 5]"


def test_resize_of_a_common_ratio_keeps_all_sizes() -> None:
    # the sizes of N and C count for the ratio: leaving them out would make it 2
    graph = resized({"keep_aspect_ratio_policy": "not_larger"}, [8, 10])
    x = RNG.standard_normal((2, 3, 4, 5)).astype(np.float32)
    np.testing.assert_array_equal(run(graph, x), x)


def test_expand_where_and_constant_of_shape() -> None:
    # what torch.expand leaves: Where(shape == -1, ones, shape)
    text = """
        s = Shape(x)
        l = Shape(s)
        o = ConstantOfShape(l)
        p = Add(o, one)
        e = Equal(s, minus)
        t = Where(e, p, s)
        y = Expand(x, t)
    """
    made = model(text, ["N", 3], {"one": np.array([1]), "minus": np.array([-1])})
    fill = numpy_helper.from_array(np.array([0]))
    made.graph.node[2].attribute.append(helper.make_attribute("value", fill))
    graph = load(made)
    verify(graph)
    assert [n.op.name for n in graph] == ["Expand"]
    assert str(graph.outputs[0].type) == "f32[N, 3]"


def test_an_open_question_stays_open() -> None:
    text = """
        s = Shape(x)
        y = Reshape(z, s)
    """
    graph = loaded(text, ["N", "M"], {}, z=["K"])
    assert [n.op.name for n in graph] == ["Shape", "Reshape"]
    x, z = np.zeros((2, 3), np.float32), np.arange(6, dtype=np.float32)
    (y,) = interpret(graph, {"x": x, "z": z}).values()
    np.testing.assert_array_equal(y, z.reshape(2, 3))


N, M = symbol("N"), symbol("M")


@pytest.mark.parametrize(
    ("shape", "target", "found"),
    [
        ((N, 3, 4), (N, 12), [0, 12]),
        ((N, 3, 4), (N * 3, 4), [-1, 4]),
        ((N, 3, 4), (N * 2, 6), [-1, 6]),
        ((N, M), (N, M), [0, 0]),
        ((N, M), (M, N), None),
        ((N, 3), (M, 3), None),
        ((N, 3), (N * 3, 2), None),
        ((N, 3, 4), (N, -1), [0, -1]),
        ((N, 3, 4), (3, N, 4), [3, -1, 4]),
        ((N, 3, 4), (3, N, -1), None),
        ((3, 4), (4, 3), [4, 3]),
    ],
)
def test_reshape_targets(shape: Any, target: Any, found: Any) -> None:
    assert reshape_target(shape, target) == found


def test_zero_is_not_a_copy_with_allowzero() -> None:
    assert reshape_target((N, 3), (N, 3), allow_zero=True) == [-1, 3]


# -- another batch

W = RNG.standard_normal((6, 3, 3, 3)).astype(np.float32)
NET = """
    c = Conv(x, k)
    r = Relu(c)
    f = Reshape(r, target)
    y = MatMul(f, v)
"""
NET_CONSTANTS = {
    "k": W,
    "target": np.array([1, 24]),
    "v": RNG.standard_normal((24, 5)).astype(np.float32),
}


@pytest.mark.parametrize("batch", [1, 3, "N"])
def test_a_fixed_batch_is_changed_where_it_is_traced(batch: int | str) -> None:
    single = loaded(NET, [1, 3, 4, 4], NET_CONSTANTS)
    many = loaded(NET, [1, 3, 4, 4], NET_CONSTANTS, batch=batch)
    assert str(many.outputs[0].type) == f"f32[{batch}, 5]"
    x = RNG.standard_normal((batch if isinstance(batch, int) else 4, 3, 4, 4)).astype(np.float32)
    wanted = np.concatenate([run(single, x[i : i + 1]) for i in range(len(x))])
    np.testing.assert_allclose(run(many, x), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "target"),
    [
        ([1, 6, 4], [1, 2, 3, 4]),
        ([1, 6, 4], [1, -1]),
        ([1, 6, 4], [-1, 24]),
        ([1, 6, 4], [0, -1]),
        ([2, 6, 4], [2, 24]),
        ([2, 6, 4], [12, 4]),
        ([2, 6, 4], [-1, 4]),
        ([2, 6, 4], [4, 3, -1]),
        ([1, 6, 4], [6, 4]),
    ],
)
def test_targets_of_reshape_follow_the_batch(shape: list[int], target: list[int]) -> None:
    text, constants = "y = Reshape(x, t)", {"t": np.array(target)}
    single = loaded(text, shape, constants)
    many = loaded(text, shape, constants, batch=3 * shape[0])
    x = RNG.standard_normal((3 * shape[0], *shape[1:])).astype(np.float32)
    parts = [run(single, part) for part in np.split(x, 3)]
    np.testing.assert_array_equal(run(many, x), np.concatenate(parts))


@pytest.mark.parametrize(
    ("text", "constants", "word"),
    [
        ("y = ReduceMean(x) {axes: 0 1}", {}, "along the batch axis"),
        ("y = ReduceMean(x) {keepdims: 0}", {}, "along the batch axis"),
        ("y = Softmax(x) {axis: 0}", {}, "along the batch axis"),
        ("y = Concat(x, x) {axis: 0}", {}, "along the batch axis"),
        ("y = Gather(x, i) {axis: 0}", {"i": np.array([0])}, "along the batch axis"),
        ("y = Slice(x, a, b)", {"a": np.array([0]), "b": np.array([1])}, "along the batch axis"),
        ("y = Squeeze(x, a)", {"a": np.array([0])}, "along the batch axis"),
        (
            "a = Transpose(x) {perm: 1 0 2}\ny = Reshape(a, t)",
            {"t": np.array([24])},
            "which size of",
        ),
        ("y = Reshape(x, t)", {"t": np.array([1, 1, 24])}, None),
        ("y = MatMul(w, x)", {"w": np.ones((2, 1), np.float32)}, "the batch cannot be changed"),
    ],
)
def test_what_mixes_images_is_refused(text: str, constants: dict[str, Any], word: str) -> None:
    shape = [1, 6] if "MatMul" in text else [1, 6, 4]
    assert loaded(text, shape, constants)
    if word is None:
        # of two sizes of one, the first is where the batch was
        assert str(loaded(text, shape, constants, batch=2).outputs[0].type) == "f32[2, 1, 24]"
        return
    with pytest.raises(ModelError, match=word):
        loaded(text, shape, constants, batch=2)


def test_open_batches_are_bound() -> None:
    for batch in (2, "B"):
        graph = loaded(FLATTEN, ["N", 3, 4, 4], CONSTANTS, batch=batch)
        assert str(graph.inputs[0].type) == f"f32[{batch}, 3, 4, 4]"
        assert str(graph.outputs[0].type) == f"f32[{batch}, 5]"


@pytest.mark.parametrize("batch", [-1, True, "a b", "", 1.5])
def test_what_is_no_batch(batch: Any) -> None:
    with pytest.raises(ModelError, match="not a batch"):
        loaded(FLATTEN, ["N", 3, 4, 4], CONSTANTS, batch=batch)


def test_inputs_that_disagree() -> None:
    made = model("y = MatMul(x, z)", [1, 6], {}, z=[6, 5])
    with pytest.raises(ModelError, match="the inputs' first sizes differ"):
        load(made, batch=2)
