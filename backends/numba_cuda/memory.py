"""Buffers on the device: one arena, inputs, outputs, and weights that are copied once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from irconv.backends.numba_cuda.device import cuda
from irconv.backends.numba_cuda.launch import Argument, sizes
from irconv.graph import Graph, Value
from irconv.interpret import content
from irconv.memory_plan import lifetimes, plan_memory
from irconv.types import AnyDType, Array, TensorType

# no buffer is smaller: an empty one cannot be allocated, nor seen as a wider type
LEAST = 16


class Buffers:
    """The bytes on the device of every dense value of known sizes that kernels touch.

    `owners` maps a view to the value whose buffer it is. The arena is planned by `plan_memory`;
    inputs and outputs have buffers of their own.
    """

    def __init__(self, graph: Graph, owners: Mapping[Value, Value]) -> None:
        self.owners = owners
        planned = plan_memory(lifetimes(graph, owners))
        self.offsets, self.arena_bytes = planned.offsets, planned.size
        self.weight_bytes = 0
        self._arena = _bytes(planned.size + LEAST)
        self._uploaded: dict[tuple[Any, ...], Any] = {}
        ends = (*graph.inputs, *(self.owner(v) for v in graph.outputs))
        self._ends = {v: _bytes(nbytes(v)) for v in ends if is_static(v) and not v.is_parameter}

    def owner(self, value: Value) -> Value:
        """The value whose buffer holds `value`."""
        return self.owners.get(value, value)

    def array(self, argument: Argument) -> Any:
        """The flat device array that a kernel gets for an argument with a value."""
        value = argument.value
        assert value is not None
        count = max(1, nbytes(value) // argument.dtype.itemsize)
        return self._find(value)[: count * argument.dtype.itemsize].view(argument.dtype)

    def upload(self, value: Value, array: Array) -> None:
        """Copies a host array of the value's type into its buffer."""
        if array.size:
            data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
            self._find(value)[: data.size].copy_to_device(data)

    def download(self, value: Value) -> Array:
        """A fresh host array with the content of a value's buffer."""
        shape, dtype = sizes(value), value.tensor_type.dtype
        if not prod(shape):
            return np.empty(shape, dtype)
        data: Array = self._find(value)[: nbytes(value)].copy_to_host()
        return data.view(dtype).reshape(shape)

    def _find(self, value: Value) -> Any:
        owner = self.owner(value)
        if owner.is_parameter:
            return self._weights(content(owner))
        if owner in self._ends:
            return self._ends[owner]
        begin = self.offsets[owner]
        return self._arena[begin : begin + max(nbytes(owner), LEAST)]

    def _weights(self, array: Array) -> Any:
        """Parameters that share one array, as reshaped ones do, share one copy."""
        place = array.__array_interface__["data"][0]
        flat = array.flags.c_contiguous
        key = (place, array.nbytes) if flat else (place, array.shape, array.strides)
        if key not in self._uploaded:
            data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
            missing = max(0, LEAST - data.size)
            self._uploaded[key] = cuda.to_device(np.pad(data, (0, missing)) if missing else data)
            self.weight_bytes += array.nbytes
        return self._uploaded[key]


def is_static(value: Value) -> bool:
    """Whether a value is dense and all its sizes are known."""
    return isinstance(value.type, TensorType) and value.type.is_static


def nbytes(value: Value) -> int:
    """Bytes of a dense value of known sizes."""
    return prod(sizes(value)) * value.tensor_type.dtype.itemsize


def _bytes(count: int) -> Any:
    return cuda.device_array(max(count, LEAST), np.uint8)


def rows_on_device(rows: Sequence[Sequence[float]], dtype: AnyDType) -> list[Any]:
    """One device array for each row, all of them parts of one copy."""
    if not rows:
        return []
    whole = cuda.to_device(np.concatenate([np.asarray(row, dtype) for row in rows]))
    ends = np.cumsum([len(row) for row in rows]).tolist()
    return [whole[end - len(row) : end] for row, end in zip(rows, ends, strict=True)]
