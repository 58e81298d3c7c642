"""`--input NAME=FILE.npy`: arrays for a model's inputs, random where none is given."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from typing import Annotated

import numpy as np
import typer

from irconv.errors import InputError, printable
from irconv.graph import Graph
from irconv.inspector.samples import seeded_inputs
from irconv.registry import nearest
from irconv.types import Array

InputFiles = Annotated[
    list[str] | None,
    typer.Option("--input", "-i", metavar="NAME=FILE.npy", help="An input; random otherwise."),
]


def read_inputs(graph: Graph, files: Sequence[str], seed: int) -> dict[str, Array]:
    """An array for each input of `graph`: from the files, else random; raises InputError."""
    names = [v.name for v in graph.inputs]
    given: dict[str, Array] = {}
    for item in files:
        name, equals, file = item.partition("=")
        if not equals:
            raise InputError("wrong --input", expected="NAME=FILE.npy", got=printable(item))
        if name not in names:
            raise InputError(f"no input is called {printable(name)}", hint=nearest(name, names))
        given[name] = _read_array(file)
    sizes = {
        str(dim): size
        for v in graph.inputs
        if v.name in given
        for dim, size in zip(v.shape, given[v.name].shape, strict=False)
        if not isinstance(dim, int)
    }
    return seeded_inputs(graph, seed, sizes) | given


def _read_array(file: str) -> Array:
    try:
        array = np.load(file, allow_pickle=False)
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError("not a .npy file", where=printable(file), got=printable(error)) from error
    if not isinstance(array, np.ndarray):
        raise InputError("not a .npy file", where=printable(file), got="an archive of arrays")
    return array
