"""Reads an ONNX model into plain records; no other file knows protobuf's messages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from irconv.errors import GraphError, ModelError, printable
from irconv.onnx_node import DOMAINS
from irconv.onnx_reader.external import read_external
from irconv.onnx_reader.records import (
    Budgets,
    ModelRecord,
    NodeRecord,
    Problems,
    Refused,
    ValueRecord,
)
from irconv.onnx_reader.tensor import RawTensor, element_type, stored_bytes, to_array
from irconv.onnx_reader.wire import BYTES, FIXED64, VARINT, Stream, key, varint_bytes
from irconv.types import AnyDType, Array

# a tensor whose message is longer than this is read field by field, straight into its array
STREAMED_BYTES = 1 << 16
_PAYLOADS = {9: "raw", 4: "float_data", 10: "double_data"}
_MODEL_FIELDS = {
    "ir_version": (1, VARINT), "opset_import": (8, BYTES), "graph": (7, BYTES),
    "training_info": (20, BYTES), "functions": (25, BYTES),
}  # fmt: skip


def model_bytes(message: Any) -> bytes:
    """The bytes of an onnx.ModelProto; raises ModelError for anything else."""
    import onnx

    if not isinstance(message, onnx.ModelProto):
        raise ModelError(
            "not a model", expected="a path, bytes or onnx.ModelProto", got=type(message).__name__
        )
    try:
        return bytes(message.SerializeToString())
    except Exception as error:
        raise ModelError(f"the ModelProto cannot be written: {printable(error)}") from error


def read_model(
    stream: Stream, folder: Path | None, budgets: Budgets, problems: Problems
) -> ModelRecord:
    """The records of a serialized ModelProto; `folder` is where its external data may lie."""
    return _Reader(stream, folder, budgets, problems).model()


class _Reader:
    def __init__(
        self, stream: Stream, folder: Path | None, budgets: Budgets, problems: Problems
    ) -> None:
        import onnx

        self.onnx = onnx
        self.stream = stream
        self.folder = folder
        self.budgets = budgets
        self.problems = problems
        self.record = ModelRecord()
        self.opsets: list[tuple[str, int]] = []
        self.functions: list[str] = []
        self.graphs = 0
        self.total_bytes = 0
        self.initialized: set[str] = set()
        self.decode_error = _decode_error()

    # -- the model -------------------------------------------------------------------------------

    def model(self) -> ModelRecord:
        stream = self.stream
        known = self.onnx.ModelProto.DESCRIPTOR.fields_by_number
        for number, wire, value in stream.fields(stream.size):
            if number not in known:
                raise stream.error("not a field of an ONNX model", got=f"field {number}")
            self._model_field(known[number].name, wire, value)
        self._header()
        return self.record

    def _model_field(self, name: str, wire: int, value: int) -> None:
        expected = _MODEL_FIELDS.get(name)
        if expected is None:
            self._pass_over(wire, value)
            return
        if wire != expected[1]:
            raise self.stream.error(f"field {name} has the wrong wire type", expected[1], wire)
        match name:
            case "ir_version":
                self.record.ir_version = _signed(value)
            case "opset_import":
                entry = self._message(self.onnx.OperatorSetIdProto, value)
                self.opsets.append((_utf8(entry.domain), entry.version))
            case "graph":
                self.graphs += 1
                self._graph(self.stream.position + value)
            case "training_info":
                self.stream.skip(value)
                self.problems.add(
                    "training information is not supported", hint="export for inference"
                )
            case "functions":
                function = self._message(self.onnx.FunctionProto, value)
                self.functions.append(f"{printable(function.domain)}::{printable(function.name)}")

    def _pass_over(self, wire: int, value: int) -> None:
        if wire == BYTES:
            self.stream.skip(value)

    def _message(self, kind: Any, length: int) -> Any:
        start = self.stream.position
        message = kind()
        try:
            message.ParseFromString(self.stream.take(length))
        except self.decode_error as error:
            raise ModelError(
                f"not a valid {kind.DESCRIPTOR.name}", where=f"byte {start}", got=printable(error)
            ) from None
        return message

    def _header(self) -> None:
        problems, record = self.problems, self.record
        if self.graphs != 1:
            what = "the model has no graph" if not self.graphs else "the model has two graphs"
            raise ModelError(what, hint="is it an ONNX file?" if not self.graphs else None)
        newest = int(self.onnx.IR_VERSION)
        if not 3 <= record.ir_version <= newest:
            problems.add(
                "the IR version is not supported",
                expected=f"3 to {newest}",
                got=record.ir_version or "none",
                hint="a newer onnx package may read it" if record.ir_version > newest else None,
            )
        for name in self.functions:
            problems.add(
                "model-local functions are not supported", got=name, hint="inline them first"
            )
        for domain in ("", *DOMAINS.values()):
            self._opset(domain)
        if not self.record.opsets:
            self.problems.add("the model imports no opset", expected="the standard domain")

    def _opset(self, domain: str) -> None:
        """Notes the version of a domain, if it is imported."""
        newest = int(self.onnx.defs.onnx_opset_version())
        versions = {v for d, v in self.opsets if d == domain or (d == "ai.onnx" and not domain)}
        label = domain or "the standard operators"
        if len(versions) > 1:
            self.problems.add(f"{label} are imported twice", got=sorted(versions))
        for version in versions:
            self.record.opsets[domain] = version
            if not 1 <= version <= newest:
                self.problems.add(
                    "the opset is not supported",
                    where=domain or None,
                    expected=f"1 to {newest}",
                    got=version,
                )

    # -- the graph -------------------------------------------------------------------------------

    def _graph(self, end: int) -> None:
        stream, kinds = self.stream, self.onnx
        for number, wire, value in stream.fields(end):
            if wire != BYTES:
                raise stream.error(
                    "not a field of a graph", got=f"field {number}, wire type {wire}"
                )
            match number:
                case 1:
                    self._node(self._message(kinds.NodeProto, value))
                case 2:
                    self.record.name = stream.take(value).decode("utf-8", "replace")
                case 5:
                    self._initializer(value)
                case 11:
                    self._value(self._message(kinds.ValueInfoProto, value), self.record.inputs)
                case 12:
                    self._value(self._message(kinds.ValueInfoProto, value), self.record.outputs)
                case 15:
                    self._sparse(self._message(kinds.SparseTensorProto, value))
                case _:
                    stream.skip(value)

    def _node(self, proto: Any) -> None:
        index = len(self.record.nodes)
        if index >= self.budgets.nodes:
            raise ModelError("too many nodes", expected=f"at most {self.budgets.nodes}")
        node = NodeRecord(
            index,
            _utf8(proto.op_type),
            "" if proto.domain == "ai.onnx" else _utf8(proto.domain),
            _utf8(proto.name),
            tuple(map(_utf8, proto.input)),
            tuple(map(_utf8, proto.output)),
        )
        for attribute in proto.attribute:
            name = _utf8(attribute.name)
            label = f"attribute {printable(name)}"
            if name in node.attributes:
                self.problems.add(f"{label} is given twice", where=node)
            try:
                node.attributes[name] = self._attribute(attribute)
            except GraphError as error:
                self.problems.add(f"{label}: {error}", where=node)
            except ModelError as error:
                self.problems.add(f"{label}: {error}", where=node)
        self.record.nodes.append(node)

    def _attribute(self, proto: Any) -> Any:
        kinds = self.onnx.AttributeProto
        if proto.ref_attr_name:
            raise ModelError("refers to a function's attribute outside of a function")
        match proto.type:
            case kinds.FLOAT:
                return _shortest(proto.f)
            case kinds.INT:
                return int(proto.i)
            case kinds.STRING:
                return _text(proto.s)
            case kinds.TENSOR:
                return self._array(self._raw(proto.t))
            case kinds.FLOATS:
                return tuple(_shortest(x) for x in proto.floats)
            case kinds.INTS:
                return tuple(int(x) for x in proto.ints)
            case kinds.STRINGS:
                return tuple(_text(x) for x in proto.strings)
            case kinds.UNDEFINED:
                raise ModelError("it has no type")
        return Refused(kinds.AttributeType.Name(proto.type).lower())

    def _value(self, proto: Any, where: list[ValueRecord]) -> None:
        kind = proto.type.WhichOneof("value")
        label = f"{'input' if where is self.record.inputs else 'output'} {printable(proto.name)}"
        if kind not in {None, "tensor_type"}:
            self.problems.add(
                f"{label} is not a dense tensor",
                got=str(kind).removesuffix("_type"),
                hint="sequences, optionals, maps and sparse tensors are not supported",
            )
            return
        tensor = proto.type.tensor_type
        dtype: AnyDType | None = None
        try:
            dtype = element_type(tensor.elem_type) if kind and tensor.elem_type else None
        except ModelError as error:
            self.problems.add(f"{label}: {error}")
        shape = None
        if tensor.HasField("shape"):
            shape = tuple(_size(d) for d in tensor.shape.dim)
        where.append(ValueRecord(_utf8(proto.name), dtype, shape))

    def _sparse(self, proto: Any) -> None:
        name = _utf8(proto.values.name)
        self._name_initializer(name)
        try:
            self._keep(name, self._dense(proto))
        except ModelError as error:
            self.problems.add(str(error), where=f"sparse initializer {printable(name)}")

    def _dense(self, proto: Any) -> Array:
        values = self._array(self._raw(proto.values))
        indices = self._array(self._raw(proto.indices))
        shape = tuple(int(d) for d in proto.dims)
        stored_bytes(RawTensor("", shape, proto.values.data_type), self.budgets)
        if values.ndim != 1 or indices.dtype != np.int64 or indices.shape[:1] != values.shape:
            raise ModelError(
                "indices and values do not fit", got=f"{indices.shape}, {values.shape}"
            )
        if indices.ndim == 2 and indices.shape[1] == len(shape):
            bad = (indices < 0) | (indices >= np.array(shape, np.int64))
            places: Any = tuple(indices.T)
        elif indices.ndim == 1:
            bad = (indices < 0) | (indices >= np.prod(shape, dtype=object))
            places = np.unravel_index(indices, shape) if not bad.any() and shape else ()
        else:
            raise ModelError("the indices are of the wrong shape", got=indices.shape)
        if bad.any():
            raise ModelError("an index is out of range", expected=f"inside {list(shape)}")
        dense = np.zeros(shape, values.dtype)
        dense[places] = values
        return dense

    # -- tensors ---------------------------------------------------------------------------------

    def _initializer(self, length: int) -> None:
        tensor = self._streamed(length) if length > STREAMED_BYTES else None
        if tensor is None:
            tensor = self._raw(self._message(self.onnx.TensorProto, length))
        self._name_initializer(tensor.name)
        try:
            self._keep(tensor.name, self._array(tensor))
        except ModelError as error:
            self.problems.add(
                error.what,
                where=f"initializer {printable(tensor.name)}",
                expected=error.expected,
                got=error.got,
                hint=error.hint,
            )

    def _name_initializer(self, name: str) -> None:
        if name in self.initialized:
            self.problems.add("two initializers have one name", got=printable(name))
        self.initialized.add(name)

    def _keep(self, name: str, array: Array) -> None:
        self.total_bytes += array.nbytes
        if self.total_bytes > self.budgets.total_bytes:
            raise ModelError(
                "the weights are over the budget",
                expected=f"at most {self.budgets.total_bytes} bytes",
            )
        self.record.initializers[name] = array

    def _streamed(self, length: int) -> RawTensor:
        """A large tensor: the weights go from the file straight to their array."""
        head, payload = self._split(length)
        proto = self.onnx.TensorProto()
        try:
            proto.ParseFromString(head)
        except self.decode_error as error:
            raise ModelError("not a valid TensorProto", got=printable(error)) from None
        tensor = self._raw(proto)
        if "raw" in payload:
            tensor.raw = payload.pop("raw")
        for name, data in payload.items():
            width = 4 if name == "float_data" else 8
            if data.size % width or name in tensor.typed:
                raise self.stream.error(
                    f"{name} is broken", f"multiples of {width} bytes", data.size
                )
            tensor.typed[name] = data.view(f"<f{width}")
        return tensor

    def _split(self, length: int) -> tuple[bytes, dict[str, Array]]:
        """The message of a tensor without its weights, and the weights by their field."""
        stream = self.stream
        head, payload = bytearray(), {}
        for number, wire, value in stream.fields(stream.position + length):
            name = _PAYLOADS.get(number) if wire == BYTES else None
            if name in payload:
                raise stream.error("the data of a tensor is given twice")
            if name is not None:
                payload[name] = stream.array(value)
                continue
            head += key(number, wire)
            if wire == BYTES:
                head += varint_bytes(value) + stream.take(value)
            elif wire == VARINT:
                head += varint_bytes(value)
            else:
                head += value.to_bytes(8 if wire == FIXED64 else 4, "little")
        return bytes(head), payload

    def _raw(self, proto: Any) -> RawTensor:
        if proto.HasField("segment"):
            raise ModelError("a tensor in segments is not supported", got=printable(proto.name))
        tensor = RawTensor(_utf8(proto.name), tuple(int(d) for d in proto.dims), proto.data_type)
        if proto.HasField("raw_data"):
            tensor.raw = np.frombuffer(proto.raw_data, np.uint8)
        for name, dtype in _TYPED:
            numbers = getattr(proto, name)
            if len(numbers):
                tensor.typed[name] = np.array(numbers, dtype)
        if proto.data_location == self.onnx.TensorProto.EXTERNAL:
            tensor.external = {}
            for entry in proto.external_data:
                if _utf8(entry.key) in tensor.external:
                    raise ModelError(
                        "an entry of external data is given twice", got=printable(entry.key)
                    )
                tensor.external[entry.key] = _utf8(entry.value)
        return tensor

    def _array(self, tensor: RawTensor) -> Array:
        size = stored_bytes(tensor, self.budgets)
        if tensor.external is not None:
            if tensor.raw is not None or tensor.typed:
                raise ModelError(
                    "both inner and external data are given", got=printable(tensor.name)
                )
            if self.total_bytes + size > self.budgets.total_bytes:
                raise ModelError(
                    "the weights are over the budget",
                    expected=f"at most {self.budgets.total_bytes} bytes",
                )
            tensor.raw = read_external(self.folder, tensor.external, size)
        return to_array(tensor, self.budgets)


_TYPED = (
    ("float_data", np.float32),
    ("int32_data", np.int64),
    ("int64_data", np.int64),
    ("double_data", np.float64),
    ("uint64_data", np.uint64),
)


def _decode_error() -> type[Exception]:
    """What protobuf raises, whatever its implementation is."""
    import onnx

    try:
        onnx.TensorProto.FromString(b"\xff")
    except Exception as error:  # noqa: BLE001 - its class is what is asked for
        return type(error)
    return ValueError


def _size(proto: Any) -> int | str | None:
    match proto.WhichOneof("value"):
        case "dim_value":
            return int(proto.dim_value)
        case "dim_param":
            return _utf8(proto.dim_param) or None
    return None


def _utf8(name: str | bytes) -> str:
    """A name; protobuf gives the bytes of one that is not UTF-8."""
    if isinstance(name, bytes):
        raise ModelError("a name is not UTF-8", got=printable(name))
    return name


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise ModelError("a text is not UTF-8", got=printable(data)) from None


def _shortest(value: float) -> float:
    """The shortest decimal of a float32: 1e-05, where the file says 9.99999974e-06."""
    return float(str(np.float32(value)))


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value
