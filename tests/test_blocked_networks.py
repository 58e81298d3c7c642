"""Graphs in blocks of channels that no pass would write: one error each, never a wrong answer."""

from __future__ import annotations

import numpy as np
import pytest

import irconv
from irconv.backends.numba_cpu.blocked.tile import lanes
from irconv.errors import BackendError
from irconv.text import parse

B = lanes()
OTHER = B // 2
HASH = "#" + "0" * 24


def layout(block: int, halo: int) -> str:
    return f"{{block = {block}, halo = [{', '.join([str(halo)] * 4)}]}}"


def image(channels: int = 16, size: int = 6) -> str:
    return f"f32[1, {channels}, {size}, {size}]"


def graph_of(lines: list[str], out: str, params: list[str]) -> irconv.Graph:
    head = f"graph @g(%x: {image()}) -> (%z: {out}) {{"
    graph = parse("\n".join([head, *(f"  param {p} = {HASH}" for p in params), *lines, "}"]))
    rng = np.random.default_rng(0)
    for value in graph.parameters.values():
        value.array = rng.integers(-2, 3, value.shape).astype(np.float32)
    return graph


def packed(name: str = "p", block: int = B, halo: int = 1) -> str:
    at = layout(block, halo)
    return f"  %{name} = Pack(%x) {at} : {image()}{at}"


WEIGHTS = "%w: f32[16, 16, 3, 3]"
CONV = "{kernel_shape = [3, 3], pads = [1, 1, 1, 1]}"
INNER = "FusedConv {kernel_shape = [3, 3], pads = [1, 1, 1, 1]}"
POINT = "FusedConv {kernel_shape = [1, 1]}"
NONE = layout(B, 0)


def paired(weights: str, first: str) -> str:
    op = f"{{first = {first}, second = {INNER}}}"
    return f"  %y = ConvPair(%p, {weights}) {op} : {image()}{NONE}"


UNPACK = f"  %z = Unpack(%y) : {image()}"
REFUSED = {
    "result row by row": ([packed(), f"  %z = Conv(%p, %w) {CONV} : {image()}"], WEIGHTS),
    "operand row by row": ([f"  %y = Conv(%x, %w) {CONV} : {image()}{NONE}", UNPACK], WEIGHTS),
    "residual row by row": (
        [packed(), f"  %y = FusedConv(%p, %w, _, %x) {CONV} : {image()}{NONE}", UNPACK],
        WEIGHTS,
    ),
    "halo too small": (
        [packed(halo=0), f"  %y = Conv(%p, %w) {CONV} : {image()}{NONE}", UNPACK],
        WEIGHTS,
    ),
    "smaller blocks of a result": (
        [packed(), f"  %y = Conv(%p, %w) {CONV} : {image()}{layout(OTHER, 0)}", UNPACK],
        WEIGHTS,
    ),
    "smaller blocks of an operand": (
        [packed(block=OTHER), f"  %y = Relu(%p) : {image()}{NONE}", UNPACK],
    ),
    "operands of two sizes of blocks": (
        [packed(), packed("q", OTHER), f"  %y = Add(%p, %q) : {image()}{NONE}", UNPACK],
    ),
    "concatenation of smaller blocks": (
        [packed(block=OTHER), f"  %y = Concat(%p, %p) {{axis = 1}} : {image(32)}{NONE}",
         f"  %z = Unpack(%y) : {image(32)}"],
    ),
    "shuffle of smaller blocks": (
        [packed(block=OTHER), f"  %y = ChannelShuffle(%p) {{group = 4}} : {image()}{NONE}", UNPACK],
    ),
    "concatenation of lines": (
        [packed(), f"  %y = Concat(%p, %p) {{axis = 2}} : f32[1, 16, 12, 6]{NONE}",
         "  %z = Unpack(%y) : f32[1, 16, 12, 6]"],
    ),
    "sum of three": ([packed(), f"  %y = Sum(%p, %p, %p) : {image()}{NONE}", UNPACK],),
    "constant per column": (
        [packed(), f"  %y = Add(%p, %c) : {image()}{NONE}", UNPACK],
        "%c: f32[6]",
    ),
    "huge blocks": (
        [packed(block=10**6, halo=0), f"  %y = Relu(%p) : {image()}{layout(10**6, 0)}", UNPACK],
    ),
    "no kernel": ([packed(), f"  %y = Sub(%p, %p) : {image()}{NONE}", UNPACK],),
    "reshaped": ([packed(), "  %z = Flatten(%p) : f32[1, 576]"],),
    "pair of two large kernels": (
        [packed(), paired("%w, %w", INNER), UNPACK],
        WEIGHTS,
    ),
    "pair of dense ones": (
        [packed(), paired("%v, %w", POINT), UNPACK],
        WEIGHTS, "%v: f32[16, 16, 1, 1]",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_graph_that_no_kernel_runs_in_blocks_is_refused(name: str) -> None:
    lines, *params = REFUSED[name]
    out = lines[-1].rsplit(" : ", 1)[1]
    graph = graph_of(lines, out, params)
    irconv.verify(graph)
    with pytest.raises(BackendError, match=r"no kernel runs this .* on blocks of channels"):
        irconv.compile(graph, pipeline="")


@pytest.mark.parametrize("pipeline", ["winograd{tiles=2}", "fold,fuse,im2col", "conv_matrix"])
def test_passes_after_pack_are_refused_or_right(pipeline: str) -> None:
    lines = [packed(), f"  %y = Conv(%p, %w) {CONV} : {image()}{NONE}", UNPACK]
    graph = graph_of(lines, image(), [WEIGHTS])
    try:
        executable = irconv.compile(graph, pipeline=pipeline)
    except BackendError as error:
        refusal = str(error)
        assert "on blocks of channels" in refusal
        return
    x = np.random.default_rng(1).integers(-3, 4, (1, 16, 6, 6)).astype(np.float32)
    (want,) = irconv.interpret(graph, {"x": x}).values()
    np.testing.assert_allclose(executable(x)[0], want, atol=1e-3)
