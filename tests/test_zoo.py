"""The zoo: sizes known from the literature, any batch, listings, and signals that stay alive."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from irconv import zoo
from irconv.demo_data import load_test_set, model_path
from irconv.dim import Dim, parse_dim
from irconv.errors import GraphError
from irconv.graph import Graph, Node, Value
from irconv.interpret import interpret
from irconv.models import model_specs, resolve_model
from irconv.onnx_import import load
from irconv.registry import first_sentence
from irconv.text import parse
from irconv.types import Array
from irconv.verify import verify

NETWORKS = sorted(zoo.networks())

# trainable parameters: as torchvision counts them, GoogLeNet as Caffe's bvlc_googlenet without its
# auxiliary classifiers, and the others by hand from their papers' tables
PARAMETERS = {
    "lenet5": 61_706,
    "alexnet": 61_100_840,
    "vgg16": 138_357_544,
    "vgg19": 143_667_240,
    "resnet18": 11_689_512,
    "resnet50": 25_557_032,
    "resnet152": 60_192_808,
    "squeezenet": 1_235_496,
    "googlenet": 6_998_552,
    "mobilenet_v2": 3_504_872,
    "m5": 559_114,
    "text_cnn": 3_360_902,
    "c3d": 79_991_015,
}

# multiply-adds of convolutions and dense layers for one image
MACS = {
    "lenet5": 416_520,
    "alexnet": 714_188_480,
    "vgg16": 15_470_264_320,
    "vgg19": 19_632_062_464,
    "resnet18": 1_814_073_344,
    "resnet50": 4_089_184_256,
    "resnet152": 11_513_626_624,
    "squeezenet": 349_151_936,
    "googlenet": 1_582_671_872,
    "mobilenet_v2": 300_774_272,
    "m5": 278_532_000 + 1_120,
    "text_cnn": 21_900_600,
    "c3d": 38_548_959_232,
}

# smaller inputs, where the usual ones take long to interpret
SMALL = {
    "alexnet": {"image": 96},
    "c3d": {"image": 32},
    "googlenet": {"image": 96},
    "resnet50": {"image": 96},
    "resnet152": {"image": 64},
    "vgg16": {"image": 64},
    "vgg19": {"image": 64},
}


@pytest.fixture(scope="module", params=NETWORKS)
def network(request: pytest.FixtureRequest) -> Graph:
    """A small network for two inputs, shared by tests, which leave it as it is."""
    name: str = request.param
    return zoo.networks()[name](batch=2, **SMALL.get(name, {}))


def multiply_adds(node: Node) -> Dim:
    types = [v.type if v is not None else None for v in node.operands]
    return node.op.cost(types, [v.type for v in node.results]).macs


def trained(graph: Graph) -> int:
    return sum(
        v.array.size for v in graph.parameters.values() if v.trainable and v.array is not None
    )


def test_the_zoo_is_listed() -> None:
    assert set(NETWORKS) == set(PARAMETERS)
    for name, function in zoo.networks().items():
        assert getattr(zoo, name) is function
        assert name in zoo.__all__
        assert first_sentence(function).endswith(".")
        options = inspect.signature(function).parameters
        assert list(options)[:3] == ["batch", "classes", "seed"]
        assert options["batch"].default == "N"


@pytest.mark.parametrize("name", NETWORKS)
def test_sizes_known_from_the_literature(name: str) -> None:
    g = zoo.networks()[name]()
    verify(g)
    assert trained(g) == PARAMETERS[name]
    total: Dim = 0
    for node in g:
        total = total + multiply_adds(node)
    assert total == parse_dim("N") * MACS[name]
    assert [v.name for v in g.outputs] == ["prob"]
    assert g.inputs[0].shape[0] == g.outputs[0].shape[0] == parse_dim("N")
    logits = g.node("prob").operands[0]
    assert logits is not None
    assert logits.name == "logits"


@pytest.mark.parametrize(
    "name", ["lenet5", "resnet18", "squeezenet", "mobilenet_v2", "m5", "text_cnn"]
)
def test_any_batch_and_any_number_of_classes(name: str) -> None:
    function = zoo.networks()[name]
    for batch in (1, 3, "M"):
        g = function(batch=batch, classes=7)
        expected = parse_dim(batch) if isinstance(batch, str) else batch
        assert g.outputs[0].shape == (expected, 7)
        assert g.inputs[0].shape[0] == expected


def test_the_listing_reads_back(network: Graph) -> None:
    back = parse(str(network))
    assert back == network
    assert str(back) == str(network)
    verify(back)


def test_the_seed_fixes_the_weights() -> None:
    assert zoo.resnet18(batch=2) == zoo.resnet18(batch=2)
    first, second = zoo.squeezenet(seed=0), zoo.squeezenet(seed=1)
    assert first != second
    weights = [g.parameters["conv1.weight"].array for g in (first, second)]
    assert not np.array_equal(*weights)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["normal", "unit"])
def test_signals_stay_alive(network: Graph, kind: str) -> None:
    """Outputs are spread, finite, not one-hot, and another input moves them.

    One tenth is what the numbers policy asks for: 100 times the tolerance of whole networks.
    """
    prob, logits, least, most = _outputs(network, _images(network, kind))
    assert 0.1 < np.std(logits) < 3
    assert prob.max() < 0.9
    assert prob.max() > 1.2 / prob.shape[1]
    for values in (prob, logits):
        assert np.abs(values[0] - values[1]).max() > 0.1 * np.abs(values).max()
    assert least > 0.1
    assert most < 30


def _images(g: Graph, kind: str) -> Array:
    draw, shape = np.random.default_rng(1), [int(str(d)) for d in g.inputs[0].shape]
    if g.inputs[0].tensor_type.dtype == np.int64:
        return draw.integers(0, 10_000, shape)
    return (
        draw.standard_normal(shape, np.float32)
        if kind == "normal"
        else draw.random(shape, np.float32)
    )


def _outputs(g: Graph, x: Array) -> tuple[Array, Array, float, float]:
    """prob, logits, and the least and greatest root mean square of all results of layers."""
    seen: dict[str, Array] = {}
    sizes = []

    def watch(value: Value, array: Array) -> None:
        if value.name == "logits":
            seen["logits"] = array
        elif value.producer is not None and value.producer.op.name in {"Conv", "Gemm"}:
            sizes.append(float(np.sqrt(np.mean(np.square(array)))))

    prob = interpret(g, {g.inputs[0].name: x}, watch=watch)["prob"]
    return prob, seen["logits"], min(sizes), max(sizes)


IMPOSSIBLE: dict[str, tuple[Callable[[], Any], str]] = {
    "too few pixels": (
        lambda: zoo.vgg16(image=16),
        r"%stage5\.max_pool1 = MaxPool\(.* at test_zoo",
    ),
    "a negative batch": (
        lambda: zoo.lenet5(batch=-2),
        r"%image at test_zoo\.py:\d+: a size is negative",
    ),
    "no classes": (lambda: zoo.lenet5(classes=0), r"%logits at test_zoo\.py:\d+: units is needed"),
    "a negative seed": (lambda: zoo.lenet5(seed=-1), "a seed is negative"),
}


@pytest.mark.parametrize(("call", "message"), IMPOSSIBLE.values(), ids=IMPOSSIBLE.keys())
def test_what_cannot_be_built_is_said_at_the_callers_line(
    call: Callable[[], Any], message: str
) -> None:
    with pytest.raises(GraphError, match=message):
        call()


def test_the_trained_network_is_that_of_the_demo() -> None:
    graph = zoo.digits()
    assert graph == load(model_path())
    assert "digits" in zoo.__all__
    assert "zoo:digits" in model_specs()
    assert resolve_model("zoo:digits") == graph
    assert resolve_model("zoo:digits", batch=3) == zoo.digits(3) == zoo.digits(batch=3)
    images, labels = load_test_set()
    prob = interpret(graph, {"image": images[:50].astype(np.float32)})["prob"]
    assert (prob.argmax(1) == labels[:50]).mean() > 0.97
