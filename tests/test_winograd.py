"""Winograd's convolution: its matrices, its errors, the choice of tiles, its kernels on blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import product

import numpy as np
import pytest

import irconv as ic
from irconv.backends.numba_cpu import native, slots
from irconv.backends.numba_cpu.binders.convolution import pool_window
from irconv.backends.numba_cpu.binders.epilogue import epilogue
from irconv.backends.numba_cpu.blocked.tile import lanes
from irconv.backends.numba_cpu.blocked.winograd import winograd
from irconv.backends.numba_cpu.launch import Launch
from irconv.conv_costs import MACHINE, Form, Prediction, direct, predictions
from irconv.errors import GraphError, PassError, PipelineError
from irconv.geometry import ConvGeometry
from irconv.graph import Graph
from irconv.interpret import interpret
from irconv.op import Op
from irconv.ops.activation import LeakyRelu, Relu, Swish
from irconv.ops.conv import Conv
from irconv.ops.fused import Clamp, FusedConv
from irconv.ops.pool import AveragePool, MaxPool
from irconv.ops.winograd import WinogradConv
from irconv.passes.winograd import choose
from irconv.pipeline import Stage, lower
from irconv.text import parse
from irconv.types import Array, TensorType
from irconv.winograd import convolve, input_line, matrices, output_line, weight_transform
from tests.blocked_cases import CANARY, guarded, operand, result

TILES = (2, 4)
FORMS: tuple[Form, ...] = ("fused", "phased")
BOUND = 2e-6  # of the largest sum|x||w|: ARCHITECTURE.md, Numbers
PADS = (1, 1, 1, 1)


# -- the algorithm ---------------------------------------------------------------------------------


@pytest.mark.parametrize("tile", TILES)
def test_the_matrices_give_the_convolution_exactly(tile: int) -> None:
    """On all pairs of unit vectors, which proves it: convolution is bilinear."""
    m = matrices(tile)
    for tap, pixel in product(range(3), range(tile + 2)):
        products = [g[tap] * b[pixel] for g, b in zip(m.weights, m.input, strict=True)]
        found = [sum(a * p for a, p in zip(row, products, strict=True)) for row in m.output]
        assert found == [Fraction(pixel == y + tap) for y in range(tile)]


@pytest.mark.parametrize("tile", TILES)
def test_the_lines_are_the_matrices(tile: int) -> None:
    def fma(scale: float, a: Fraction, b: Fraction) -> Fraction:
        return Fraction(scale) * a + b

    for pixel in range(tile + 2):
        unit = [Fraction(pixel == i) for i in range(tile + 2)]
        m = matrices(tile)
        assert list(input_line(tile, unit, fma)) == [row[pixel] for row in m.input]
        assert list(output_line(tile, unit, fma)) == [row[pixel] for row in m.output]


def test_the_points_are_those_of_small_errors() -> None:
    assert matrices(4).input[0] == tuple(map(Fraction, ("1", "-3/2", "-2", "3/2", "1", "0")))
    assert matrices(4).weights[4] == (Fraction(1, 15), Fraction(-2, 15), Fraction(4, 15))


def test_weights_are_rounded_once() -> None:
    w = np.random.default_rng(0).standard_normal((3, 2, 3, 3)).astype(np.float32)
    exact = weight_transform(w.astype(np.float64), 4)
    assert weight_transform(w, 4).dtype == np.float32
    np.testing.assert_array_equal(weight_transform(w, 4), exact.astype(np.float32))


# -- the op ----------------------------------------------------------------------------------------

ENDINGS: list[tuple[Op | None, Op | None]] = [
    (None, None),
    (Relu(), MaxPool((2, 2), strides=(2, 2))),
    (Swish(), AveragePool((3, 3), strides=(2, 2), pads=PADS)),
]


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize(("activation", "pool"), ENDINGS)
@pytest.mark.parametrize("image", [(7, 9), (1, 1), (8, 4), (3, 5)])
def test_the_op_is_the_fused_convolution(
    tile: int, activation: Op | None, pool: Op | None, image: tuple[int, int]
) -> None:
    rng = np.random.default_rng(1)
    pads = (1, 2, 3, 1)
    plain = FusedConv((3, 3), pads=pads, activation=activation, pool=pool)
    op = WinogradConv((3, 3), pads=pads, activation=activation, pool=pool, tile=tile)
    assert op.direct == plain
    x, w, b = (rng.standard_normal(s) for s in ((2, 5, *image), (6, 5, 3, 3), (6,)))
    r = rng.standard_normal((2, 6, image[0] + 2, image[1] + 1))
    (found,), (expected,) = op.run([x, w, b, r]), plain.run([x, w, b, r])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * np.abs(expected).max())
    half = [a.astype(np.float16) for a in (x, w, b, r)]
    assert op.run(half)[0].dtype == np.float16


def test_the_op_refuses_what_has_no_such_form() -> None:
    for wrong in ({"tile": 3}, {"strides": (2, 1)}, {"dilations": (2, 2)}, {"group": 2}):
        with pytest.raises(GraphError, match="WinogradConv"):
            WinogradConv((3, 3), **wrong)  # type: ignore[arg-type]
    with pytest.raises(GraphError, match="not a convolution that has this form"):
        WinogradConv((3, 5))
    types = [TensorType("i32", s) for s in ((1, 4, 5, 5), (4, 4, 3, 3))]
    with pytest.raises(GraphError, match="element type"):
        WinogradConv((3, 3)).infer(types, [None, None])


def one_layer(op: Op, x: Array, w: Array, *rest: Array) -> Graph:
    graph = Graph("layer")
    value = graph.add_input("x", TensorType(x.dtype, x.shape))
    parameters = [graph.add_parameter(f"p{i}", p) for i, p in enumerate((w, *rest))]
    graph.set_outputs([graph.add_node(op, [value, *parameters], ["y"]).result])
    return graph


def layer_data(channels: int = 16, size: int = 9) -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(2)
    shapes = ((1, channels, size, size), (16, channels, 3, 3), (16,))
    x, w, b = (rng.standard_normal(s).astype(np.float32) for s in shapes)
    return x, w, b


def test_a_listing_says_the_tile_and_reads_back() -> None:
    x, w, b = layer_data()
    for tile in TILES:
        graph = one_layer(WinogradConv((3, 3), activation=Relu(), tile=tile), x, w, b)
        assert f"activation = Relu, tile = {tile}}}" in str(graph)
        arrays = {v.digest: v.array for v in graph.parameters.values() if v.array is not None}
        assert parse(str(graph), arrays) == graph


@pytest.mark.parametrize("backend", ["numba_cpu", "onnx"])
@pytest.mark.parametrize("pipeline", ["", "im2col", "conv_matrix", "pack"])
def test_every_backend_runs_it(backend: str, pipeline: str) -> None:
    x, w, b = layer_data()
    op = WinogradConv((3, 3), pads=PADS, activation=Relu())
    graph = one_layer(op, x, w, b)
    (expected,) = op.direct.run([a.astype(np.float64) for a in (x, w, b)])
    (found,) = ic.compile(graph, backend=backend, pipeline=pipeline)(x)
    assert np.abs(found - expected).max() <= 2e-5 * np.abs(expected).max()


def test_lowerings_leave_it_with_a_remark() -> None:
    x, w, _ = layer_data()
    for name in ("im2col", "conv_matrix"):
        stages: list[Stage] = []
        lower(one_layer(WinogradConv((3, 3)), x, w), name, stages.append)
        (remark,) = stages[0].remarks
        assert remark.condition == "it is computed by Winograd's transforms already"
        assert not stages[0].changed


# -- errors ----------------------------------------------------------------------------------------


def smooth(channels: int, size: int) -> Array:
    """A picture without edges: an edge filter of it cancels."""
    place = np.mgrid[0:size, 0:size] / size
    waves = [np.cos(place[0] * (c % 5 + 1) / 3 + c) + place[1] * (c % 3) for c in range(channels)]
    return np.stack(waves)[None] + 1.5


def data(kind: str, channels: int, size: int) -> tuple[Array, Array]:
    """An image and weights, as float32."""
    rng = np.random.default_rng(channels)
    x = rng.standard_normal((1, channels, size, size))
    w = rng.standard_normal((32, channels, 3, 3))
    edge = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) * rng.uniform(
        0.5, 1, (32, channels, 1, 1)
    )
    tap = np.zeros((3, 3))
    tap[2, 2] = 1
    found = {
        "normal": (x, w),
        "positive": (np.abs(x), np.abs(w)),
        "activated": (np.maximum(x, 0), w),
        "smooth, edges": (smooth(channels, size), edge),
        "sparse": (x * (rng.random(x.shape) < 0.02), w),
        "signs": (1.1 * np.sign(x), 0.7 * np.sign(w)),
        "last tap": (np.abs(x), np.abs(w) * tap),
        "step": (np.where(smooth(channels, size) > 2, 1.37, 1e-3), edge),
    }[kind]
    return found[0].astype(np.float32), found[1].astype(np.float32)


KINDS = (
    *("normal", "positive", "activated", "smooth, edges", "sparse", "signs", "last tap", "step"),
)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [16, 64, 512])
def test_errors_stay_within_the_bound(kind: str, channels: int) -> None:
    x, w = data(kind, channels, 14)
    expected, most = exact(x, w)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    for tile in TILES:
        found = {"interpreter": convolve(padded, w, tile)}
        for form in FORMS:
            found[form] = run_blocked(Case(x, w, tile=tile, form=form))
        for name, y in found.items():
            error = np.abs(y - expected).max() / most
            assert error <= BOUND, (name, tile, error)
            if kind in ("normal", "activated"):
                assert np.abs(y - expected).max() <= 2e-5 * np.abs(expected).max()


def exact(x: Array, w: Array) -> tuple[Array, float]:
    """The convolution in float64, and the largest sum of absolute products."""
    op = Conv((3, 3), pads=PADS)
    wide = [a.astype(np.float64) for a in (x, w)]
    return op.run(wide)[0], float(op.run([np.abs(a) for a in wide])[0].max())


# -- the kernels -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A layer on blocks, how it lies in memory, and how it is computed."""

    x: Array
    w: Array
    b: Array | None = None
    r: Array | None = None
    pads: tuple[int, ...] = PADS
    activation: Op | None = None
    pool: Op | None = None
    tile: int = 4
    form: Form = "fused"
    halo: tuple[int, ...] = PADS
    parts: int = 1

    @property
    def op(self) -> WinogradConv:
        window = ((3, 3), (), self.pads)
        return WinogradConv(*window, activation=self.activation, pool=self.pool, tile=self.tile)

    @property
    def geometry(self) -> ConvGeometry:
        return self.op.conv_geometry(TensorType("f32", self.x.shape), self.w.shape[0], 1)


