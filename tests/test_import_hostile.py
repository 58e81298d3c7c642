"""What the importer must refuse: broken files, broken structure, hostile sizes and names."""

from __future__ import annotations

import gzip
import io
import os
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from irconv.errors import IrconvError, ModelError
from irconv.graph import Graph
from irconv.interpret import interpret
from irconv.onnx_import import load
from irconv.onnx_reader.records import Budgets
from irconv.verify import verify

F = TensorProto.FLOAT


def model(
    nodes: list[Any],
    inputs: dict[str, Any] | None = None,
    outputs: tuple[str, ...] = ("y",),
    initializers: dict[str, Any] | None = None,
    opset: int = 17,
    ir: int = 8,
) -> onnx.ModelProto:
    given = inputs if inputs is not None else {"x": [1, 3, 8, 8]}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(n, F, s) for n, s in given.items()],
        [helper.make_tensor_value_info(n, F, None) for n in outputs],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in (initializers or {}).items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    made.ir_version = ir
    return made


def node(op: str, inputs: str = "x", outputs: str = "y", **attributes: Any) -> onnx.NodeProto:
    names = [i if i != "_" else "" for i in inputs.split()]
    return helper.make_node(op, names, outputs.split(), **attributes)


def refused(source: Any, *words: str, **options: Any) -> ModelError:
    started = time.process_time()
    with pytest.raises(IrconvError) as caught:
        load(source, **options)
    assert time.process_time() - started < 2
    text = f"{caught.value}\n{caught.value.listing or ''}"
    for word in words:
        assert word in text, text
    assert caught.value.exit_status == 2
    assert isinstance(caught.value, ModelError)
    return caught.value


def relu() -> onnx.ModelProto:
    return model([node("Relu")])


def weight(*shape: int) -> Any:
    return np.zeros(shape, np.float32)


# -- files


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("model.onnx", b"x")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "empty"),
        (b"hello, this is text", "not an ONNX model"),
        (b"\x89PNG\r\n\x1a\n" + bytes(64), "PNG"),
        (b"<html><body>404</body></html>", "web page"),
        (gzip.compress(b"x" * 100, mtime=0), "gzip"),
        (zipped(), "zip"),
        (bytes(range(256)), "not an ONNX model"),
        (relu().SerializeToString()[:-7], "not an ONNX model"),
        (relu().SerializeToString() + b"\xff\xff\xff", "not an ONNX model"),
        (b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "reaches past"),
        (b"\x0a" * 4000, "not an ONNX model"),
    ],
)
def test_broken_bytes(data: bytes, word: str) -> None:
    refused(data, word)


def test_every_truncation_is_refused_or_complete() -> None:
    data = model([node("Conv", "x w")], initializers={"w": weight(2, 3, 3, 3)}).SerializeToString()
    for length in range(len(data)):
        with pytest.raises(ModelError):
            load(data[:length])


def test_flipped_bytes_never_escape_the_gate() -> None:
    data = model([node("Conv", "x w")], initializers={"w": weight(2, 3, 3, 3)}).SerializeToString()
    rng = np.random.default_rng(0)
    taken = 0
    for _ in range(600):
        broken = bytearray(data)
        for place in rng.integers(0, len(data), rng.integers(1, 4)):
            broken[place] = rng.integers(0, 256)
        graph, error = load_or_refuse(bytes(broken))
        if graph is not None:
            verify(graph)
            taken += 1
        assert "Error:" not in error
    assert 0 < taken < 600


def load_or_refuse(data: bytes) -> tuple[Graph | None, str]:
    try:
        return load(data), ""
    except ModelError as error:
        return None, error.what


