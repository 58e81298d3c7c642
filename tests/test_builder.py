"""The builder: calls, names, sharing, random weights, and errors that tell the caller's line."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from irconv.builder import Builder, Handle
from irconv.dim import parse_dim
from irconv.errors import GraphError
from irconv.graph import Graph
from irconv.interpret import interpret
from irconv.ops.activation import Relu
from irconv.text import parse
from irconv.verify import verify


def _names(graph: Graph) -> list[str]:
    return [node.name for node in graph]


def _run(graph: Graph, **inputs: Any) -> list[np.ndarray[Any, Any]]:
    return list(interpret(graph, inputs).values())


def _line() -> int:
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return frame.f_back.f_lineno


def test_the_example_of_the_architecture() -> None:
    b = Builder("net")
    x = b.input("x", ("N", 3, 32, 32))
    y = b.conv(x, 16, kernel=3, pads="same")
    b.output(y)
    g = b.build()
    assert g.name == "net"
    assert str(g.outputs[0].type) == "f32[N, 16, 32, 32]"
    assert list(g.parameters) == ["conv1.weight", "conv1.bias"]
    verify(g)


LISTING = """\
graph @small(%x: f32[N, 1, 4]) -> (%y: f32[N, 2, 4]) {
  param %block1.conv1.weight: f32[2, 1, 3] = [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
  param %block1.conv1.bias: f32[2] = [0.5, 1.0]
  const %mul1.b: f32[] = 2.0
  const %add1.b: f32[] = 1.0
  %c = Conv(%x, %block1.conv1.weight, %block1.conv1.bias) {PADS} : f32[N, 2, 4]
  %block1.relu1 = Relu(%c) : f32[N, 2, 4]
  %mul1 = Mul(%block1.relu1, %mul1.b) : f32[N, 2, 4]
  %y = Add(%mul1, %add1.b) : f32[N, 2, 4]
}""".replace("%c", "%block1.conv1").replace("PADS", "kernel_shape = [3], pads = [1, 1]")


def test_the_listing() -> None:
    b = Builder("small")
    x = b.input("x", ("N", 1, 4))
    with b.scope("block1"):
        y = b.relu(b.conv(x, w=np.ones((2, 1, 3), np.float32), b=[0.5, 1.0], pads=1))
    b.output(y * 2.0 + 1, "y")
    assert str(b.build()) == LISTING


# -- names -----------------------------------------------------------------------------------------


def test_names_count_within_scopes_and_skip_what_is_taken() -> None:
    b = Builder()
    x = b.input("x", (1, 2, 4))
    b.relu(x, name="relu2")
    for _ in range(2):
        with b.scope("a"), b.scope("b"):
            b.relu(x)
    for _ in range(2):
        b.relu(x)
    b.output(b.relu(x, name="last"))
    assert _names(b.build()) == ["relu2", "a.b.relu1", "a.b.relu2", "relu1", "relu3", "last"]


def test_a_scope_ends_with_an_error_too() -> None:
    b = Builder()
    with pytest.raises(RuntimeError), b.scope("a"):
        raise RuntimeError
    assert b.relu(b.input("x", (1,))).name == "relu1"


def test_outputs_take_their_names() -> None:
    b = Builder()
    x = b.input("x", (2,))
    y = b.relu(x)
    with b.scope("inner"):
        b.output(y, "first")
    b.output(y, "again")
    b.output(x, "copy")
    b.output(x)
    g = b.build()
    assert [v.name for v in g.outputs] == ["first", "again", "copy", "x"]
    assert [n.op.name for n in g] == ["Relu", "Identity", "Identity"]


def test_build_gives_a_graph_of_its_own() -> None:
    b = Builder()
    y = b.relu(b.input("x", (2,)))
    b.output(y)
    first = b.build()
    b.output(-y)
    assert len(first) == 1
    assert len(first.outputs) == 1
    assert len(b.build()) == 2


# -- operators -------------------------------------------------------------------------------------

OPERATORS: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "add": (lambda x, y: x + y, "Add"),
    "sub": (lambda x, y: x - y, "Sub"),
    "mul": (lambda x, y: x * y, "Mul"),
    "div": (lambda x, y: x / y, "Div"),
    "pow": (lambda x, y: x**y, "Pow"),
    "matmul": (lambda x, y: x @ y, "MatMul"),
    "neg": (lambda x, _: -x, "Neg"),
    "abs": (lambda x, _: abs(x), "Abs"),
    "number right": (lambda x, _: x * 2.5, "Mul"),
    "number left": (lambda x, _: 1 - x, "Sub"),
    "quotient of a number": (lambda x, _: 2 / x, "Div"),
    "array right": (lambda x, _: x + np.arange(3.0), "Add"),
    "array left": (lambda x, _: np.arange(9.0).reshape(3, 3) @ x, "MatMul"),
    "numpy number left": (lambda x, _: np.float64(3.0) * x, "Mul"),
}


@pytest.mark.parametrize(("operator", "op"), OPERATORS.values(), ids=OPERATORS.keys())
def test_operators_mean_what_they_mean_in_numpy(
    operator: Callable[[Any, Any], Any], op: str
) -> None:
    b = Builder()
    x, y = b.input("x", (3, 3)), b.input("y", (3, 3))
    z = operator(x, y)
    assert isinstance(z, Handle)
    assert z.dtype == np.float32
    b.output(z)
    g = b.build()
    assert [n.op.name for n in g] == [op]
    left = np.arange(1, 10, dtype=np.float32).reshape(3, 3)
    right = np.float32(0.25) * left.T
    expected = operator(left, right)
    np.testing.assert_allclose(_run(g, x=left, y=right)[0], expected, rtol=1e-6)


def test_numbers_take_the_element_type_of_the_handle() -> None:
    b = Builder()
    for dtype in ("f16", "f64", "i64", "i8"):
        x = b.input(dtype, (2,), dtype)
        assert (x + 1).dtype == (2 * x).dtype == b.add(x.value, 1).dtype == x.dtype
    with pytest.raises(GraphError, match=r"an array of another kind: expected i8, got f32"):
        x + 1.5


def test_an_array_is_copied() -> None:
    b = Builder()
    array = np.ones(2, np.float32)
    b.output(b.input("x", (2,)) + array)
    array[:] = 7
    assert _run(b.build(), x=np.zeros(2, np.float32))[0].tolist() == [1, 1]


# -- layers ----------------------------------------------------------------------------------------


def test_convolutions_take_their_rank_from_the_operand() -> None:
    b = Builder()
    for rank, expected in ((1, "[N, 4, 9]"), (2, "[N, 4, 9, 9]"), (3, "[N, 4, 9, 9, 9]")):
        x = b.input(f"x{rank}", ("N", 2, *[9] * rank))
        assert str(b.conv(x, 4, 3, pads="same").value.type) == f"f32{expected}"
    assert b.graph.parameters["conv3.weight"].shape == (4, 2, 3, 3, 3)


@pytest.mark.parametrize(
    ("pads", "strides", "expected", "out"),
    [
        ("valid", 1, (0, 0, 0, 0), (8, 5)),
        ("same", 1, (1, 1, 1, 2), (10, 8)),
        ("same", 2, (0, 1, 1, 1), (5, 4)),
        ("same", 3, (1, 1, 1, 1), (4, 3)),
        (2, 1, (2, 2, 2, 2), (12, 9)),
        ((1, 2), 1, (1, 2, 1, 2), (10, 9)),
        ((0, 1, 2, 3), 1, (0, 1, 2, 3), (10, 9)),
    ],
)
def test_pads(pads: Any, strides: int, expected: tuple[int, ...], out: tuple[int, ...]) -> None:
    b = Builder()
    x = b.input("x", ("N", 1, 10, 8))
    y = b.conv(x, 1, kernel=(3, 4), pads=pads, strides=strides)
    assert y.value.producer is not None
    assert y.value.producer.op.pads == expected  # type: ignore[attr-defined]
    assert y.shape[2:] == out


def test_same_keeps_a_symbolic_size_where_the_stride_is_one() -> None:
    b = Builder()
    x = b.input("x", ("N", 1, "2*T + 1"))
    assert b.conv(x, 1, 5, pads="same").shape == (parse_dim("N"), 1, parse_dim("2*T + 1"))


@pytest.mark.parametrize(("kernel", "strides"), [(3, 2), (2, 2), (4, 2), (3, 1), (1, 3), (2, 5)])
def test_a_transposed_convolution_with_same_pads_multiplies_the_size(
    kernel: int, strides: int
) -> None:
    b = Builder()
    x = b.input("x", ("N", 4, 7))
    y = b.conv_transpose(x, 6, kernel, strides=strides, pads="same", group=2)
    assert y.shape[1:] == (6, 7 * strides)
    assert b.graph.parameters["conv_transpose1.weight"].shape == (4, 3, kernel)


def test_pools_stride_by_their_kernel() -> None:
    b = Builder()
    x = b.input("x", ("N", 1, 8, 8))
    assert b.max_pool(x, 2).shape[2:] == (4, 4)
    assert b.average_pool(x, 3, strides=2, pads=1).shape[2:] == (4, 4)
    assert b.max_pool(x, 3, strides=2, ceil_mode=True).shape[2:] == (4, 4)


def test_a_depthwise_convolution_is_a_convolution_in_groups() -> None:
    b = Builder()
    y = b.depthwise_conv(b.input("x", ("N", 6, 8, 8)), 3, multiplier=2, pads="same")
    assert y.shape[1] == 12
    assert b.graph.parameters["conv1.weight"].shape == (12, 1, 3, 3)
    assert b.graph.node("conv1").op.group == 6  # type: ignore[attr-defined]
    z = b.depthwise_conv(b.input("z", ("N", 2, 8)), w=np.ones((6, 1, np.int64(3))))
    assert z.shape[1:] == (6, 6)
    assert b.conv(z, *np.array([4, 3])).shape[1:] == (4, 4)


def test_dense_is_the_same_on_matrices_and_on_more_axes() -> None:
    b = Builder("d", seed=3)
    dense = b.module(b.dense, 5)
    b.output(dense(b.input("flat", ("N", 4))))
    b.output(dense(b.input("deep", ("N", 2, 4))))
    g = b.build()
    verify(g)
    x = np.arange(24, dtype=np.float32).reshape(3, 2, 4)
    flat, deep = _run(g, flat=x[:, 0], deep=x)
    assert deep.shape == (3, 2, 5)
    np.testing.assert_allclose(deep[:, 0], flat, rtol=1e-5, atol=1e-5)


def test_batch_norm_with_given_statistics() -> None:
    b = Builder()
    x = b.input("x", ("N", 2, 3))
    y = b.batch_norm(x, scale=[2, 4], bias=[0, 1], mean=[1, 2], var=[1, 4], epsilon=0)
    b.output(y)
    g = b.build()
    assert [v.trainable for v in g.parameters.values()] == [True, True, False, False]
    got = _run(g, x=np.full((1, 2, 3), 3, np.float32))[0]
    assert got[0, :, 0].tolist() == [4.0, 3.0]


def test_functions_of_shapes() -> None:
    b = Builder()
    x = b.input("x", ("N", 6, 4, 4))
    assert b.flatten(x).shape == (parse_dim("N"), 96)
    assert b.reshape(x, (0, 3, -1)).shape[1:] == (3, 32)
    assert b.transpose(x, (0, 2, 3, 1)).shape[1:] == (4, 4, 6)
    assert b.concat([x, x, x]).shape[1] == 18
    assert [piece.shape[1] for piece in b.split(x, (1, 2, 3))] == [1, 2, 3]
    assert b.pad(x, (0, 0, 1, 2, 0, 0, 3, 4), value=1.5).shape[2:] == (8, 10)
    assert b.squeeze(b.global_average_pool(x), (2, 3)).shape[1:] == (6,)
    assert b.unsqueeze(x, (0,)).shape[0] == 1
    assert b.mean(x, (2, 3)).shape[1:] == (6,)
    assert b.gather(x, [2, 0], axis=1).shape[1] == 2


def test_activations_have_the_meaning_of_their_names() -> None:
    x = np.array([-4, -1, -0.5, 0, 0.5, 1, 4, 8], np.float32)
    expected = {
        "relu": np.maximum(x, 0),
        "relu6": np.clip(x, 0, 6),
        "leaky_relu": np.where(x > 0, x, np.float32(0.01) * x),
        "elu": np.where(x > 0, x, np.expm1(x)),
        "sigmoid": 1 / (1 + np.exp(-x)),
        "tanh": np.tanh(x),
        "hard_sigmoid": np.clip(x / 6 + 0.5, 0, 1),
        "hard_swish": x * np.clip(x / 6 + 0.5, 0, 1),
        "softplus": np.log1p(np.exp(x)),
        "gelu": x * np.array([0.5 * (1 + math.erf(v / math.sqrt(2))) for v in x]),
        "softmax": np.exp(x) / np.exp(x).sum(),
    }
    b = Builder()
    given = b.input("x", (8,))
    for name in expected:
        b.output(getattr(b, name)(given), name)
    for name, got in interpret(b.build(), {"x": x}).items():
        np.testing.assert_allclose(got, expected[name], rtol=1e-5, atol=1e-6, err_msg=name)


# -- any other op ----------------------------------------------------------------------------------


def test_call_takes_any_op_by_name() -> None:
    b = Builder()
    x = b.input("x", ("N", 4))
    y = b.call("Cast", x, to=np.float64)
    assert (y.name, y.dtype) == ("cast1", np.dtype(np.float64))
    parts = b.call("Split", x, axis=1, num_outputs=2, name="half").results
    assert [p.name for p in parts] == ["half", "half.1"]
    assert [p.shape[1] for p in parts] == [2, 2]
    z = b.call("Clip", x, None, 6.0)
    assert list(b.graph.parameters) == ["clip1.max"]
    assert z.value.producer is not None
    assert z.value.producer.operand(1) is None


def test_op_takes_an_op() -> None:
    b = Builder()
    b.output(b.op(Relu(), b.input("x", (2,)), name="r"))
    assert _names(b.build()) == ["r"]


# -- sharing ---------------------------------------------------------------------------------------


def test_a_module_shares_its_parameters() -> None:
    b = Builder()
    x, y = b.input("x", ("N", 3, 8, 8)), b.input("y", ("N", 3, 5, 5))
    conv = b.module(b.conv, 4, kernel=3)
    b.output(conv(x))
    b.output(conv(y))
    g = b.build()
    assert list(g.parameters) == ["conv1.weight", "conv1.bias"]
    assert [node.operands[1:] for node in g] == [tuple(g.parameters.values())] * 2
    assert [v.name for v in conv.parameters] == ["conv1.weight", "conv1.bias"]
    image = np.random.default_rng(0).standard_normal((1, 3, 5, 5), np.float32)
    whole = np.zeros((1, 3, 8, 8), np.float32)
    whole[..., :5, :5] = image
    first, second = _run(g, x=whole, y=image)
    np.testing.assert_array_equal(first[..., :3, :3], second)


def test_a_function_of_layers_is_a_module_too() -> None:
    b = Builder()

    def tower(x: Handle, channels: int) -> Handle:
        with b.scope("tower"):
            y = b.relu(b.batch_norm(b.conv(x, channels, kernel=3, name="first")))
            return b.conv(y, channels, kernel=1) * 0.5

    shared = b.module(tower, 4)
    x, y = b.input("x", ("N", 3, 8, 8)), b.input("y", ("N", 3, 8, 8))
    b.output(shared(x) + shared(y))
    g = b.build()
    verify(g)
    assert [n for n in _names(g) if "first" in n] == ["tower.first", "tower.first.1"]
    trained = [name for name, value in g.parameters.items() if value.trainable]
    assert trained == [
        "tower.first.weight",
        "tower.first.bias",
        "tower.batch_norm1.scale",
        "tower.batch_norm1.bias",
        "tower.conv1.weight",
        "tower.conv1.bias",
    ]
    image = np.random.default_rng(0).standard_normal((2, 1, 3, 8, 8), np.float32)
    there, back = _run(g, x=image[0], y=image[1]), _run(g, x=image[1], y=image[0])
    np.testing.assert_array_equal(there[0], back[0])


def test_modules_in_modules() -> None:
    b = Builder()
    outside = b.module(b.dense, 4)

    def stack(x: Handle) -> Handle:
        inside = b.module(b.dense, 4)
        return inside(inside(outside(outside(x))))

    shared = b.module(stack)
    x = b.input("x", ("N", 4))
    b.output(shared(shared(outside(x))))
    g = b.build()
    weights = [node.operands[1] for node in g]
    names = [v.name for v in weights if v is not None]
    once = ["dense1.weight"] * 2 + ["dense4.weight"] * 2
    assert names == ["dense1.weight", *once, *once]
    assert list(g.parameters) == [
        "dense1.weight", "dense1.bias", "dense4.weight", "dense4.bias",
    ]  # fmt: skip


def test_weights_are_shared_by_handle() -> None:
    b = Builder()
    w = b.random_parameter("w", (4, 2, 3), std=0.5)
    x = b.input("x", ("N", 2, 9))
    b.output(b.conv(x, w=w, bias=False) + b.conv(x, w=w.value, bias=False))
    assert list(b.build().parameters) == ["w"]


def test_a_module_refuses_what_does_not_fit_its_parameters() -> None:
    b = Builder()
    conv = b.module(b.conv, 4, kernel=3)
    conv(b.input("x", ("N", 3, 8, 8)))
    with pytest.raises(GraphError, match=r"%conv1\.weight .*a shared parameter does not fit"):
        conv(b.input("y", ("N", 2, 8, 8)))
    given = b.module(b.dense)
    given(b.input("z", ("N", 2)), w=np.ones((1, 2)))
    with pytest.raises(GraphError, match=r"another array for the shared %dense1\.weight"):
        given(b.input("v", ("N", 2)), w=np.zeros((1, 2)))


def test_a_failed_first_call_of_a_module_counts_for_nothing() -> None:
    b = Builder()
    conv = b.module(b.conv, 4, kernel=3)
    with pytest.raises(GraphError):
        conv(b.input("x", ("N", 3, 2, 2)))
    assert not b.graph.parameters
    assert conv(b.input("y", ("N", 3, 3, 3))).name == "conv1"


# -- random weights --------------------------------------------------------------------------------


def _weights(b: Builder, channels: int = 8) -> dict[str, bytes]:
    x = b.input("x", ("N", 3, 8, 8))
    b.output(b.batch_norm(b.conv(b.relu(b.conv(x, channels, kernel=3)), 4, kernel=1)))
    return {n: v.array.tobytes() for n, v in b.build().parameters.items() if v.array is not None}


def test_the_seed_fixes_the_weights() -> None:
    assert _weights(Builder("a")) == _weights(Builder("b", seed=0))
    assert not set(_weights(Builder("a")).values()) & set(_weights(Builder(seed=1)).values())
    first, second = (_weights(Builder(rng=np.random.default_rng(5))) for _ in range(2))
    assert first == second
    assert first != _weights(Builder(rng=np.random.default_rng(6)))


def test_a_changed_layer_leaves_the_others_as_they_were() -> None:
    few, many = _weights(Builder(), 8), _weights(Builder(), 16)
    assert few["conv1.weight"] != many["conv1.weight"]
    assert few["batch_norm1.scale"] == many["batch_norm1.scale"]


def test_no_global_state_is_read_or_written() -> None:
    np.random.seed(1)  # noqa: NPY002 -- it is the global state that must not matter
    first = _weights(Builder())
    drawn = np.random.random()  # noqa: NPY002
    np.random.seed(1)  # noqa: NPY002
    assert np.random.random() == drawn  # noqa: NPY002
    assert _weights(Builder()) == first


@pytest.mark.parametrize("centred", [False, True])
def test_activations_keep_unit_variance(centred: bool) -> None:
    b = Builder(centred=centred)
    x = y = b.input("x", ("N", 256))
    for _ in range(10):
        y = b.dense(b.relu(y), 256, bias=False)
    b.output(y)
    del x
    data = np.random.default_rng(0).standard_normal((256, 256), np.float32)
    assert 0.7 < np.sqrt(np.mean(_run(b.build(), x=data)[0] ** 2)) < 1.4


def test_transposed_and_grouped_convolutions_keep_unit_variance() -> None:
    b = Builder()
    x = b.input("x", ("N", 32, 24, 24))
    b.output(b.conv_transpose(x, 64, 4, strides=2, group=2, bias=False, gain=1.0))
    b.output(b.conv(x, 64, 3, group=4, bias=False, gain=1.0))
    data = np.random.default_rng(0).standard_normal((4, 32, 24, 24), np.float32)
    for got in _run(b.build(), x=data):
        assert 0.9 < np.std(got[..., 4:-4, 4:-4]) < 1.1


def test_centred_filters_sum_to_zero_and_keep_inputs_apart() -> None:
    def deep(centred: bool) -> float:
        b = Builder(centred=centred)
        y = b.input("x", ("N", 256))
        for _ in range(30):
            y = b.relu(b.dense(y, 256, bias=False))
        b.output(y)
        weight = b.graph.parameters["dense7.weight"].array
        assert (np.abs(weight.mean(1)).max() < 1e-6) == centred  # type: ignore[union-attr]
        data = np.random.default_rng(0).standard_normal((2, 256), np.float32)
        first, second = _run(b.build(), x=data)[0]
        return float(np.abs(first - second).max() / np.abs(first).max())

    assert deep(centred=True) > 0.8 > 0.5 > deep(centred=False)


@pytest.mark.parametrize("dtype", ["f16", "bf16", "f64"])
def test_weights_have_the_element_type_of_the_operand(dtype: str) -> None:
    b = Builder()
    b.output(b.batch_norm(b.conv(b.input("x", (1, 2, 8), dtype), 3, 3)))
    g = b.build()
    verify(g)
    assert {v.tensor_type.dtype for v in g.parameters.values()} == {g.inputs[0].tensor_type.dtype}


# -- errors ----------------------------------------------------------------------------------------

ERRORS: dict[str, tuple[Callable[[Builder, Handle], Any], str]] = {
    "channels of given weights": (
        lambda b, x: b.conv(x, w=np.ones((16, 4, 3, 3), np.float32), bias=False),
        (
            "%conv1 = Conv(x: %x f32[N, 3, 8, 8], w: %conv1.weight f32[16, 4, 3, 3]) at HERE: Conv:"
            " the channels of x and w do not match:"
            " expected x with 4 channels (w has 4, group = 1), got 3"
        ),
    ),
    "broadcast": (
        lambda b, x: x + np.ones(5),
        (
            "%add1 = Add(a: %x f32[N, 3, 8, 8], b: %add1.b f32[5]) at HERE: the shapes do not"
            " broadcast: got [N, 3, 8, 8] and [5]"
        ),
    ),
    "no kernel": (
        lambda b, x: b.conv(x, 8),
        "%conv1 at HERE: kernel is needed where no w is given: expected a positive integer",
    ),
    "channels are no number": (
        lambda b, x: b.conv(x, "8", 3),  # type: ignore[arg-type]
        "%conv1 at HERE: channels is needed where no w is given: expected a positive integer",
    ),
    "groups": (
        lambda b, x: b.conv(x, 8, 3, group=2, name="c"),
        (
            "%c at HERE: the channels of operand x (%x) do not divide into groups:"
            " expected a multiple of 2, got 3"
        ),
    ),
    "rank": (
        lambda b, x: b.conv(b.flatten(x), 8, 3),
        (
            "%conv1 at HERE: operand x has no spatial axes: expected [N, C, *spatial],"
            " got %flatten1 f32[N, 192]"
        ),
    ),
    "rank of w": (
        lambda b, x: b.conv(x, w=np.ones((8, 3, 3))),
        (
            "%conv1 at HERE: operand w is of another rank than operand x:"
            " expected %x f32[N, 3, 8, 8], got f32[8, 3, 3]"
        ),
    ),
    "kernel beside w": (
        lambda b, x: b.conv(x, kernel=5, w=np.ones((8, 3, 3, 3))),
        "%conv1 at HERE: kernel differs from operand w: expected [3, 3], got 5",
    ),
    "channels beside w": (
        lambda b, x: b.conv(x, 4, w=np.ones((8, 3, 3, 3))),
        "%conv1 at HERE: channels differs from operand w: expected 8, got 4",
    ),
    "bias twice": (
        lambda b, x: b.conv(x, 4, 3, bias=False, b=np.ones(4)),
        "%conv1 at HERE: a bias is given beside bias=False",
    ),
    "kernel of a wrong length": (
        lambda b, x: b.max_pool(x, (2, 2, 2)),
        (
            "%max_pool1 at HERE: kernel does not fit the operand:"
            " expected one integer or 2, one per spatial axis, got [2, 2, 2]"
        ),
    ),
    "fractional stride": (
        lambda b, x: b.average_pool(x, 2, strides=1.5),  # type: ignore[arg-type]
        "%average_pool1 at HERE: strides is not made of integers: got 1.5",
    ),
    "stride of nothing": (
        lambda b, x: b.conv_transpose(x, 4, 3, strides=0),
        "%conv_transpose1 at HERE: strides is too small: expected at least 1, got [0, 0]",
    ),
    "pads of a wrong length": (
        lambda b, x: b.conv(x, 4, 3, pads=(1, 1, 1)),
        (
            "%conv1 at HERE: pads do not fit the operand:"
            " expected one integer, 2 (one per axis) or 4 (begins, then ends), got [1, 1, 1]"
        ),
    ),
    "pads of an unknown kind": (
        lambda b, x: b.conv(x, 4, 3, pads="full"),
        '%conv1 at HERE: unknown pads: expected "same", "valid" or integers, got full',
    ),
    "unknown op": (
        lambda b, x: b.call("Convv", x),
        "%convv1 at HERE: unknown op: got Convv (did you mean Conv",
    ),
    "unknown attribute": (
        lambda b, x: b.call("MaxPool", x, kernel=[2, 2]),
        "%max_pool1 at HERE: MaxPool has no attribute kernel (did you mean kernel_shape?)",
    ),
    "number of operands": (
        lambda b, x: b.call("Conv", x, kernel_shape=(3, 3)),
        (
            "%conv1 = Conv(x: %x f32[N, 3, 8, 8]) at HERE: Conv has the wrong number of operands:"
            " expected (x, w, b?), got 1"
        ),
    ),
    "name taken": (
        lambda b, x: b.relu(x, name="x"),
        "%x at HERE: the name is taken (names are unique; see scope())",
    ),
    "no floats": (
        lambda b, x: b.conv(b.input("i", (1, 3, 8), "i64"), 4, 3),
        "%conv1.weight at HERE: random weights are made of f16, bf16, f32 or f64: got i64",
    ),
    "another builder": (
        lambda b, x: b.add(x, Builder().input("z", (1,))),
        "%add1 at HERE: a value of another builder: got %z",
    ),
    "another graph": (
        lambda b, x: b.add(x, Graph().add_input("z", x.value.type)),
        "%add1 at HERE: a value of another graph: got %z",
    ),
    "no array": (
        lambda b, x: b.add(x, [[1.0], [1.0, 2.0]]),
        "%add1 at HERE: not an array: got setting an array element with a sequence",
    ),
    "input twice": (lambda b, x: b.input("x", (1,)), "%x at HERE: the name is taken"),
    "negative size": (
        lambda b, x: b.input("y", (-1, 3)),
        '%y at HERE: a size is negative: got f32[-1, 3] (name it: "N")',
    ),
    "no output": (
        lambda b, x: b.build(),
        "graph @graph at HERE: the graph has no output (call output(value) first)",
    ),
    "hostile name": (
        lambda b, x: b.relu(b.input("a\x1b[31m\u202e", (2,)), name="x"),
        "%x at HERE: the name is taken",
    ),
    "columns are not known": (
        lambda b, x: b.dense(b.input("s", (2, "K")), 4),
        "%dense1 at HERE: operand x needs a known number of columns: got %s f32[2, K]",
    ),
}


@pytest.mark.parametrize(("call", "message"), ERRORS.values(), ids=ERRORS.keys())
def test_errors_name_node_operand_expected_got_and_line(
    call: Callable[[Builder, Handle], Any], message: str
) -> None:
    b = Builder()
    x = b.input("x", ("N", 3, 8, 8))
    with pytest.raises(GraphError) as caught:
        call(b, x)
    where = f"test_builder.py:{call.__code__.co_firstlineno}"
    text = str(caught.value)
    assert text.startswith(message.replace("HERE", where).split(where)[0] + where), text
    assert text.startswith(message.replace("HERE", where)), text


def test_the_line_is_that_of_the_users_own_function() -> None:
    b = Builder()
    x = b.input("x", ("N", 3, 8, 8))

    def block(x: Handle) -> Handle:
        return b.conv(x, 4, kernel=9)

    line = block.__code__.co_firstlineno + 1
    for call in (block, b.module(block)):
        with pytest.raises(GraphError, match=rf" at test_builder\.py:{line}: Conv: the kernel is"):
            call(x)
    with pytest.raises(GraphError, match=rf" at test_builder\.py:{_line() + 1}: "):
        b.module(b.conv, 4, kernel=9)(x)


@pytest.mark.parametrize(
    "call",
    [
        lambda b, y, z: b.output(y, z),
        lambda b, y, z: b.input(z, (1,)),
        lambda b, y, z: b.relu(y, name=z),
        lambda b, y, z: b.conv(y, 4, kernel=3, name=z),
        lambda b, y, z: b.parameter(z, 1.0),
        lambda b, y, z: b.constant(1.0, z),
        lambda b, y, z: b.scope(z).__enter__(),
        lambda b, y, z: Builder(z),
    ],
)
def test_a_value_in_the_place_of_a_name(call: Callable[[Builder, Handle, Handle], Any]) -> None:
    b = Builder()
    y = b.relu(b.input("x", (1, 3, 8, 8)))
    z = b.relu(y)
    with pytest.raises(GraphError, match="not a name: expected a text, got the value %relu2"):
        call(b, y, z)
    b.output(y, "y")
    assert str(b.build()).count("Relu") == 2
    with pytest.raises(GraphError, match="not a name: expected a text, got 3"):
        b.output(z, 3)  # type: ignore[arg-type]


def test_a_wrong_call_adds_nothing() -> None:
    b = Builder()
    x = b.input("x", ("N", 3, 8, 8))
    b.output(b.relu(x))
    before = str(b.build())
    for call, _ in ERRORS.values():
        fresh = Builder()
        given = fresh.input("x", ("N", 3, 8, 8))
        with pytest.raises(GraphError):
            call(fresh, given)
    with pytest.raises(GraphError):
        b.conv(x, 4, kernel=9)
    with pytest.raises(GraphError):
        b.dense(x, 4, b=np.ones(3))
    assert str(b.build()) == before
    assert b.conv(x, 4, kernel=3).name == "conv1"


# -- size ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_chain_of_100_000_nodes() -> None:
    b = Builder("chain")
    x = b.input("x", ("N", 4))
    for _ in range(50_000):
        x = b.relu(-x)
    b.output(x)
    g = b.build()
    assert len(g) == 100_000
    text = str(g)
    assert text.count("\n") == 100_001
    back = parse(text)
    assert back == g
    verify(back)