def run_launches(launches: Sequence[Launch], parts: int) -> None:
    """Runs launches between guard zones; their scratch is one, NaN beforehand, as in the arena."""
    count = max(launch.step.scratch_bytes for launch in launches) // 4
    space, scratch = guarded((count,), CANARY)
    scratch[...] = np.nan
    for launch in launches:
        row = launch.step.bind()
        for word, source in launch.sources.items():
            assert isinstance(source, np.ndarray)
            row[word] = source.ctypes.data + launch.offsets.get(word, 0)
        if launch.scratch_place is not None:
            row[launch.scratch_place] = scratch.ctypes.data
        for part in range(parts):
            native.run(int(row[0]), row, part, parts)
    scratch[...] = CANARY
    assert (space == CANARY).all(), "written outside the scratch"


def run_blocked(case: Case) -> Array:
    """The result of the kernels, after checking between guard zones what they wrote."""
    x = operand(case.x, lanes(), case.halo, around=0, extra=(1, 1))
    geometry = case.geometry
    held = (case.x.shape[0], case.w.shape[0], *geometry.out)
    window = pool_window(case.pool, geometry.out) if case.pool is not None else None
    shape = held if window is None else (*held[:2], *window.out)
    y = result(shape, lanes(), (1, 0, 2, 1), extra=(0, 1))
    r = operand(case.r, lanes(), (0, 2, 0, 1)) if case.r is not None else None
    ending = epilogue(case.activation)
    assert ending is not None
    launches = winograd(
        x.blocked,
        y.blocked,
        geometry,
        case.tile,
        case.w,
        case.b,
        r.blocked if r is not None else None,
        ending,
        window,
        case.parts,
        case.form,
    )
    assert launches is not None
    run_launches(launches, case.parts)
    y.check_written(halo=0)
    return y.load()


