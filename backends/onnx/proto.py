"""The protobuf of a model but for its big tensors, and the bytes of the file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import irconv
from irconv.backends.onnx.records import DOMAIN, OnnxFunction, OnnxGraph, OnnxNode, Reference
from irconv.dim import Expr
from irconv.errors import ExportError, printable
from irconv.onnx_reader.wire import BYTES, key, varint_bytes
from irconv.types import Array, TensorType, dtype_name

# a tensor of at least this many bytes is written straight from its array
BIG_BYTES = 1024
# protobuf cannot hold a message of 2 GiB; some room is left for what is not weights
FILE_LIMIT = (1 << 31) - (1 << 26)
# several elements share a byte: onnx packs them
_PACKED = frozenset({"i4", "u4", "i2", "u2", "f4e2m1"})
# the lowest IR version that knows the element type
_IR_OF_DTYPE = {
    **dict.fromkeys(("f8e4m3fn", "f8e4m3fnuz", "f8e5m2", "f8e5m2fnuz"), 9),
    **dict.fromkeys(("i4", "u4"), 10),
    "f4e2m1": 11,
    "f8e8m0": 12,
    "i2": 13,
    "u2": 13,
}
_ALIGNMENT = 64


@dataclass(frozen=True)
class Model:
    """A model to write: `proto` without the big tensors, and those as arrays, by name."""

    proto: Any
    big: Mapping[str, Array]

    @property
    def weight_bytes(self) -> int:
        """Bytes of the big tensors."""
        return sum(a.nbytes for a in self.big.values())


def model_of(graph: OnnxGraph) -> Model:
    """The model of an ONNX graph, all types filled in; ExportError if they do not infer."""
    import onnx

    big = {n: a for n, a in graph.initializers.items() if _is_big(a)}
    proto = onnx.ModelProto(
        ir_version=_ir_version(graph), producer_name="irconv", producer_version=irconv.__version__
    )
    proto.opset_import.append(onnx.helper.make_opsetid("", graph.opset))
    if graph.functions:
        proto.opset_import.append(onnx.helper.make_opsetid(DOMAIN, 1))
    proto.functions.extend(_function(f, graph.opset) for f in graph.functions)
    body = proto.graph
    body.name = graph.name
    body.node.extend(_node(n, n.outputs[0]) for n in graph.nodes)
    small = ((n, a) for n, a in graph.initializers.items() if n not in big)
    body.initializer.extend(onnx.numpy_helper.from_array(np.asarray(a), n) for n, a in small)
    body.input.extend(value_info(n, t) for n, t in graph.inputs)
    body.output.extend(value_info(n, t) for n, t in graph.outputs)
    outer = {n for n, _ in (*graph.inputs, *graph.outputs)}
    body.value_info.extend(value_info(n, t) for n, t in graph.values.items() if n not in outer)
    model = Model(proto, big)
    _fill_value_info(model)
    return model


def _is_big(array: Array) -> bool:
    return array.nbytes >= BIG_BYTES and dtype_name(array.dtype) not in _PACKED


def _ir_version(graph: OnnxGraph) -> int:
    import onnx

    types = [*(t for _, t in (*graph.inputs, *graph.outputs)), *graph.values.values()]
    dtypes = {t.dtype for t in types} | {a.dtype for a in graph.initializers.values()}
    needed = [_IR_OF_DTYPE.get(dtype_name(d), 3) for d in dtypes]
    least = onnx.helper.find_min_ir_version_for([onnx.helper.make_opsetid("", graph.opset)])
    return max([int(least), 8 if graph.functions else 3, *needed])


def _node(node: OnnxNode, name: str) -> Any:
    import onnx

    proto = onnx.NodeProto(op_type=node.op_type, domain=node.domain, name=name)
    proto.input.extend(node.inputs)
    proto.output.extend(node.outputs)
    proto.attribute.extend(_attribute(k, v) for k, v in sorted(node.attributes.items()))
    return proto


def _attribute(name: str, value: Any) -> Any:
    import onnx

    if isinstance(value, Reference):
        kind = onnx.AttributeProto.AttributeType.Value(value.kind)
        return onnx.AttributeProto(name=name, ref_attr_name=value.name, type=kind)
    if isinstance(value, np.ndarray):
        value = onnx.numpy_helper.from_array(value)
    kind = onnx.AttributeProto.INTS if value == () else None
    return onnx.helper.make_attribute(name, value, attr_type=kind)


def _function(function: OnnxFunction, opset: int) -> Any:
    import onnx

    return onnx.helper.make_function(
        DOMAIN,
        function.name,
        list(function.inputs),
        list(function.outputs),
        [_node(n, n.outputs[0]) for n in function.nodes],
        [onnx.helper.make_opsetid("", opset)],
        sorted(function.attributes),
    )


def value_info(name: str, t: TensorType) -> Any:
    """The ValueInfoProto of a value."""
    import onnx

    kind = onnx.helper.np_dtype_to_tensor_dtype(t.dtype)
    return onnx.helper.make_tensor_value_info(name, kind, [_size(d) for d in t.shape])


def _size(dim: int | Expr) -> int | str | None:
    """A size for ONNX; one that is only known when running has no name there."""
    text = dim if isinstance(dim, int) else str(dim)
    return None if isinstance(text, str) and "?" in text else text


def _fill_value_info(model: Model) -> None:
    """Adds the types of the values between, as ONNX infers them from the types of the weights."""
    import onnx

    stripped = onnx.ModelProto()
    stripped.CopyFrom(model.proto)
    stripped.graph.input.extend(
        value_info(n, TensorType(a.dtype, a.shape)) for n, a in model.big.items()
    )
    try:
        found = onnx.shape_inference.infer_shapes(stripped, check_type=True, strict_mode=True)
    except onnx.shape_inference.InferenceError as error:
        raise ExportError("ONNX finds the types wrong", got=printable(error, 400)) from error
    known = {v.name for v in model.proto.graph.value_info}
    model.proto.graph.value_info.extend(
        v for v in found.graph.value_info if v.name not in known and v.type.tensor_type.elem_type
    )


# -- bytes ---------------------------------------------------------------------------------------


def chunks(model: Model) -> Iterator[bytes | memoryview]:
    """The bytes of the file, big tensors straight from their arrays; metadata may follow."""
    head = _without_graph(model.proto)
    body = model.proto.graph.SerializeToString(deterministic=True)
    tensors = [(_head_of(name, a), a) for name, a in model.big.items()]
    sizes = [
        len(h) + len(key(9, BYTES)) + len(varint_bytes(a.nbytes)) + a.nbytes for h, a in tensors
    ]
    framed = [key(5, BYTES) + varint_bytes(size) for size in sizes]
    yield head
    yield key(7, BYTES)
    yield varint_bytes(len(body) + sum(map(len, framed)) + sum(sizes))
    yield body
    for frame, (tensor, array) in zip(framed, tensors, strict=True):
        yield frame + tensor + key(9, BYTES) + varint_bytes(array.nbytes)
        yield raw(array)


def _without_graph(proto: Any) -> bytes:
    head = type(proto)()
    for field, value in proto.ListFields():
        if field.name == "graph":
            continue
        if field.name in {"opset_import", "functions", "metadata_props"}:
            getattr(head, field.name).extend(value)
        else:
            setattr(head, field.name, value)
    return bytes(head.SerializeToString(deterministic=True))


def _head_of(name: str, array: Array) -> bytes:
    import onnx

    kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
    proto = onnx.TensorProto(name=name, dims=array.shape, data_type=kind)
    return bytes(proto.SerializeToString(deterministic=True))


def raw(array: Array) -> memoryview:
    """The bytes of an array, little-endian, row-major; a copy only where they do not lie so."""
    flat = np.ascontiguousarray(array).reshape(-1)
    if flat.dtype.byteorder == ">":
        flat = flat.astype(flat.dtype.newbyteorder("<"))
    return flat.view(np.uint8).data


def metadata(pairs: Mapping[str, str]) -> bytes:
    """The bytes of metadata_props: they may stand at the end of a file, after the graph."""
    import onnx

    proto = onnx.ModelProto()
    onnx.helper.set_model_props(proto, dict(pairs))
    return bytes(proto.SerializeToString(deterministic=True))


def external(model: Model, location: str) -> tuple[Any, list[tuple[int, Array]]]:
    """A proto whose big tensors lie in the file `location`, and (offset, array) of each."""
    import onnx

    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    placed: list[tuple[int, Array]] = []
    offset = 0
    for name, array in model.big.items():
        offset = -(-offset // _ALIGNMENT) * _ALIGNMENT
        kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
        tensor = proto.graph.initializer.add(name=name, dims=array.shape, data_type=kind)
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for entry, value in (("location", location), ("offset", offset), ("length", array.nbytes)):
            tensor.external_data.add(key=entry, value=str(value))
        placed.append((offset, array))
        offset += array.nbytes
    return proto, placed


def sizes_of(placed: Sequence[tuple[int, Array]]) -> int:
    """Bytes of the external data."""
    return placed[-1][0] + placed[-1][1].nbytes if placed else 0
