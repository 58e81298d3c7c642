"""ChannelShuffle: meaning, errors, raised from three nodes and written back, on the backends."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import irconv as ic
from irconv.backends.numba_cpu.blocked.tile import lanes
from irconv.builder import Builder
from irconv.errors import GraphError
from irconv.graph import Graph
from irconv.interpret import interpret
from irconv.ops.rearrange import ChannelShuffle
from irconv.pipeline import lower
from irconv.text import parse
from irconv.types import TensorType
from tests.cpu_cases import check_exact, one_node, some_shape


def shuffled(x: np.ndarray, group: int) -> np.ndarray:
    n, c, *rest = x.shape
    return np.stack(
        [x[:, g * (c // group) + i] for i in range(c // group) for g in range(group)], 1
    ).reshape(n, c, *rest)


def test_channels_are_dealt_out() -> None:
    x = np.arange(2 * 12 * 3).reshape(2, 12, 3)
    for group in (1, 2, 3, 4, 6, 12):
        op = ChannelShuffle(group)
        (y,) = op.run([x])
        np.testing.assert_array_equal(y, shuffled(x, group))
        np.testing.assert_array_equal(y, x[:, op.order(12)])
        np.testing.assert_array_equal(ChannelShuffle(12 // group).run([y])[0], x)
    assert ChannelShuffle(2).order(6) == (0, 3, 1, 4, 2, 5)


@pytest.mark.parametrize(
    ("group", "shape", "message"),
    [(4, (2, 6, 3), "group"), (0, (2, 6), "group"), (2, (6,), "rank"), (-2, (2, 6), "group")],
)
def test_what_does_not_fit_is_refused(group: int, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(GraphError, match=message):
        one_node(ChannelShuffle(group), np.zeros(shape, np.float32))


def test_unknown_channels_are_refused() -> None:
    with pytest.raises(GraphError, match="not known"):
        ChannelShuffle(1).infer([TensorType("f32", ("N", "C"))], [None])


def test_on_the_cpu() -> None:
    rng = np.random.default_rng(1)
    for trial in range(40):
        shape = some_shape(rng, rank=int(rng.integers(2, 6)), most=4)
        group, each = (int(n) for n in rng.integers(1, 5, 2))
        shape[1] = group * each
        dtype = [np.float32, np.float64, np.int32, np.int64][trial % 4]
        x = rng.integers(0, 99, shape).astype(dtype)
        check_exact(ChannelShuffle(group), x, threads=1 + trial % 3)
    check_exact(ChannelShuffle(2), np.zeros((1, 4), np.float16), fallback=True)


def network(batch: int | str = "N", spatial: int | str = 5) -> Graph:
    """A unit of a ShuffleNet."""
    b = Builder("unit", seed=2)
    x = b.input("x", (batch, 12, 5, spatial))
    y = b.relu(b.conv(x, 12, kernel=1, group=3))
    y = b.reshape(y, (0, 3, 4, 5, spatial if isinstance(spatial, int) else -1))
    y = b.reshape(b.transpose(y, (0, 2, 1, 3, 4)), (0, 12, 5, -1))
    y = b.conv(y, 12, kernel=3, pads=1, group=12)
    b.output(b.conv(y, 12, kernel=1, group=3) + x)
    return b.build()


def names(graph: Graph) -> list[str]:
    return [node.op.name for node in graph]


@pytest.mark.parametrize("lowering", ["", ",fuse", ",im2col", ",fuse,conv_matrix", ",fuse,pack"])
def test_three_nodes_become_one_in_every_pipeline(lowering: str) -> None:
    graph = network(2)
    after = lower(graph, f"canonicalize{lowering}")
    assert names(after).count("ChannelShuffle") == 1
    assert "Transpose" not in names(after)
    x = {"x": np.random.default_rng(3).integers(-3, 4, (2, 12, 5, 5)).astype(np.float32)}
    (expected,), (found,) = (interpret(g, x).values() for g in (graph, after))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("lowering", ["", ",fuse", ",fuse,im2col", ",fuse,conv_matrix"])
def test_compiled(lowering: str) -> None:
    graph = network()
    executable = ic.compile(graph, pipeline=f"canonicalize{lowering}", threads=2)
    x = np.random.default_rng(4).standard_normal((3, 12, 5, 5)).astype(np.float32)
    (expected,) = interpret(graph, {"x": x}).values()
    np.testing.assert_allclose(executable(x)[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("batch", [2, "N"])
def test_export_writes_the_three_nodes_that_import_raises_again(
    tmp_path: Path, batch: int | str
) -> None:
    after = lower(network(batch), "canonicalize")
    ic.export_onnx(after, tmp_path / "m.onnx")
    types = [node.op_type for node in onnx.load(tmp_path / "m.onnx").graph.node]
    assert [types.count(t) for t in ("Reshape", "Transpose", "ChannelShuffle")] == [2, 1, 0]
    again = lower(ic.load(tmp_path / "m.onnx"), "canonicalize")
    assert names(again) == names(after)


def test_a_size_that_is_not_known() -> None:
    text = """graph @g(%x: f32[N, 6, H, 3]) -> (%y: f32[N, 6, H, 3]) {
  %y = ChannelShuffle(%x) {group = 3} : f32[N, 6, H, 3]
}"""
    x = np.random.default_rng(5).standard_normal((2, 6, 4, 3)).astype(np.float32)
    for backend in ("numba_cpu", "onnx"):
        (y,) = ic.compile(parse(text), backend=backend)(x)
        np.testing.assert_array_equal(y, shuffled(x, 3))


# -- in blocks -------------------------------------------------------------------------------------

BLOCKS = f"canonicalize,fold,fuse{{pool=false}},canonicalize,pack{{block={lanes()}}}"


def unit(channels: int, group: int, reader: str) -> Graph:
    """A shuffle in blocks in front of what `reader` names."""
    b = Builder("unit", seed=3)
    x = b.input("x", (2, channels, 6, 6))
    y = b.relu(b.conv(x, channels, kernel=1, group=group))
    y = b.reshape(y, (0, group, channels // group, 6, 6))
    y = b.reshape(b.transpose(y, (0, 2, 1, 3, 4)), (0, channels, 6, 6))
    if reader == "chain":
        y = b.max_pool(b.sigmoid(b.depthwise_conv(y, kernel=3, pads=1)), 2)
        y = b.conv(y, channels, kernel=1, group=group)
    elif reader == "dense":
        y = b.conv(y, 7, kernel=3, pads=1)
    elif reader == "twice":
        z = b.reshape(y, (0, channels // group, group, 6, 6))
        z = b.reshape(b.transpose(z, (0, 2, 1, 3, 4)), (0, channels, 6, 6))
        y = b.conv(b.depthwise_conv(z, kernel=3), 8, kernel=1, group=2)
    elif reader == "sum":
        y = b.conv(b.depthwise_conv(y, kernel=1), channels, kernel=1) + y
    elif reader == "concat":
        y = b.conv(b.concat([b.conv(x, 5, kernel=1), y, b.conv(x, 3, kernel=1)]), 4, kernel=1)
    elif reader == "output":
        y = b.output(y) and b.conv(y, 4, kernel=1)
    b.output(y)
    return b.build()


FREE = {"chain": True, "dense": True, "twice": True, "sum": False, "concat": False, "output": False}


@pytest.mark.parametrize("reader", sorted(FREE))
@pytest.mark.parametrize(("channels", "group"), [(12, 3), (40, 4)])
def test_in_blocks_a_shuffle_is_free_where_its_readers_take_any_order(
    reader: str, channels: int, group: int
) -> None:
    graph = unit(channels, group, reader)
    executable = ic.compile(graph, pipeline=BLOCKS, threads=2)
    kernels = {n.kernel for n in executable.report.nodes if n.op == "ChannelShuffle"}
    copied = {"copy_channels", "clear_halo+copy_channels"}
    assert kernels
    assert kernels <= ({"view"} if FREE[reader] else copied)
    x = np.random.default_rng(6).standard_normal((2, channels, 6, 6)).astype(np.float32)
    for found, expected in zip(executable(x), interpret(graph, {"x": x}).values(), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