def random_case(channels: tuple[int, int], image: tuple[int, int], images: int = 1) -> Case:
    rng = np.random.default_rng(sum(channels) + sum(image))
    x = rng.standard_normal((images, channels[0], *image)).astype(np.float32)
    w = rng.standard_normal((channels[1], channels[0], 3, 3)).astype(np.float32)
    return Case(x, w, rng.standard_normal(channels[1]).astype(np.float32))


def with_residual(case: Case) -> Case:
    rng = np.random.default_rng(5)
    shape = (case.x.shape[0], case.w.shape[0], *case.geometry.out)
    return replace(case, r=rng.standard_normal(shape).astype(np.float32))


def check(case: Case) -> None:
    operands = [case.x, case.w, case.b, case.r]
    wide = [a.astype(np.float64) if a is not None else None for a in operands]
    plain = replace(case.op.direct, pool=None, activation=None)
    most = plain.run([np.abs(a) if a is not None else None for a in wide])[0].max()
    (expected,) = case.op.direct.run(wide)
    for tile, form in product(TILES, FORMS):
        found = run_blocked(replace(case, tile=tile, form=form))
        error = np.abs(found - expected).max() / most
        assert error <= BOUND, (tile, form, error)


LAYERS = [
    random_case((16, 16), (4, 4)),
    random_case((33, 48), (9, 11), 2),  # three blocks of channels, the last of x half empty
    random_case((64, 80), (14, 14)),  # an odd number of blocks
    random_case((20, 21), (7, 7), 3),
    random_case((16, 40), (1, 1)),
    random_case((17, 16), (30, 2)),
    random_case((32, 32), (40, 41)),  # several blocks of tiles for each part
]


