"""The nine light models, with random weights, agree with onnxruntime on the very same network."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest

from irconv.errors import ModelError
from irconv.interpret import interpret
from irconv.light_models import LIGHT_MODELS, light_name, load_light, randomized_proto
from irconv.models import model_specs, resolve_model
from irconv.onnx_import import load
from irconv.types import Array
from irconv.verify import verify

# whole networks: the numbers policy
TOLERANCE = 1e-3
RNG = np.random.default_rng(7)
IMAGES = {
    "normal": RNG.standard_normal((2, 3, 224, 224)).astype(np.float32),
    "uniform": RNG.random((2, 3, 224, 224)).astype(np.float32),
}


def peer(model: Any, images: Array) -> list[Array]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 2
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name
    return [session.run(None, {name: image[None]})[0] for image in images]


@pytest.mark.parametrize("name", LIGHT_MODELS)
def test_random_weights_against_onnxruntime(name: str) -> None:
    model = randomized_proto(name, 0)
    graph = load(model)  # the weights are those of load_light, see below
    verify(graph)
    assert str(graph.inputs[0].type) == "f32[1, 3, 224, 224]"
    wanted = peer(model, np.concatenate(list(IMAGES.values())))
    stds: dict[str, float] = {}
    (found,) = interpret(
        graph,
        {graph.inputs[0].name: IMAGES["normal"][:1]},
        watch=lambda value, array: stds.__setitem__(value.name, float(array.std())),
    ).values()
    largest = np.abs(wanted[0]).max()
    assert np.abs(found - wanted[0]).max() <= TOLERANCE * largest
    for first, second in (wanted[:2], wanted[2:]):
        assert np.abs(first - second).max() >= 100 * TOLERANCE * np.abs(first).max()
    layers = [stds[n.name] for n in graph if n.op.name in {"Conv", "Gemm"}]
    assert min(layers) > 0.15
    assert max(layers) < 5
    if graph.nodes[-1].op.name == "Softmax":
        assert largest < 0.5


def test_the_same_seed_gives_the_same_weights() -> None:
    first, second, other = (load_light("squeezenet", seed) for seed in (1, 1, 2))
    assert first == second
    assert first != other
    assert load_light("squeezenet") == load_light("light_squeezenet.onnx")


@pytest.mark.parametrize(("name", "batch"), [("inception_v1", 2), ("shufflenet", "N")])
def test_another_batch_against_single_runs(name: str, batch: int | str) -> None:
    model = randomized_proto(name, 0)
    single, many = load(model), load(model, batch)
    verify(many)
    assert many.outputs[0].shape[0] == many.inputs[0].shape[0]
    images = IMAGES["normal"]
    (found,) = interpret(many, {many.inputs[0].name: images}).values()
    parts = [interpret(single, {single.inputs[0].name: i[None]}) for i in images]
    wanted = np.concatenate([next(iter(p.values())) for p in parts])
    assert np.abs(found - wanted).max() <= 1e-5 * np.abs(wanted).max()


def test_the_randomized_file_loads_back() -> None:
    again = load(randomized_proto("squeezenet", 0))
    graph = load_light("squeezenet", 0)
    for name, value in graph.parameters.items():
        np.testing.assert_array_equal(again.parameters[name].array, value.array)
    assert [n.op for n in again] == [n.op for n in graph]


@pytest.mark.parametrize("name", LIGHT_MODELS)
def test_every_light_model_takes_any_batch(name: str) -> None:
    for batch in (0, 5, "N"):
        graph = load_light(name, batch=batch)
        verify(graph)
        assert str(graph.inputs[0].type) == f"f32[{batch}, 3, 224, 224]"
        assert str(graph.outputs[0].type).startswith(f"f32[{batch}, 1000")


def test_names() -> None:
    for name in ("resnet50", "light_resnet50", "light:resnet50", "resnet", "ResNet-50"):
        assert light_name(name) == "resnet50"
    assert light_name("alexnet") == "bvlc_alexnet"
    with pytest.raises(ModelError, match="did you mean resnet50"):
        light_name("resnet51")


def test_models_by_name() -> None:
    assert resolve_model("light:squeezenet", batch=2).inputs[0].shape[0] == 2
    assert len(resolve_model("zoo:lenet5", batch="N", random_weights=3)) > 5
    with pytest.raises(ModelError, match=r"no such network in the zoo.*did you mean lenet5"):
        resolve_model("zoo:lenet")
    with pytest.raises(ModelError, match="no such light model"):
        resolve_model("light:nothing")
    with pytest.raises(ModelError, match="No such file"):
        resolve_model("nothing.onnx")
    with pytest.raises(ModelError, match="a file has weights of its own"):
        resolve_model("nothing.onnx", random_weights=1)
    assert "light:vgg19" in model_specs()
    assert "zoo:resnet50" in model_specs()
