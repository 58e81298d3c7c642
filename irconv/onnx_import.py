"""Reads a model into a graph: the gate that hostile files meet."""

from __future__ import annotations

import io
import logging
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from irconv.errors import IrconvError, ModelError, printable
from irconv.graph import Graph, Value
from irconv.ir_files import load_ir
from irconv.onnx_reader import raising_pointwise, raising_shape, raising_window
from irconv.onnx_reader.check import check_structure
from irconv.onnx_reader.proto import model_bytes, read_model
from irconv.onnx_reader.raising import raise_node
from irconv.onnx_reader.rebatch import Rebatch, bind_batch
from irconv.onnx_reader.records import Budgets, ModelRecord, NodeRecord, Problems
from irconv.onnx_reader.schema import check_node
from irconv.onnx_reader.site import Names, Site
from irconv.onnx_reader.wire import Stream
from irconv.shape_contents import ShapeContents
from irconv.types import Array, TensorType

# imported for the rules that they register
RULE_FILES = (raising_pointwise, raising_shape, raising_window)

_log = logging.getLogger("irconv")
_MAGIC = {
    b"\x1f\x8b": "a gzip file: unpack it first",
    b"PK": "a zip file: unpack it first",
    b"\x89PNG": "a PNG image",
    b"<": "a web page or XML",
    b"\xff\xd8": "a JPEG image",
    b"{": "JSON text",
}


def load(
    source: str | os.PathLike[str] | bytes | Any,
    batch: int | str | None = None,
    *,
    budgets: Budgets | None = None,
) -> Graph:
    """The graph of a model.

    `source` is the path of an `.onnx` or `.ir` file, the bytes of an ONNX file, or an
    onnx.ModelProto. Every node is raised to the newest meaning of its operator. `batch` gives the
    first size of all inputs anew: a number, or a name for any; where the file has a fixed batch,
    the shapes that were computed from it are changed too. Raises ModelError, telling up to twenty
    faults, for whatever it does not take; nothing is allocated from a size that was not checked.
    """
    budgets = budgets or Budgets()
    if isinstance(source, (str, os.PathLike)):
        path = _checked_path(source)
        if path.suffix == ".ir":
            return bind_batch(load_ir(path), batch)
        with path.open("rb") as file:
            size = _file_size(file, path, budgets)
            record = _read(file, size, path, budgets)
    else:
        data = source if isinstance(source, bytes) else model_bytes(source)
        record = _read(io.BytesIO(data), len(data), None, budgets)
    return graph_of(record, batch, budgets)


def _checked_path(source: str | os.PathLike[str]) -> Path:
    text = os.fspath(source)
    if "://" in text:
        raise ModelError("irconv uses no network", expected="a path", got=printable(text))
    if "\0" in text:
        raise ModelError("not a path", got=printable(text))
    path = Path(text)
    try:
        mode = path.stat().st_mode
    except OSError as error:
        named = text.startswith(("zoo:", "light:"))
        hint = "irconv.models.resolve_model takes such names" if named else None
        raise ModelError(
            f"cannot read the file: {error.strerror}", where=printable(text), hint=hint
        ) from None
    if not stat.S_ISREG(mode):
        raise ModelError(
            "not a regular file",
            where=printable(text),
            got="a folder" if stat.S_ISDIR(mode) else "a device or pipe",
        )
    return path


def _file_size(file: BinaryIO, path: Path, budgets: Budgets) -> int:
    about = os.fstat(file.fileno())
    if not stat.S_ISREG(about.st_mode):
        raise ModelError("not a regular file", where=printable(path))
    if about.st_size > budgets.file_bytes:
        raise ModelError(
            "the file is too large",
            where=printable(path),
            got=f"{about.st_size} bytes",
            expected=f"at most {budgets.file_bytes} bytes",
            hint="keep large weights as external data",
        )
    return about.st_size