@pytest.mark.parametrize("case", LAYERS, ids=lambda c: "x".join(map(str, c.x.shape)))
def test_layers_on_blocks(case: Case) -> None:
    check(case)
    check(replace(with_residual(case), activation=Relu(), parts=2))


@pytest.mark.parametrize("parts", [1, 3, 5])
@pytest.mark.parametrize("activation", [None, Relu(), Clamp(-0.5, 0.75), LeakyRelu(0.1), Swish()])
def test_endings_and_parts(activation: Op | None, parts: int) -> None:
    case = with_residual(random_case((16, 32), (13, 10)))
    check(replace(case, activation=activation, parts=parts, b=None))


@pytest.mark.parametrize("image", [(8, 8), (13, 10), (9, 7), (2, 3)])
@pytest.mark.parametrize(
    "pool", [MaxPool((2, 2), strides=(2, 2)), AveragePool((2, 2), strides=(2, 2))]
)
def test_pools_within_tiles(pool: Op, image: tuple[int, int]) -> None:
    check(replace(random_case((16, 32), image), pool=pool, activation=Relu(), parts=2))
    check(replace(with_residual(random_case((16, 16), image)), pool=pool))


HALOS = [((1, 1, 1, 1), (0, 0, 0, 0)), ((0, 0, 0, 0), (2, 0, 1, 3)), ((2, 3, 1, 2), (0, 1, 1, 0))]


@pytest.mark.parametrize(("pads", "halo"), HALOS)
def test_any_padding_and_any_halo(pads: tuple[int, ...], halo: tuple[int, ...]) -> None:
    check(replace(random_case((16, 16), (10, 9), 2), pads=pads, halo=halo, parts=2))


def test_a_nan_spreads_over_its_tile_and_no_further() -> None:
    case = random_case((16, 16), (12, 12))
    x = case.x.copy()
    x[0, 3, 5, 6] = np.nan
    for tile, form in product(TILES, FORMS):
        found = run_blocked(replace(case, x=x, tile=tile, form=form, activation=Relu()))
        seen = np.isnan(found[0]).all(0)
        assert np.array_equal(seen, np.isnan(found[0]).any(0))
        assert seen[4:7, 5:8].all()
        rows, columns = np.nonzero(seen)
        assert rows.min() >= 4 - tile
        assert rows.max() < 7 + tile
        assert columns.min() >= 5 - tile
        assert columns.max() < 8 + tile