def test_nested_protobuf() -> None:
    inner = b""
    for _ in range(3000):
        # attribute (5) of a node, its graph (6), a node (1) in it
        for number in (1, 6, 5):
            inner = bytes([number << 3 | 2]) + _varint(len(inner)) + inner
    data = b"\x08\x08\x42\x04\x0a\x00\x10\x11" + b"\x3a" + _varint(len(inner)) + inner
    refused(data)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def test_paths(tmp_path: Path) -> None:
    refused("https://example.com/model.onnx", "no network")
    refused(tmp_path / "missing.onnx", "No such file")
    refused(tmp_path, "a folder")
    os.mkfifo(tmp_path / "pipe.onnx")
    refused(tmp_path / "pipe.onnx", "a device or pipe")
    refused("/dev/zero", "a device or pipe")
    refused("a\0b.onnx", "not a path")
    refused(42, "not a model")


def test_a_file_over_the_budget(tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(relu().SerializeToString())
    refused(file, "too large", budgets=Budgets(file_bytes=10))
    with (tmp_path / "large.onnx").open("wb") as sparse:
        sparse.truncate(3 << 30)
    refused(tmp_path / "large.onnx", "too large", "external data")


def test_a_sparse_file_of_zeros_is_refused_without_reading_it(tmp_path: Path) -> None:
    with (tmp_path / "zeros.onnx").open("wb") as sparse:
        sparse.truncate(2 << 30)
    refused(tmp_path / "zeros.onnx", budgets=Budgets(file_bytes=1 << 40))


# -- header


def test_header() -> None:
    made = relu()
    made.ClearField("graph")
    refused(made, "no graph")
    made = relu()
    del made.opset_import[:]
    refused(made, "imports no opset")
    for version in (9999, 0, -1):
        made = relu()
        made.opset_import[0].version = version
        refused(made, "opset is not supported", str(version))
    made = relu()
    made.opset_import[0].version = 5  # Relu-1 had an attribute that Relu-6 has not
    refused(made, "Relu-1 is not supported")
    made = model([helper.make_node("ml.Binarizer", ["x"], ["y"])])
    refused(made, "unknown operator")
    for ir in (0, 2, 99):
        made = relu()
        made.ir_version = ir
        refused(made, "IR version")
    made = relu()
    made.opset_import.append(helper.make_opsetid("", 9))
    refused(made, "twice")


def test_the_same_opset_twice_and_metadata_are_harmless() -> None:
    made = relu()
    made.opset_import.append(helper.make_opsetid("ai.onnx", 17))
    made.doc_string = "x" * (4 << 20)
    helper.set_model_props(made, {"k": "v" * (4 << 20)})
    assert len(load(made)) == 1


def test_other_domains_and_functions() -> None:
    made = model([helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft")])
    made.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    refused(made, "another domain", "com.microsoft::Gelu")
    made = relu()
    made.functions.append(
        helper.make_function("f", "F", ["a"], ["b"], [node("F", "a", "b")], made.opset_import)
    )
    refused(made, "functions are not supported", "f::F")
    made = relu()
    made.training_info.add()
    refused(made, "training")


# -- structure


def test_structure() -> None:
    refused(model([node("NoSuchOp")]), "unknown operator", "NoSuchOp")
    refused(model([node("Reluu")]), "did you mean Relu")
    refused(model([node("Relu", "nope")]), "not defined", "nope")
    refused(model([node("Relu", "x", "z")]), "output of the graph is not produced")
    refused(model([node("Relu"), node("Tanh")]), "produced twice")
    refused(model([node("Add", "x x x")]), "wrong number of inputs", "expected 2")
    refused(model([node("Add", "x _")]), "required")
    refused(model([node("Relu", "x", "x")]), "name of an input")
    refused(model([node("Relu")], outputs=()), "no outputs")
    refused(model([node("Relu")], outputs=("y", "y")), "output is declared twice")
    made = model([node("Relu")], initializers={"y": weight(1)})
    refused(made, "name of an initializer")
    made = model([node("Add", "x w")], initializers={"w": weight(1)})
    made.graph.initializer.append(made.graph.initializer[0])
    refused(made, "two initializers")
    made = relu()
    made.graph.input.append(made.graph.input[0])
    refused(made, "input is declared twice")
    made = relu()
    made.graph.input[0].ClearField("type")
    refused(made, "no element type")


def test_cycles_are_named_and_unsorted_nodes_sorted() -> None:
    made = model([node("Add", "x c", "a"), node("Relu", "a", "b"), node("Tanh", "b", "c")])
    made.graph.output[0].name = "b"
    refused(made, "cycle", "a -> b -> c -> a")
    made = model([node("Tanh", "b", "y"), node("Relu", "a", "b"), node("Abs", "x", "a")])
    assert [n.name for n in load(made)] == ["a", "b", "y"]


def test_up_to_twenty_faults_are_told() -> None:
    made = model([node("NoSuch", "x", f"y{i}") for i in range(30)], outputs=("y0",))
    error = refused(made, "19 more errors")
    assert error.listing is not None
    assert len(error.listing.splitlines()) == 20
    assert error.listing.splitlines()[3].strip().startswith("node 3 (NoSuch 'y3')")


def test_other_kinds_of_values() -> None:
    made = relu()
    made.graph.input[0].CopyFrom(helper.make_tensor_sequence_value_info("x", F, [1]))
    refused(made, "not a dense tensor", "sequence")
    made = relu()
    made.graph.input[0].type.tensor_type.elem_type = TensorProto.STRING
    refused(made, "strings")
    branch = helper.make_graph(
        [node("Relu", "x", "z")], "b", [], [helper.make_tensor_value_info("z", F, None)]
    )
    refused(
        model([node("If", "c", then_branch=branch, else_branch=branch)], {"c": []}),
        "graph is not supported",
        "If",
    )


def test_a_chain_of_many_nodes_works() -> None:
    count = 5000
    nodes = [node("Relu", f"v{i}" if i else "x", f"v{i + 1}") for i in range(count)]
    graph = load(model(nodes, outputs=(f"v{count}",)))
    assert len(graph) == count


def test_budgets() -> None:
    nodes = [node("Relu", f"v{i}" if i else "x", f"v{i + 1}") for i in range(50)]
    refused(model(nodes, outputs=("v50",)), "too many nodes", budgets=Budgets(nodes=49))
    refused(model(nodes, outputs=("v50",)), "too many values", budgets=Budgets(values=49))
    made = model([node("Add", "x w")], initializers={"w": weight(100)})
    refused(made, "over the budget", budgets=Budgets(tensor_bytes=100))
    refused(made, "over the budget", budgets=Budgets(total_bytes=100))


# -- attributes

CONV = {"w": weight(4, 3, 3, 3)}


@pytest.mark.parametrize(
    "attributes",
    [
        {"group": 0},
        {"group": -1},
        {"group": 2},
        {"strides": [0, 1]},
        {"strides": [-1, 1]},
        {"dilations": [0, 1]},
        {"kernel_shape": [2, 2]},
        {"kernel_shape": [0, 0]},
        {"pads": [-1, 0, 0, 0]},
        {"pads": [0, 0]},
        {"strides": [1]},
        {"dilations": [1, 1, 1]},
        {"auto_pad": "SOMEHOW"},
        {"auto_pad": "SAME_UPPER", "pads": [1, 1, 1, 1]},
        {"pads": [2**63 - 1, 0, 2**63 - 1, 0]},
        {"dilations": [2**62, 1]},
        {"strides": "ab"},
        {"group": 1.5},
        {"unheard_of": 1},
    ],
)
def test_attributes_of_a_convolution(attributes: dict[str, Any]) -> None:
    refused(model([node("Conv", "x w", **attributes)], initializers=CONV), "node 0 (Conv 'y')")


def test_an_attribute_given_twice() -> None:
    made = model([node("Conv", "x w", group=1)], initializers=CONV)
    made.graph.node[0].attribute.append(made.graph.node[0].attribute[0])
    refused(made, "given twice")


@pytest.mark.parametrize(
    ("nodes", "initializers"),
    [
        ([node("Conv", "x w")], {"w": weight(4, 5, 3, 3)}),
        ([node("Conv", "x w")], {"w": np.float32(1)}),
        ([node("Conv", "x w")], {"w": weight(4, 3, 3, 3, 3)}),
        ([node("Conv", "x w")], {"w": weight(4, 3, 11, 3)}),
        ([node("Conv", "x w b")], {"w": weight(4, 3, 3, 3), "b": weight(5)}),
        ([node("Conv", "x w")], {"w": np.zeros((4, 3, 3, 3), np.float64)}),
        ([node("MaxPool", kernel_shape=[0, 0])], {}),
        ([node("MaxPool")], {}),
        ([node("MaxPool", kernel_shape=[2, 2], pads=[2, 2, 2, 2])], {}),
        ([node("LeakyRelu", alpha=float("nan"))], {}),
        ([node("BatchNormalization", "x s b m v")], dict.fromkeys("sbmv", weight(4))),
        ([node("Reshape", "x s")], {"s": np.array([-1, -1])}),
        ([node("Reshape", "x s")], {"s": np.array([5, 5])}),
        ([node("Reshape", "x s")], {"s": np.array([2**62, 2**62])}),
        ([node("Transpose", perm=[0, 0, 1, 2])], {}),
        ([node("Concat", "x x", axis=7)], {}),
        ([node("Gather", "x i", axis=1)], {"i": np.array([7])}),
        ([node("Split", "x s", "y z", axis=1)], {"s": np.array([1, 1])}),
        (
            [node("Slice", "x a b c d")],
            dict(zip("abcd", np.array([[0], [1], [1], [0]]), strict=True)),
        ),
        ([node("MatMul", "x w")], {"w": weight(7, 7)}),
        ([node("Expand", "x s")], {"s": np.array([10**12, 1, 1, 1, 1])}),
        ([node("Tile", "x r")], {"r": np.array([10**6, 10**6, 1, 1])}),
        ([node("ConstantOfShape", "s")], {"s": np.array([10**12])}),
        ([node("ConstantOfShape", "s")], {"s": np.array([-1])}),
        ([node("Range", "a b c")], {"a": np.int64(0), "b": np.int64(10**12), "c": np.int64(1)}),
        ([node("Softmax", axis=9)], {}),
        ([node("Squeeze", "x a")], {"a": np.array([1])}),
        ([node("Pad", "x p")], {"p": np.array([0, 0])}),
        ([node("Pad", "x p")], {"p": np.array([2**40] * 8)}),
        ([node("Resize", "x _ s")], {"s": np.array([1, 1, 1e9, 1e9], np.float32)}),
    ],
)
def test_shapes_that_do_not_fit(nodes: list[Any], initializers: dict[str, Any]) -> None:
    error = refused(model(nodes, initializers=initializers), "node 0 (")
    assert "Error:" not in error.what


def test_doubling_forty_times() -> None:
    nodes = [node("Concat", f"v{i} v{i}" if i else "x x", f"v{i + 1}", axis=0) for i in range(60)]
    refused(model(nodes, outputs=("v60",)))


def test_dead_bombs_are_not_built() -> None:
    nodes = [node("ConstantOfShape", "s", "dead"), node("Relu")]
    graph = load(model(nodes, initializers={"s": np.array([1 << 27])}))
    assert (
        sum(v.array.strides != (0,) for v in graph.parameters.values() if v.array is not None) <= 1
    )


# -- tensors


def tensor(**fields: Any) -> onnx.ModelProto:
    made = model([node("Add", "x w")], {"x": [3]})
    proto = TensorProto(name="w", data_type=F, dims=[3])
    for name, value in fields.items():
        if isinstance(value, (list, tuple)):
            del getattr(proto, name)[:]
            getattr(proto, name).extend(value)
        else:
            setattr(proto, name, value)
    made.graph.initializer.append(proto)
    return made


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"raw_data": bytes(8)}, "12 bytes"),
        ({"raw_data": bytes(16)}, "12 bytes"),
        ({"raw_data": bytes(11)}, "12 bytes"),
        ({"dims": [-3], "raw_data": bytes(12)}, "negative"),
        ({"dims": [2**40, 2**40], "raw_data": bytes(12)}, "budget"),
        ({"dims": [10**10], "float_data": [1.0]}, "budget"),
        ({"dims": [10**8], "float_data": [1.0]}, "does not fill"),
        ({"data_type": 99, "raw_data": bytes(12)}, "unknown element type"),
        ({"data_type": 8, "string_data": [b"a", b"b", b"c"]}, "strings"),
        ({"float_data": [1, 2, 3], "raw_data": bytes(12)}, "both raw and typed"),
        ({"float_data": [1, 2]}, "12 bytes"),
        ({"int64_data": [1, 2, 3]}, "wrong field"),
        ({}, "no data"),
        ({"dims": [1] * 100, "float_data": [1.0]}, "rank"),
        ({"data_type": 3, "int32_data": [1, 2, 300]}, "does not fit i8"),
    ],
)
def test_tensors(fields: dict[str, Any], word: str) -> None:
    refused(tensor(**fields), "initializer w", word)


