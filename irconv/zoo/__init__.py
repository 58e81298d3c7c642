"""Networks from the literature, with random weights that keep activations at unit variance.

`digits`, the small network of the demo, is trained; it is not among `networks()`.
"""

from __future__ import annotations

from collections.abc import Callable

from irconv.graph import Graph
from irconv.zoo.alexnet import alexnet
from irconv.zoo.audio import m5
from irconv.zoo.digits import digits
from irconv.zoo.googlenet import googlenet
from irconv.zoo.lenet import lenet5
from irconv.zoo.mobilenet import mobilenet_v2
from irconv.zoo.resnet import resnet18, resnet50, resnet152
from irconv.zoo.squeezenet import squeezenet
from irconv.zoo.text import text_cnn
from irconv.zoo.vgg import vgg16, vgg19
from irconv.zoo.video import c3d

_FUNCTIONS: tuple[Callable[..., Graph], ...] = (
    lenet5,
    alexnet,
    vgg16,
    vgg19,
    resnet18,
    resnet50,
    resnet152,
    squeezenet,
    googlenet,
    mobilenet_v2,
    m5,
    text_cnn,
    c3d,
)

__all__ = [
    "networks",
    "lenet5",
    "alexnet",
    "vgg16",
    "vgg19",
    "resnet18",
    "resnet50",
    "resnet152",
    "squeezenet",
    "googlenet",
    "mobilenet_v2",
    "m5",
    "text_cnn",
    "c3d",
    "digits",
]


def networks() -> dict[str, Callable[..., Graph]]:
    """Every network by name; the first line of a function's docstring says what it is.

    Each takes `batch` (an integer, or a name such as "N"), `classes` and `seed`.
    """
    return {function.__name__: function for function in _FUNCTIONS}