def test_pools_that_tiles_cannot_do_are_refused() -> None:
    case = random_case((16, 16), (9, 9))
    x = operand(case.x, lanes(), PADS)
    y = result((1, 16, 4, 4), lanes(), PADS)
    pools: list[tuple[Op, Op | None]] = [
        (MaxPool((3, 3), strides=(2, 2)), None),
        (MaxPool((2, 2), strides=(2, 2), pads=(1, 0, 0, 0)), None),
        (MaxPool((2, 2), strides=(2, 2), ceil_mode=1), None),
        (MaxPool((2, 2), strides=(2, 2)), Swish()),
    ]
    for pool, activation in pools:
        window, ending = pool_window(pool, (9, 9)), epilogue(activation)
        assert ending is not None
        operands = (x.blocked, y.blocked, case.geometry, 4, case.w, None, None)
        assert winograd(*operands, ending, window) is None
    small = result((1, 16, 9, 9), lanes() // 2, PADS)
    assert winograd(x.blocked, small.blocked, case.geometry, 4, case.w) is None
    assert pool_window(MaxPool((2, 2), strides=(2, 2)), (9, 9)).kind == slots.MAX


# -- costs and the pass ----------------------------------------------------------------------------


def layer(channels: int, size: int, out: int | None = None) -> ConvGeometry:
    ones = (1, 1)
    return ConvGeometry(channels, out or channels, (size, size), (3, 3), ones, PADS, ones)


def seconds(channels: int, size: int, threads: int = 1) -> dict[int, float]:
    found = predictions(layer(channels, size), 1, threads)
    return {tile: prediction.seconds for tile, prediction in found.items()}


def test_the_model_knows_where_each_tile_wins() -> None:
    for channels, size in ((64, 224), (64, 56), (128, 28), (512, 28)):
        found = seconds(channels, size)
        assert found[4] < found[2] < found[0]
    few = seconds(512, 7)  # 37.7 MB of weights for 4 tiles
    assert few[2] < few[0] < few[4]
    tiny = seconds(16, 3)
    assert tiny[0] < min(tiny[2], tiny[4])


def test_the_model_counts_weights_threads_and_batches() -> None:
    found = predictions(layer(512, 28), 1, 1)
    assert [found[t].weight_bytes for t in (0, 2, 4)] == [4 * n * 512 * 512 for n in (9, 16, 36)]
    assert found[4].form == "phased"
    assert predictions(layer(64, 56), 1, 1)[4].form == "fused"
    for tile in (0, 2, 4):
        assert seconds(256, 14, 2)[tile] < seconds(256, 14)[tile]
        more = predictions(layer(256, 14), 8, 1)[tile].seconds
        assert 4 < more / seconds(256, 14)[tile] < 9
    # at the limit of the memory a second thread is of no use
    assert seconds(512, 7, 2)[4] > 0.9 * seconds(512, 7)[4]
    warm = predictions(layer(512, 7), 1, 1, resident=True)
    assert warm[4].seconds < seconds(512, 7)[4]
    flops = 2 * 9 * 512 * 512 * 28 * 28
    assert direct(layer(512, 28), 1, 1).seconds > flops / (MACHINE.peak * 1e9)


def chosen(graph: Graph, options: str = "") -> list[int]:
    after = lower(graph, f"winograd{{{options}}}" if options else "winograd")
    return [getattr(node.op, "tile", 0) for node in after if isinstance(node.op, Conv | FusedConv)]


def network(*layers: tuple[int, int]) -> Graph:
    graph = Graph("net")
    outputs = []
    for i, (channels, size) in enumerate(layers):
        x = graph.add_input(f"x{i}", TensorType("f32", (1, channels, size, size)))
        w = graph.add_parameter(f"w{i}", np.zeros((channels, channels, 3, 3), np.float32))
        outputs.append(graph.add_node(Conv((3, 3), pads=PADS), [x, w], [f"y{i}"]).result)
    graph.set_outputs(outputs)
    return graph


def costs(*layers: tuple[tuple[float, int], ...]) -> dict[str, dict[int, Prediction]]:
    """Layers by name: (seconds, bytes of weights) direct, of F(2, 3) and of F(4, 3)."""
    return {
        f"y{i}": {t: Prediction("direct", *row) for t, row in zip((0, 2, 4), rows, strict=True)}
        for i, rows in enumerate(layers)
    }


def test_the_budget_is_spent_where_it_gains_most() -> None:
    layers = costs(
        ((10.0, 100), (5.0, 180), (4.0, 400)),
        ((10.0, 100), (9.0, 180), (2.0, 400)),
        ((10.0, 100), (9.9, 180), (11.0, 400)),
    )
    expected = {600: (4, 4, 0), 599: (2, 4, 0), 380: (2, 4, 0), 379: (2, 2, 0), 159: (2, 0, 0)}
    for budget, tiles in expected.items():
        found, reasons = choose(layers, budget, {})
        assert tuple(found.values()) == tiles, budget
        assert "F(2, 3) 9900000.0 us" in reasons["y2"]
    assert reasons["y1"] == "its transformed weights take 80 bytes more, 79 of 159 are left"
    assert choose(layers, 379, {"y1": 4})[0] == {"y0": 0, "y1": 4, "y2": 0}


def test_the_budget_counts_the_weights_of_the_graph() -> None:
    """A layer of 16 channels has weights of 9216 bytes, 16384 as those of F(2, 3)."""
    graph = network((16, 24))
    assert chosen(graph, "budget=7168,growth=0.0") == [2]
    assert chosen(graph, "budget=7167,growth=0.0") == [0]
    assert chosen(graph, "budget=0,growth=0.78") == [2]
    assert chosen(graph, "budget=0,growth=0.77") == [0]


def test_a_large_growth_must_gain_a_tenth() -> None:
    found = predictions(layer(512, 14), 1, 2)
    assert found[4].seconds > 0.9 * found[2].seconds
    assert chosen(network((512, 14)), "threads=2,budget=160M") == [2]


def test_the_machine_is_an_option() -> None:
    assert chosen(network((512, 14)), "dram=1000.0,budget=160M") == [4]
    assert chosen(network((512, 14)), "dram=1.0") == [0]


def test_a_stated_choice_is_kept_and_can_be_changed() -> None:
    graph = network((16, 6), (16, 6), (16, 6))
    after = lower(graph, "winograd{tiles=024}")
    assert chosen(after, "tiles=024") == [0, 2, 4]
    assert chosen(after, "tiles=402") == [4, 0, 2]
    assert lower(after, "winograd{tiles=000}").node("y1").op == FusedConv((3, 3), pads=PADS)
    with pytest.raises(PassError, match="3 characters, one for each convolution"):
        lower(graph, "winograd{tiles=02}")
    with pytest.raises(PipelineError, match="wrong tiles"):
        lower(graph, "winograd{tiles=023}")
    for wrong in ("threads=0", "peak=nan", "dram=-1.0", "budget=-1", "growth=-0.1", "l2=inf"):
        with pytest.raises(PipelineError, match="out of range"):
            lower(graph, f"winograd{{{wrong}}}")


def test_a_pool_that_tiles_cannot_do_becomes_a_node() -> None:
    x, w, b = layer_data(size=26)
    for pool, activation, within in (
        (MaxPool((2, 2), strides=(2, 2)), Relu(), True),
        (MaxPool((3, 3), strides=(2, 2)), Relu(), False),
        (AveragePool((2, 2), strides=(2, 2)), Swish(), False),
    ):
        graph = one_layer(FusedConv((3, 3), activation=activation, pool=pool), x, w, b)
        after = lower(graph, "winograd{tiles=4}")
        names = [node.op.name for node in after]
        assert names == ["WinogradConv"] + [pool.name] * (not within)
        found, expected = (interpret(g, {"x": x})["y"] for g in (after, graph))
        assert np.abs(found - expected).max() <= 2e-5 * np.abs(expected).max()