def test_large_tensors_are_checked_like_small_ones() -> None:
    count = 1 << 16
    good = model(
        [node("Add", "x w")], {"x": [count]}, initializers={"w": np.arange(count, dtype=np.float32)}
    )
    array = load(good).parameters["w"].array
    assert array is not None
    assert array.flags.aligned
    np.testing.assert_array_equal(array, np.arange(count, dtype=np.float32))
    floats = tensor(dims=[count], float_data=[0.5] * count)
    floats.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", F, [count]))
    array = load(floats).parameters["w"].array
    assert array is not None
    assert (array == 0.5).all()
    refused(tensor(dims=[count], raw_data=bytes(4 * count - 1)), "does not fill")
    refused(tensor(dims=[count], raw_data=bytes(4 * count), float_data=[1.0]), "both raw and typed")


def test_sparse_initializers() -> None:
    made = model([node("Add", "x w")], {"x": [2, 3]})
    values = numpy_helper.from_array(np.array([1.0, 2.0], np.float32), "w")
    indices = numpy_helper.from_array(np.array([1, 5]), "i")
    made.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [2, 3]))
    array = load(made).parameters["w"].array
    np.testing.assert_array_equal(array, [[0, 1, 0], [0, 0, 2]])
    made.graph.sparse_initializer[0].indices.CopyFrom(
        numpy_helper.from_array(np.array([1, 6]), "i")
    )
    refused(made, "out of range")


