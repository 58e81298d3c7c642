"""The nine networks inside the installed onnx package, with random weights if wanted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from irconv.errors import ModelError, printable
from irconv.graph import Graph, Node, Value
from irconv.onnx_import import load
from irconv.registry import nearest
from irconv.types import Array

LIGHT_MODELS = (
    "bvlc_alexnet",
    "densenet121",
    "inception_v1",
    "inception_v2",
    "resnet50",
    "shufflenet",
    "squeezenet",
    "vgg19",
    "zfnet512",
)
ALIASES = {
    "alexnet": "bvlc_alexnet",
    "densenet": "densenet121",
    "googlenet": "inception_v1",
    "inception": "inception_v1",
    "resnet": "resnet50",
    "resnet-50": "resnet50",
    "vgg": "vgg19",
    "vgg-19": "vgg19",
    "zfnet": "zfnet512",
}

# images that the weights are scaled on: normal, uniform, normal
_IMAGES = 3


def light_name(name: str) -> str:
    """The name of a light model from any of its spellings; raises ModelError for another."""
    plain = name.removeprefix("light:").removeprefix("light_").removesuffix(".onnx").lower()
    plain = ALIASES.get(plain, plain)
    if plain not in LIGHT_MODELS:
        raise ModelError(
            "no such light model", got=printable(name), hint=nearest(plain[:60], list(LIGHT_MODELS))
        )
    return plain


def light_path(name: str) -> Path:
    """The file of a light model in the installed onnx package."""
    import onnx

    folder = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
    return folder / f"light_{light_name(name)}.onnx"


def load_light(
    name: str, random_weights: int | None = None, batch: int | str | None = None
) -> Graph:
    """One of the nine light models; their files hold constant weights.

    `random_weights` is a seed: all weights become random ones, scaled layer by layer on random
    images so that each layer's output has unit variance (Mishkin and Matas, "All you need is a good
    init", 2016).
    """
    graph = load(light_path(name), batch)
    if random_weights is not None:
        _take(graph, random_parameters(name, random_weights))
    return graph


def randomized_proto(name: str, seed: int) -> Any:
    """The onnx.ModelProto of a light model with the very weights of `load_light(name, seed)`.

    Its weights are initializers; it lists none among its inputs.
    """
    import onnx

    model = onnx.load(light_path(name))
    arrays = random_parameters(name, seed)
    graph = model.graph
    kept = [t for t in graph.initializer if t.name not in arrays]
    nodes = [n for n in graph.node if n.output[0] not in arrays]
    inputs = [v for v in graph.input if v.name == graph_input(graph)]
    for field, items in ((graph.initializer, kept), (graph.node, nodes), (graph.input, inputs)):
        items = [type(i).FromString(i.SerializeToString()) for i in items]
        del field[:]
        field.extend(items)
    graph.initializer.extend(onnx.numpy_helper.from_array(a, n) for n, a in arrays.items())
    used = {name for node in graph.node for name in node.input}
    shapes = [t for t in graph.initializer if t.name in used]
    del graph.initializer[:]
    graph.initializer.extend(shapes)
    model.ir_version = 4  # the first that takes initializers that are no inputs
    return model


def graph_input(graph: Any) -> str:
    """The name of the only input that has no initializer."""
    given = {t.name for t in graph.initializer}
    (name,) = (str(v.name) for v in graph.input if v.name not in given)
    return name


def _take(graph: Graph, arrays: dict[str, Array]) -> None:
    for name, array in arrays.items():
        value = graph.parameters[name]
        value.array = array
        value._digest = None


def random_parameters(name: str, seed: int) -> dict[str, Array]:
    """The random weights of a light model by name; the same for the same seed."""
    graph = load(light_path(name), batch="N")
    return _ScaledRun(graph, seed).parameters()


class _ScaledRun:
    """Runs a graph on random images, giving each layer its weights just before it runs."""

    def __init__(self, graph: Graph, seed: int) -> None:
        self.graph = graph
        self.rng = np.random.default_rng(seed)
        self.arrays: dict[str, Array] = {}
        self.alive: dict[Value, Array] = {}

    def parameters(self) -> dict[str, Array]:
        for value in self.graph.inputs:
            shape = [d if isinstance(d, int) else _IMAGES for d in value.shape]
            images = self.rng.standard_normal(shape, np.float32)
            images[1::2] = self.rng.random(images[1::2].shape, np.float32)
            self.alive[value] = images
        left = {v: len(v.uses) for v in self.graph.values}
        for node in self.graph:
            rule = _RULES.get(node.op.name, _ScaledRun.plain)
            self.alive.update(zip(node.results, rule(self, node), strict=True))
            for operand in (v for v in node.operands if v is not None):
                left[operand] -= 1
                if not left[operand]:
                    self.alive.pop(operand, None)
        return self.arrays

    def array(self, value: Value | None) -> Array | None:
        if value is None or value in self.alive:
            return None if value is None else self.alive[value]
        return self.arrays.get(value.name, value.array)

    def plain(self, node: Node) -> tuple[Array, ...]:
        return node.op.run([self.array(v) for v in node.operands])

    def draw(self, value: Value, std: float, mean: float = 0.0) -> Array:
        """Random content for a parameter."""
        shape = [int(d) for d in value.shape if isinstance(d, int)]
        array = self.rng.standard_normal(shape, np.float32)
        array *= np.float32(std)
        array += np.float32(mean)
        self.arrays[value.name] = array
        return array

    def layer(self, node: Node) -> tuple[Array, ...]:
        """A convolution or product: unit variance, and channels centred by the bias if any."""
        x, weight, bias = (node.operand(i) for i in range(3))
        root = _root(weight)
        if weight is None or root is None:
            return self.plain(node)
        w = self.draw(root, 1.0).reshape([int(d) for d in weight.shape if isinstance(d, int)])
        if x is self.graph.inputs[0]:
            # blind to a constant, so that the images' common brightness does not drown the rest
            w -= w.mean(tuple(range(2, w.ndim)), dtype=np.float32, keepdims=True)
        if self.is_last(node):
            self.blind_to_kinds(w, self.array(x))
        (y,) = node.op.run([self.array(x), w])
        std = np.float32(max(float(y.std()), 1e-6)) / np.float32(self.gain(node))
        w /= std
        y /= std
        if bias is not None:
            b = self.draw(bias, _SPREAD)
            axes = (0, *range(2, y.ndim))
            b -= y.mean(axes, dtype=np.float32)
            y += b.reshape(-1, *(1,) * (y.ndim - 2))
        return (y,)

    def is_last(self, node: Node) -> bool:
        return node.results[0].shape[1] == _CLASSES

    def gain(self, node: Node) -> float:
        """A last layer that is averaged is made louder: averages of images differ little."""
        is_averaged = len(node.results[0].shape) > 2 and node.results[0].shape[2] != 1
        return 3.0 if is_averaged and self.is_last(node) else 1.0

    def blind_to_kinds(self, w: Array, x: Array | None) -> None:
        """Takes from the last layer what tells the kinds of images apart: it hides the rest."""
        assert x is not None
        if x.ndim == 2 or x.shape[2:] == (1, 1):
            rows, features = w.reshape(len(w), -1), x.reshape(len(x), -1)
            kind = features[::2].mean(0) - features[1::2].mean(0)
            kind /= np.float32(max(float(np.linalg.norm(kind)), 1e-6))
            rows -= np.outer(rows @ kind, kind)

    def normalization(self, node: Node) -> tuple[Array, ...]:
        """Statistics of the data; a branch of a sum is scaled, so that its variance stays."""
        x, scale, bias, mean, var = (self.known(node, i) for i in range(5))
        data = self.array(x)
        assert data is not None
        axes = (0, *range(2, data.ndim))
        added = any(user.op.name in {"Sum", "Add"} for user in node.results[0].users)
        self.draw(scale, _SPREAD, 1 / np.sqrt(2) if added else 1.0)
        self.draw(bias, _SPREAD)
        self.arrays[mean.name] = data.mean(axes, dtype=np.float32)
        self.arrays[var.name] = data.var(axes, dtype=np.float32) + np.float32(1e-6)
        return self.plain(node)

    def known(self, node: Node, index: int) -> Value:
        value: Value | None = node.operand(index)
        assert value is not None
        return value

    def spread(self, node: Node) -> tuple[Array, ...]:
        """A vector per channel on its way to a product or a sum."""
        value = self.known(node, 0)
        if value.is_parameter and value.tensor_type.dtype.kind == "f":
            factor = any(user.op.name == "Mul" for user in node.results[0].users)
            self.draw(value, _SPREAD, 1.0 if factor else 0.0)
        return self.plain(node)


def _root(weight: Value | None) -> Value | None:
    """The parameter that a weight is, or is reshaped from."""
    if weight is None or weight.is_parameter or weight.producer is None:
        return weight
    source = weight.producer.operands[0]
    is_reshaped = (
        weight.producer.op.name == "Reshape" and source is not None and source.is_parameter
    )
    return source if is_reshaped else None


_CLASSES = 1000
# how much scales and biases differ from 1 and 0
_SPREAD = 0.1
_RULES: dict[str, Callable[[_ScaledRun, Node], tuple[Array, ...]]] = {
    "Conv": _ScaledRun.layer,
    "Gemm": _ScaledRun.layer,
    "BatchNormalization": _ScaledRun.normalization,
    "Unsqueeze": _ScaledRun.spread,
}