def _read(file: BinaryIO, size: int, path: Path | None, budgets: Budgets) -> ModelRecord:
    problems = Problems()
    name = None if path is None else printable(path)
    folder = None if path is None else path.parent
    if not size:
        raise ModelError("the file is empty", where=name, expected="an ONNX model")
    start = file.read(4)
    file.seek(0)
    try:
        record = read_model(Stream(file, size), folder, budgets, problems)
    except ModelError as error:
        found = next((what for magic, what in _MAGIC.items() if start.startswith(magic)), None)
        raise ModelError(
            f"not an ONNX model: {error.what}",
            where=": ".join(filter(None, (name, error.where))),
            expected=error.expected,
            got=error.got,
            hint=f"this is {found}" if found else error.hint,
        ) from None
    except OSError as error:
        raise ModelError(f"cannot read the file: {error.strerror}") from None
    check_structure(record, budgets, problems)
    return record


def graph_of(record: ModelRecord, batch: int | str | None, budgets: Budgets) -> Graph:
    """The graph of a model's records."""
    return _Importer(record, batch, budgets).graph_of()


class _Importer:
    def __init__(self, record: ModelRecord, batch: int | str | None, budgets: Budgets) -> None:
        self.record = record
        self.budgets = budgets
        self.problems = Problems()
        self.graph = Graph(record.name or "model")
        self.contents = ShapeContents(self.graph)
        self.rebatch = Rebatch.of(record.inputs, batch)
        self.names = Names(self.graph, _all_names(record))
        self.values: dict[str, Value] = {}
        self.broken: set[str] = set()

    def graph_of(self) -> Graph:
        for value in self.record.inputs:
            shape = self.rebatch.input_shape(value)
            self.values[value.name] = self.graph.add_input(
                value.name, TensorType(value.dtype, shape)
            )
        self._add_initializers()
        versions = [check_node(n, self.record.opsets, self.problems) for n in self.record.nodes]
        self.problems.stop()
        for node, found in zip(self.record.nodes, versions, strict=True):
            if found is not None:
                self._add(node, found.since_version)
        self.problems.stop()
        self.graph.set_outputs(self.values[v.name] for v in self.record.outputs)
        self.contents.sweep()
        self._drop_unused()
        return self.rebatch.finish(self.graph)

    def _add_initializers(self) -> None:
        for name, array in self.record.initializers.items():
            is_float = array.dtype.kind not in "iub" or array.dtype.itemsize == 0
            if is_float and array.dtype.kind == "f" and _has_odd(array):
                _log.warning("initializer %s holds NaN or infinity", printable(name))
            self.values[name] = self.graph.add_parameter(name, array, trainable=is_float)

    def _add(self, node: NodeRecord, version: int) -> None:
        if any(name in self.broken for name in node.inputs):
            self.broken |= set(node.outputs) - {""}
            return
        operands = [self.values[name] if name else None for name in node.inputs]
        site = Site(node, version, operands, self.names, self.contents, self.budgets)
        try:
            self.rebatch.before(site)
            raise_node(site)
            self.rebatch.after(site)
        except IrconvError as error:
            self._broke(node, error)
            return
        except Exception as error:  # noqa: BLE001 - the gate: told as the node's fault
            self._broke(node, ModelError(f"{type(error).__name__}: {printable(error)}"))
            return
        for name, value in zip(node.outputs, site.results or (), strict=False):
            if name:
                self.values[name] = value

    def _broke(self, node: NodeRecord, error: IrconvError) -> None:
        self.broken |= set(node.outputs) - {""}
        self.problems.add(
            error.what, where=node, expected=error.expected, got=error.got, hint=error.hint
        )

    def _drop_unused(self) -> None:
        """Constants that only said a shape, an axis or a count, and are now said otherwise."""
        for value in list(self.graph.parameters.values()):
            if not value.uses and not value.is_output:
                self.graph.remove_parameter(value)


def _all_names(record: ModelRecord) -> frozenset[str]:
    names = {o for n in record.nodes for o in n.outputs}
    return frozenset(names | set(record.initializers) | {v.name for v in record.inputs})


def _has_odd(array: Array) -> bool:
    with np.errstate(all="ignore"):
        # the sum is finite for nearly all weights, and needs no second array
        return not np.isfinite(array.sum()) and not bool(np.isfinite(array).all())