def test_every_element_type_is_read() -> None:
    for number in (
        2,
        3,
        4,
        5,
        6,
        7,
        9,
        10,
        11,
        12,
        13,
        14,
        15,
        16,
        17,
        18,
        19,
        20,
        21,
        22,
        23,
        24,
        25,
        26,
    ):
        dtype = helper.tensor_dtype_to_np_dtype(number)
        wanted = np.array([1, 0, 1]).astype(dtype)
        made = model([node("Identity", "w")], initializers={"w": wanted})
        assert made.graph.initializer[0].data_type == number
        array = load(made).parameters["w"].array
        assert array is not None
        assert array.dtype == dtype
        np.testing.assert_array_equal(array.astype(np.complex128), wanted.astype(np.complex128))


# -- external data


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "data.bin").write_bytes(np.arange(3, dtype=np.float32).tobytes())
    (tmp_path / "secret.bin").write_bytes(bytes(12))
    (inside / "link.bin").symlink_to(tmp_path / "secret.bin")
    (inside / "up").symlink_to(tmp_path)
    os.link(tmp_path / "secret.bin", inside / "hard.bin")
    os.mkfifo(inside / "pipe.bin")
    (inside / "folder.bin").mkdir()
    return inside


def external(folder: Path, **entries: str) -> Path:
    made = tensor()
    proto = made.graph.initializer[0]
    proto.data_location = TensorProto.EXTERNAL
    for key, value in entries.items():
        proto.external_data.add(key=key, value=value)
    (folder / "model.onnx").write_bytes(made.SerializeToString())
    return folder / "model.onnx"


