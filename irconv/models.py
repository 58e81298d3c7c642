"""Finds the model that a command names: `zoo:NAME`, `light:NAME`, or a path."""

from __future__ import annotations

from irconv.errors import ModelError, printable
from irconv.graph import Graph
from irconv.light_models import LIGHT_MODELS, load_light
from irconv.onnx_import import load
from irconv.registry import nearest
from irconv.zoo import digits, networks

TRAINED = "digits"


def resolve_model(
    spec: str, batch: int | str | None = None, random_weights: int | None = None
) -> Graph:
    """The graph that `spec` names; raises ModelError with the nearest names where there is none.

    A path is that of an `.onnx` or `.ir` file. `random_weights` is a seed: it replaces the constant
    weights of a light model, and chooses those of a network of the zoo. A file has its own.
    """
    kind, colon, name = spec.partition(":")
    if spec == f"zoo:{TRAINED}":
        return _trained(batch, random_weights)
    if colon and kind == "zoo":
        return _zoo(name, batch, random_weights)
    if colon and kind == "light":
        return load_light(name, random_weights, batch)
    if random_weights is not None:
        raise ModelError(
            "random weights are for light: and zoo: models",
            got=printable(spec),
            hint="a file has weights of its own",
        )
    return load(spec, batch)


def _trained(batch: int | str | None, seed: int | None) -> Graph:
    if seed is not None:
        raise ModelError(
            "no random weights for this network",
            got=f"zoo:{TRAINED}",
            hint="it is trained; the others of the zoo take them",
        )
    return digits() if batch is None else digits(batch)


def _zoo(name: str, batch: int | str | None, seed: int | None) -> Graph:
    known = networks()
    if name not in known:
        raise ModelError(
            "no such network in the zoo",
            got=printable(name),
            hint=nearest(name[:60], [*known, TRAINED]),
        )
    chosen: dict[str, int | str] = {}
    if batch is not None:
        chosen["batch"] = batch
    if seed is not None:
        chosen["seed"] = seed
    return known[name](**chosen)


def model_specs() -> tuple[str, ...]:
    """All names that need no file: `zoo:resnet50`, `light:vgg19`, ..."""
    return (*(f"zoo:{n}" for n in (*networks(), TRAINED)), *(f"light:{n}" for n in LIGHT_MODELS))
