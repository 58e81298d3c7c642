"""What each pass refuses, with its reason, and cases where a careless pass would be wrong."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from irconv.graph import Graph
from irconv.interpret import interpret
from irconv.ops.identity import Identity
from irconv.pipeline import lower
from irconv.text import parse
from irconv.verify import verify
from tests.graphs import integer_inputs, stage_of

W = "const %w: f32[2, 2, 1, 1] = [1.0, 2.0, -1.0, 1.0]"
CONV = "Conv(%x, %w) {kernel_shape = [1, 1]} : f32[N, 2, 4, 4]"
IMAGE = "f32[N, 2, 4, 4]"


def network(lines: Sequence[str], outputs: Sequence[str]) -> Graph:
    """`lines` over an image %x; outputs with their types."""
    body = "\n".join(f"  {line}" for line in [W, *lines])
    shown = ", ".join(f"%{o}" if ":" in o else f"%{o}: {IMAGE}" for o in outputs)
    graph = parse(f"graph @t(%x: {IMAGE}, %r: {IMAGE}) -> ({shown}) {{\n{body}\n}}")
    verify(graph)
    return graph


def remarks(graph: Graph, chosen: str) -> list[str]:
    return [str(remark) for remark in stage_of(graph, chosen).remarks]


BATCHNORM = (
    "const %s: f32[2] = [1.0, 2.0]",
    "const %v: f32[2] = [1.0, 4.0]",
    "const %none: f32[2] = [-1.0, 4.0]",
)
NORMAL = f"BatchNormalization({{}}, %s, %s, %s, %v) : {IMAGE}"

REMARKS = {
    "fuse: two users": (
        "fuse",
        [f"%c = {CONV}", f"%a = Relu(%c) : {IMAGE}", f"%b = Tanh(%c) : {IMAGE}"],
        ["a", "b"],
        "%c: fuse_activation declined: its result has two users",
    ),
    "fuse: output": (
        "fuse",
        [f"%c = {CONV}", f"%a = Relu(%c) : {IMAGE}"],
        ["a", "c"],
        "%c: fuse_activation declined: its result is a graph output",
    ),
    "fuse: taken twice": (
        "fuse",
        [f"%c = {CONV}", f"%a = Add(%c, %c) : {IMAGE}"],
        ["a"],
        "%c: fuse_residual declined: its only user takes it twice",
    ),
    "fuse: second activation": (
        "fuse",
        [f"%c = {CONV}", f"%a = Relu(%c) : {IMAGE}", f"%b = Tanh(%a) : {IMAGE}"],
        ["b"],
        "%a: fuse_activation declined: it has an activation already",
    ),
    "fuse: pool and activation do not commute": (
        "fuse",
        [
            f"%c = {CONV}",
            "%p = AveragePool(%c) {kernel_shape = [2, 2]} : f32[N, 2, 3, 3]",
            "%a = Relu(%p) : f32[N, 2, 3, 3]",
        ],
        ["a: f32[N, 2, 3, 3]"],
        "%p: fuse_activation declined: Relu and its pool cannot change places",
    ),
    "fuse: an empty window": (
        "fuse",
        [
            f"%c = {CONV}",
            (
                "%p = MaxPool(%c) {kernel_shape = [2, 2], dilations = [2, 2], pads = [1, 1, 1, 1]} "
                ": f32[N, 2, 4, 4]"
            ),
            "%a = Relu(%p) : f32[N, 2, 4, 4]",
        ],
        ["a"],
        "%p: fuse_activation declined: a window of its pool may see padding only",
    ),
    "fuse: a pool after a matrix product": (
        "fuse",
        [
            "const %m: f32[4, 2] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]",
            "%c = MatMul(%x, %m) : f32[N, 2, 4, 2]",
            "%p = MaxPool(%c) {kernel_shape = [2, 2]} : f32[N, 2, 3, 1]",
        ],
        ["p: f32[N, 2, 3, 1]"],
        "%c: fuse_pool declined: a matrix product takes no pool",
    ),
    "fuse: a constant after a transposed convolution": (
        "fuse",
        [
            "const %b: f32[2] = [1.0, 2.0]",
            "const %k: f32[2, 1, 1] = [1.0, 2.0]",
            f"%c = ConvTranspose(%x, %w, %b) {{kernel_shape = [1, 1]}} : {IMAGE}",
            f"%a = Add(%c, %k) : {IMAGE}",
        ],
        ["a"],
        "%c: fuse_bias declined: a transposed convolution has no fused form",
    ),
    "fuse: an image after a transposed convolution": (
        "fuse",
        [
            "const %b: f32[2] = [1.0, 2.0]",
            "const %k: f32[2, 4, 1] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]",
            f"%c = ConvTranspose(%x, %w, %b) {{kernel_shape = [1, 1]}} : {IMAGE}",
            f"%a = Add(%c, %k) : {IMAGE}",
        ],
        ["a"],
        "%c: fuse_bias declined: the added constant is not one number per channel",
    ),
    "fuse: clip with a computed bound": (
        "fuse",
        [
            "const %one: f32[] = 1.0",
            "%low = Neg(%one) : f32[]",
            f"%c = {CONV}",
            f"%a = Clip(%c, %low) : {IMAGE}",
        ],
        ["a"],
        "%a: fuse_activation declined: a bound is not constant",
    ),
    "fuse: a constant along another axis": (
        "fuse",
        ["const %k: f32[4] = [1.0, 2.0, 3.0, 4.0]", f"%c = {CONV}", f"%a = Add(%c, %k) : {IMAGE}"],
        ["a"],
        "%c: fuse_bias declined: the added constant is not one number per channel",
    ),
    "fuse: a residual that is broadcast": (
        "fuse",
        [
            f"%c = {CONV}",
            "%m = GlobalMaxPool(%r) : f32[N, 2, 1, 1]",
            f"%a = Add(%c, %m) : {IMAGE}",
        ],
        ["a"],
        (
            "%c: fuse_residual declined: the added value is f32[N, 2, 1, 1], "
            "its result f32[N, 2, 4, 4]"
        ),
    ),
    "fuse: second residual": (
        "fuse",
        [f"%c = {CONV}", f"%a = Add(%c, %r) : {IMAGE}", f"%b = Add(%x, %a) : {IMAGE}"],
        ["b"],
        "%a: fuse_residual declined: it has a residual already",
    ),
    "fuse: indices": (
        "fuse",
        [
            f"%c = {CONV}",
            (
                "%p, %i = MaxPool(%c) {kernel_shape = [2, 2], n_outputs = 2} "
                ": f32[N, 2, 3, 3], i64[N, 2, 3, 3]"
            ),
        ],
        ["p: f32[N, 2, 3, 3]"],
        "%c: fuse_pool declined: the pool gives indices too",
    ),
    "fuse: ceil_mode that counts its padding": (
        "fuse",
        [
            f"%c = {CONV}",
            (
                "%p = AveragePool(%c) {kernel_shape = [3, 3], strides = [2, 2], ceil_mode = 1, "
                "count_include_pad = 1} : f32[N, 2, 2, 2]"
            ),
        ],
        ["p: f32[N, 2, 2, 2]"],
        "%c: fuse_pool declined: the pool has ceil_mode, which no pads can replace here",
    ),
    "fuse: transposed": (
        "fuse",
        [
            f"%c = ConvTranspose(%x, %w) {{kernel_shape = [1, 1]}} : {IMAGE}",
            f"%a = Relu(%c) : {IMAGE}",
        ],
        ["a"],
        "%c: fuse_activation declined: a transposed convolution has no fused form",
    ),
    "fuse: computed weights": (
        "fuse",
        [f"%c = MatMul(%x, %r) : {IMAGE}", f"%a = Relu(%c) : {IMAGE}"],
        ["a"],
        "%c: fuse_activation declined: its weights are not constant",
    ),
    "fuse: alpha": (
        "fuse",
        [
            "const %m: f32[2, 2] = [1.0, 2.0, 3.0, 4.0]",
            "%p = GlobalMaxPool(%x) : f32[N, 2, 1, 1]",
            "%f = Flatten(%p) : f32[N, 2]",
            "%g = Gemm(%f, %m) {alpha = 0.5} : f32[N, 2]",
            "%a = Relu(%g) : f32[N, 2]",
        ],
        ["a: f32[N, 2]"],
        "%g: fuse_activation declined: its alpha is not 1",
    ),
    "fuse: an op that no rule takes": (
        "fuse",
        [f"%c = {CONV}", f"%y = Softmax(%c) : {IMAGE}"],
        ["y"],
        "%c: fuse declined: its only user is Softmax %y, which cannot be fused into it",
    ),
    "fuse: a batch normalization": (
        "fuse",
        [*BATCHNORM, f"%c = {CONV}", f"%n = {NORMAL.format('%c')}", f"%a = Relu(%n) : {IMAGE}"],
        ["a"],
        (
            "%c: fuse declined: its only user is BatchNormalization %n, "
            "which cannot be fused into it (fold_batchnorm first)"
        ),
    ),
    "fuse: a residual itself": (
        "fuse",
        [f"%c = {CONV}", f"%d = {CONV}", f"%a = Add(%c, %d) : {IMAGE}"],
        ["a"],
        "%c: fuse declined: FusedConv %a takes its result as the residual",
    ),
    "fold_batchnorm: two users": (
        "fold_batchnorm",
        [*BATCHNORM, f"%c = {CONV}", f"%n = {NORMAL.format('%c')}", f"%a = Relu(%c) : {IMAGE}"],
        ["n", "a"],
        "%c: batchnorm_after declined: its result has two users",
    ),
    "fold_batchnorm: variance": (
        "fold_batchnorm",
        [
            *BATCHNORM,
            f"%c = {CONV}",
            f"%n = BatchNormalization(%c, %s, %s, %s, %none) : {IMAGE}",
        ],
        ["n"],
        "%n: batchnorm_after declined: the variance of a channel plus epsilon is not positive",
    ),
    "fold_batchnorm: computed statistics": (
        "fold_batchnorm",
        [
            *BATCHNORM,
            "%t = Neg(%s) : f32[2]",
            f"%c = {CONV}",
            f"%n = BatchNormalization(%c, %t, %s, %s, %v) : {IMAGE}",
        ],
        ["n"],
        "%n: batchnorm_after declined: its scale, bias, mean and variance are not all constant",
    ),
    "fold_batchnorm: computed weights": (
        "fold_batchnorm",
        [
            *BATCHNORM,
            "%t = Neg(%w) : f32[2, 2, 1, 1]",
            f"%c = Conv(%x, %t) {{kernel_shape = [1, 1]}} : {IMAGE}",
            f"%n = {NORMAL.format('%c')}",
        ],
        ["n"],
        "%c: batchnorm_after declined: its weights are not constant",
    ),
    "fold_batchnorm: overflow": (
        "fold_batchnorm",
        [
            *BATCHNORM,
            "const %large: f32[2] = [3e38, 3e38]",
            "const %tiny: f32[2] = [1e-20, 1e-20]",
            f"%c = {CONV}",
            f"%n = BatchNormalization(%c, %large, %s, %s, %tiny) {{epsilon = 0.0}} : {IMAGE}",
        ],
        ["n"],
        "%c: batchnorm_after declined: the folded weights are not finite",
    ),
    "fold_batchnorm: zero padding": (
        "fold_batchnorm",
        [
            *BATCHNORM,
            f"%n = {NORMAL.format('%x')}",
            "%c = Conv(%n, %w) {kernel_shape = [1, 1], pads = [0, 0, 1, 0]} : f32[N, 2, 5, 4]",
        ],
        ["c: f32[N, 2, 5, 4]"],
        "%n: batchnorm_before declined: the convolution after it pads with zeros",
    ),
    "fold_batchnorm: transposed": (
        "fold_batchnorm",
        [
            *BATCHNORM,
            f"%n = {NORMAL.format('%x')}",
            f"%c = ConvTranspose(%n, %w) {{kernel_shape = [1, 1]}} : {IMAGE}",
        ],
        ["c"],
        (
            "%n: batchnorm_before declined: "
            "the transposed convolution after it spreads its shift unevenly"
        ),
    ),
    "fold_batchnorm: alone": (
        "fold_batchnorm",
        [*BATCHNORM, f"%n = {NORMAL.format('%x')}"],
        ["n"],
        "%n: batchnorm_after declined: no convolution or product stands before or after it",
    ),
    "fold_batchnorm: a scale along another axis": (
        "fold_batchnorm",
        ["const %k: f32[4] = [1.0, 2.0, 3.0, 4.0]", f"%c = {CONV}", f"%a = Mul(%c, %k) : {IMAGE}"],
        ["a"],
        "%c: scale_after declined: Mul with a constant that is not one per channel",
    ),
    "fold: budget": (
        "fold{budget=10}",
        [
            "const %k: f32[4] = [1.0, 2.0, 3.0, 4.0]",
            "%a = Neg(%k) : f32[4]",
            "%b = Abs(%k) : f32[4]",
        ],
        ["a: f32[4]", "b: f32[4]"],
        (
            "%a: fold_constants declined: "
            "its result would add 16 bytes, 10 of the budget of 10 are left"
        ),
    ),
    "fold: unknown size": (
        "fold",
        ["%s = Shape(%x) : i64[4]"],
        ["s: i64[4]"],
        "%s: fold_shape declined: a size of its operand is not known",
    ),
    "canonicalize: sign of zero": (
        "canonicalize",
        ["const %zero: f32[] = 0.0", f"%a = Add(%x, %zero) : {IMAGE}"],
        ["a"],
        "%a: remove_neutral_operand declined: it would change the sign of a zero",
    ),
    "canonicalize: an output that is an input": (
        "canonicalize",
        [f"%a = Identity(%x) : {IMAGE}"],
        ["a"],
        "%a: remove_identity declined: an output needs a name of its own",
    ),
    "canonicalize: padding that is not zero": (
        "canonicalize",
        [
            "const %two: f32[] = 2.0",
            "const %pads: i64[8] = [0, 0, 1, 1, 0, 0, 1, 1]",
            "%p = Pad(%x, %pads, %two) : f32[N, 2, 6, 6]",
            "%c = Conv(%p, %w) {kernel_shape = [1, 1]} : f32[N, 2, 6, 6]",
        ],
        ["c: f32[N, 2, 6, 6]"],
        "%p: absorb_padding declined: it does not pad with zeros",
    ),
    "canonicalize: a slope per channel": (
        "canonicalize",
        ["const %k: f32[2, 1, 1] = [0.5, 0.25]", f"%a = PRelu(%x, %k) : {IMAGE}"],
        ["a"],
        "%a: prelu_to_leaky_relu declined: its slope is not one constant number",
    ),
}


@pytest.mark.parametrize("case", REMARKS)
def test_a_refusal_names_node_rule_and_condition(case: str) -> None:
    pipeline, lines, outputs, expected = REMARKS[case]
    assert expected in remarks(network(lines, outputs), pipeline)


# -- special cases ---------------------------------------------------------------------------------


def test_a_mean_is_not_taken_for_a_sum() -> None:
    graph = network([f"%c = {CONV}", f"%a = Mean(%c, %r) : {IMAGE}"], ["a"])
    assert not stage_of(graph, "fuse").changed
    assert not stage_of(graph, "canonicalize").changed


def test_shared_weights_are_copied_for_the_folded_convolution_only() -> None:
    lines = [*BATCHNORM, f"%c = {CONV}", f"%n = {NORMAL.format('%c')}", f"%d = {CONV}"]
    after = lower(network(lines, ["n", "d"]), "fold_batchnorm")
    assert after.node("n").operands[1] is after.value("n.w")
    assert after.node("d").operands[1] is after.value("w")


def test_of_two_convolutions_that_are_added_the_later_takes_the_residual() -> None:
    for first, second in (("c", "d"), ("d", "c")):
        lines = [f"%c = {CONV}", f"%d = {CONV}", f"%a = Add(%{first}, %{second}) : {IMAGE}"]
        after = lower(network(lines, ["a"]), "fuse")
        assert [n.name for n in after] == ["c", "a"]
        assert after.node("a").operand(3) is after.value("c")


def test_nan_passes_through_a_fused_pool_and_clamp() -> None:
    lines = [
        f"%c = {CONV}",
        "%p = MaxPool(%c) {kernel_shape = [2, 2]} : f32[N, 2, 3, 3]",
        "%a = Clamp(%p) {min = 0.0, max = 6.0} : f32[N, 2, 3, 3]",
    ]
    graph = network(lines, ["a: f32[N, 2, 3, 3]"])
    inputs = integer_inputs(graph)
    inputs["x"][0, 1, 2, 2] = np.nan
    after = lower(graph, "fuse")
    assert len(after) == 1
    expected = interpret(graph, inputs)["a"]
    assert np.isnan(expected).any()
    np.testing.assert_array_equal(interpret(after, inputs)["a"], expected)


def test_dead_code_is_never_folded() -> None:
    lines = ["%dead = Neg(%w) : f32[2, 2, 1, 1]", f"%c = {CONV}"]
    graph = network(lines, ["c"])
    assert not stage_of(graph, "fold").changed
    assert "dead" not in lower(graph, "canonicalize")


def test_a_folded_output_keeps_its_name_and_its_parameter_another() -> None:
    graph = network(["%a = Neg(%w) : f32[2, 2, 1, 1]"], ["a: f32[2, 2, 1, 1]"])
    after = lower(graph, "fold")
    assert isinstance(after.node("a").op, Identity)
    assert after.value("a.value").is_parameter


def test_the_budget_is_one_for_all_constants() -> None:
    names = ("a", "b", "c")
    graph = network(
        [*(f"%{n} = Neg(%w) : f32[2, 2, 1, 1]" for n in names), f"%y = {CONV}"],
        [*(f"{n}: f32[2, 2, 1, 1]" for n in names), "y"],
    )
    stage = stage_of(graph, "fold{budget=40}")
    assert stage.fired["fold_constants"] == 2
    assert [r.node for r in stage.remarks] == ["c"]


def test_a_chain_of_sizes_folds_though_the_batch_is_unknown() -> None:
    lines = [
        "const %i: i64[1] = [1]",
        "const %rest: i64[1] = [-1]",
        "const %zero: i64[1] = [0]",
        "%s = Shape(%x) : i64[4]",
        "%n = Gather(%s, %zero) : i64[1]",
        "%c = Gather(%s, %i) : i64[1]",
        "%t = Concat(%n, %c, %rest) {axis = 0} : i64[3]",
        '%y = Reshape(%x, %t) : f32["?y.0", "?y.1", "?y.2"]',
    ]
    graph = network(lines, ['y: f32["?y.0", "?y.1", "?y.2"]'])
    after = lower(graph, "fold,canonicalize")
    assert str(after.outputs[0].type) == "f32[N, 2, 16]"
    assert [n.op.name for n in after] == ["Reshape"]


def test_outputs_that_are_equal_keep_their_names() -> None:
    graph = network([f"%{n} = Relu(%x) : {IMAGE}" for n in ("a", "b", "c")], ["a", "b", "c"])
    after = lower(graph, "canonicalize")
    assert [n.op.name for n in after] == ["Relu", "Identity", "Identity"]
    assert [v.name for v in after.outputs] == ["a", "b", "c"]


def test_equal_constants_make_twins_and_equal_free_weights_do_not() -> None:
    text = (
        f"graph @t(%x: {IMAGE}) -> (%y: {IMAGE}) {{\n"
        "  param %k: f32[1] = [2.0]\n  param %l: f32[1] = [2.0]\n"
        f"  %a = Mul(%x, %k) : {IMAGE}\n  %b = Mul(%x, %l) : {IMAGE}\n"
        f"  %y = Add(%a, %b) : {IMAGE}\n}}"
    )
    assert not stage_of(parse(text), "canonicalize").changed
    after = lower(parse(text.replace("param", "const")), "canonicalize")
    assert after.node("y").operands == (after.value("a"), after.value("a"))
    assert list(after.parameters) == ["k"]


def test_fuse_tells_of_each_convolution_that_it_leaves_alone_once() -> None:
    lines = [
        f"%c = {CONV}",
        f"%d = Conv(%c, %w) {{kernel_shape = [1, 1]}} : {IMAGE}",
        f"%e = Conv(%d, %w) {{kernel_shape = [1, 1]}} : {IMAGE}",
        f"%a = Relu(%e) : {IMAGE}",
    ]
    told = remarks(network(lines, ["a"]), "fuse")
    user = "fuse declined: its only user is"
    end = "which cannot be fused into it"
    assert told == [f"%c: {user} Conv %d, {end}", f"%d: {user} FusedConv %a, {end}"]
    # what was asked to be left out is no surprise, and an output has no user
    alone = [f"%c = {CONV}", f"%a = Relu(%c) : {IMAGE}"]
    assert remarks(network(alone, ["a"]), "fuse{activation=false}") == []
    assert remarks(network(lines[:1], ["c"]), "fuse") == []
