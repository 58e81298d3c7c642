"""irconv as an `onnx.backend.base.Backend`, so that ONNX's own test suite runs against it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx.backend.base import Backend, BackendRep, Device, DeviceType, namedtupledict

from irconv.errors import BackendError, InputError, IrconvError, printable
from irconv.executable import Executable, compile  # noqa: A004 - irconv's public name
from irconv.onnx_import import load
from irconv.registry import backends
from irconv.types import Array

# which backend runs a device of ONNX's
DEVICES = {DeviceType.CPU: "numba_cpu", DeviceType.CUDA: "numba_cuda"}
BY_NAME = ("CPU", "CUDA", "CUDA:0")


class IrconvRep(BackendRep):
    """A prepared model."""

    def __init__(self, executable: Executable) -> None:
        self.executable = executable

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Array, ...]:
        """The outputs, as a named tuple, from a sequence in the model's order or a dict by name."""
        executable = self.executable
        if not isinstance(inputs, Mapping):
            given = list(inputs) if isinstance(inputs, Sequence) else [inputs]
            if len(given) != len(executable.inputs):
                raise InputError(
                    "wrong number of inputs", expected=len(executable.inputs), got=len(given)
                )
            inputs = dict(zip(executable.inputs, given, strict=True))
        results = executable.run(inputs)
        names = list(results)
        outputs: tuple[Array, ...] = namedtupledict("Outputs", names)(*results.values())
        return outputs


class IrconvBackend(Backend):
    """Loads with `irconv.load` and compiles with irconv's default pipeline of the device."""

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> IrconvRep:
        """The model compiled for `device`; raises an IrconvError for what irconv refuses."""
        return IrconvRep(compile(load(model), backend=_backend_of(device)))

    @classmethod
    def run_node(
        cls,
        node: onnx.NodeProto,
        inputs: Any,
        device: str = "CPU",
        outputs_info: Sequence[tuple[np.dtype[Any], tuple[int, ...]]] | None = None,
        **kwargs: Any,
    ) -> tuple[Array, ...]:
        """Runs one node: a model is made of it, with inputs of the given arrays' types."""
        names = [name for name in node.input if name]
        arrays = [np.asarray(a) for a in inputs]
        graph = onnx.helper.make_graph(
            [node],
            "node",
            [_described(n, a) for n, a in zip(names, arrays, strict=True)],
            [onnx.ValueInfoProto(name=name) for name in node.output if name],
        )
        model = onnx.helper.make_model(graph)
        return cls.prepare(model, device, **kwargs).run(arrays)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Whether the backend of this device can run here."""
        try:
            name = _backend_of(device)
        except BackendError:
            return False
        return name in backends() and backends()[name]().unavailable() is None

    @classmethod
    def is_compatible(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> bool:
        """Whether irconv takes the model."""
        try:
            cls.prepare(model, device, **kwargs)
        except IrconvError:
            return False
        return True


def _backend_of(device: str) -> str:
    try:
        return DEVICES[Device(device).type]
    except (AttributeError, KeyError, ValueError) as error:
        raise BackendError(
            "unknown device", expected=" or ".join(BY_NAME), got=printable(device)
        ) from error


def _described(name: str, array: Array) -> onnx.ValueInfoProto:
    kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
    return onnx.helper.make_tensor_value_info(name, kind, array.shape)


prepare = IrconvBackend.prepare
run_model = IrconvBackend.run_model
run_node = IrconvBackend.run_node
supports_device = IrconvBackend.supports_device
is_compatible = IrconvBackend.is_compatible

__all__ = [
    "IrconvBackend",
    "IrconvRep",
    "is_compatible",
    "prepare",
    "run_model",
    "run_node",
    "supports_device",
]