def test_external_data(folder: Path) -> None:
    graph = load(external(folder, location="data.bin", offset="0", length="12"))
    np.testing.assert_array_equal(graph.parameters["w"].array, [0, 1, 2])
    refused(external(folder, location="data.bin").read_bytes(), "has no folder")


@pytest.mark.parametrize(
    "entries",
    [
        {"location": "../secret.bin"},
        {"location": "up/secret.bin"},
        {"location": "link.bin"},
        {"location": "hard.bin"},
        {"location": "pipe.bin"},
        {"location": "folder.bin"},
        {"location": "missing.bin"},
        {"location": "/dev/zero"},
        {"location": ""},
        {"location": "a\0b"},
        {"location": "C:\\secret"},
        {"location": "*/_ORT_MEM_ADDR_/*"},
        {"location": "data.bin", "offset": "4"},
        {"location": "data.bin", "offset": "-4"},
        {"location": "data.bin", "offset": "9" * 30},
        {"location": "data.bin", "offset": "four"},
        {"location": "data.bin", "length": "8"},
        {"location": "data.bin", "__class__": "x"},
        {},
    ],
)
def test_external_data_outside_or_broken(folder: Path, entries: dict[str, str]) -> None:
    refused(external(folder, **entries), "initializer w")


# -- names


def test_names_are_escaped_in_messages() -> None:
    wicked = "a\x1b[31m\n\u202e</script>"
    error = refused(model([helper.make_node("Relu", [wicked], ["y"])]))
    text = f"{error}\n{error.listing}"
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert text.count("\n") == 1


def test_long_names() -> None:
    long = "n" * 5000
    refused(model([helper.make_node("Relu", ["x"], [long])], outputs=(long,)), "too long", "5000")
    short = "n" * 4096
    assert (
        load(model([helper.make_node("Relu", ["x"], [short])], outputs=(short,))).outputs[0].name
        == short
    )


def test_wicked_names_work() -> None:
    names = ['"><img src=x onerror=alert(1)>', "x):\n import os", "${_{", "../con", "\0"]
    nodes = [helper.make_node("Relu", [a], [b]) for a, b in zip(["x", *names], names, strict=False)]
    graph = load(model(nodes, outputs=(names[-1],)))
    verify(graph)
    out = interpret(graph, {"x": np.ones((1, 3, 8, 8), np.float32)})
    assert list(out) == [names[-1]]


def test_our_names_do_not_take_the_models() -> None:
    nodes = [
        node("ReduceMean", "x", "y", axes=[2], keepdims=0),
        node("Relu", "y", "y.axes"),
        node("Relu", "y.axes", "y.axes.1"),
    ]
    graph = load(model(nodes, outputs=("y.axes.1",), opset=13))
    assert [n.name for n in graph] == ["y", "y.axes", "y.axes.1"]


def test_more_dimensions_than_can_be() -> None:
    made = model([node("Reshape", "x s")])
    made.graph.input.append(helper.make_tensor_value_info("s", TensorProto.INT64, [2**31]))
    refused(made, "too many dimensions", "64")
    made = model([node("Col2Im", "x s s")], {"x": (1, 5, 5)}, opset=18)
    made.graph.input.append(helper.make_tensor_value_info("s", TensorProto.INT64, [2**40 - 1]))
    refused(made, "too many dimensions", "64")


def test_declared_shapes_that_lie_are_not_believed() -> None:
    made = relu()
    made.graph.value_info.append(helper.make_tensor_value_info("y", F, [10**12]))
    made.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", F, [10**12]))
    assert str(load(made).outputs[0].type) == "f32[1, 3, 8, 8]"


def sizes(*dims: Any) -> Callable[[], Graph]:
    made = model([node("Relu")], {"x": list(dims)})
    return lambda: load(made)


def test_sizes_of_inputs() -> None:
    assert str(sizes("N", 3, None)().inputs[0].type) == "f32[N, 3, ?x.2]"
    for wrong in (-1, 2**60):
        with pytest.raises(ModelError, match="size out of range"):
            sizes(wrong)()
    assert str(sizes("batch size", 1)().inputs[0].type) == 'f32["batch size", 1]'
