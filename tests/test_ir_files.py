"""A graph as files: the listing, and its big constants beside it."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from irconv.errors import IrconvError, ModelError
from irconv.graph import Graph
from irconv.ir_files import load_ir, save_ir
from irconv.onnx_import import load
from irconv.ops.identity import Identity
from irconv.types import DTYPES, TensorType


def graph_of(*arrays: np.ndarray) -> Graph:
    graph = Graph("g")
    x = graph.add_input("x", TensorType("f32", ("N", 2)))
    values = [graph.add_parameter(f"p{i}", a) for i, a in enumerate(arrays)]
    nodes = [graph.add_node(Identity(), [v], [f"y{i}"]) for i, v in enumerate([x, *values])]
    graph.set_outputs(n.result for n in nodes)
    return graph


def test_round_trip(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    graph = graph_of(rng.standard_normal((3, 20)), np.arange(4), np.asfortranarray(np.eye(7)))
    save_ir(graph, tmp_path / "g.ir")
    assert load_ir(tmp_path / "g.ir") == graph
    assert load(tmp_path / "g.ir") == graph
    assert str(load(str(tmp_path / "g.ir"), batch=4).outputs[0].type) == "f32[4, 2]"


@pytest.mark.parametrize("short", sorted(DTYPES))
def test_every_element_type(tmp_path: Path, short: str) -> None:
    codes = np.arange(40) % 2
    graph = graph_of(codes.astype(DTYPES[short]).reshape(5, 8))
    save_ir(graph, tmp_path / "g.ir")
    again = load_ir(tmp_path / "g.ir")
    assert again == graph
    array = again.parameters["p0"].array
    assert array is not None
    assert array.dtype == DTYPES[short]
    assert array.tobytes() == codes.astype(DTYPES[short]).tobytes()


def test_the_same_graph_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_ir(graph_of(np.ones((9, 9)), np.zeros((9, 9))), tmp_path / f"{name}.ir")
    for suffix in (".ir", ".npz"):
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.ir", "a.npz", "b.ir", "b.npz"]


def test_equal_constants_are_stored_once_and_small_ones_not_at_all(tmp_path: Path) -> None:
    save_ir(graph_of(np.ones((9, 9)), np.ones((9, 9))), tmp_path / "g.ir")
    with zipfile.ZipFile(tmp_path / "g.npz") as archive:
        assert len(archive.namelist()) == 1
    save_ir(graph_of(np.arange(3)), tmp_path / "small.ir")
    assert not (tmp_path / "small.npz").exists()


def test_without_constants_it_can_be_looked_at(tmp_path: Path) -> None:
    save_ir(graph_of(np.ones((9, 9))), tmp_path / "g.ir")
    (tmp_path / "g.npz").unlink()
    assert load_ir(tmp_path / "g.ir").parameters["p0"].array is None


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_ir(graph_of(np.ones((9, 9))), tmp_path / "g.ir")
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        save_ir(graph_of(np.zeros((9, 9))), tmp_path / "g.ir")
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_swapped_constants_are_noticed(tmp_path: Path) -> None:
    save_ir(graph_of(np.ones((9, 9))), tmp_path / "g.ir")
    data = (tmp_path / "g.npz").read_bytes()
    for broken in (data[:50], b"", b"PK", data.replace(b"\xf0\x3f", b"\xf0\x40")):
        (tmp_path / "g.npz").write_bytes(broken)
        with pytest.raises(ModelError, match="cannot read the constants"):
            load_ir(tmp_path / "g.ir")


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    save_ir(graph_of(np.ones((9, 9))), tmp_path / "g.ir")
    with zipfile.ZipFile(tmp_path / "g.npz") as archive:
        name = archive.namelist()[0]
    with zipfile.ZipFile(tmp_path / "g.npz", "w") as archive, archive.open(name, "w") as stream:
        np.lib.format.write_array(stream, np.array([{}], object), allow_pickle=True)
    with pytest.raises(ModelError, match="cannot read the constants"):
        load_ir(tmp_path / "g.ir")


def test_files_that_are_no_listing(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="No such file"):
        load_ir(tmp_path / "missing.ir")
    for data in (b"", b"\xff\xfe", b"graph", b"graph @g(%x: f32[2]) -> () {\n", bytes(100)):
        (tmp_path / "g.ir").write_bytes(data)
        with pytest.raises(IrconvError):
            load_ir(tmp_path / "g.ir")


def test_bfloat16_survives(tmp_path: Path) -> None:
    array = np.linspace(-2, 2, 50).astype(ml_dtypes.bfloat16)
    save_ir(graph_of(array), tmp_path / "g.ir")
    np.testing.assert_array_equal(load_ir(tmp_path / "g.ir").parameters["p0"].array, array)


def test_files_have_the_permissions_of_new_files(tmp_path: Path) -> None:
    save_ir(graph_of(np.ones((9, 9), np.float32)), tmp_path / "a.ir")
    plain = tmp_path / "plain"
    plain.touch()
    modes = {(tmp_path / name).stat().st_mode for name in ("a.ir", "a.npz", "plain")}
    assert len(modes) == 1


def test_a_listing_does_not_overwrite_its_constants(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot have the name of its constants"):
        save_ir(graph_of(np.ones((9, 9), np.float32)), tmp_path / "a.npz")
    assert not list(tmp_path.iterdir())


def test_a_header_that_claims_terabytes_is_refused(tmp_path: Path) -> None:
    graph = graph_of(np.ones((9, 9), np.float32))
    save_ir(graph, tmp_path / "a.ir")
    digest = graph.parameters["p0"].digest
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        head, {"descr": "<f4", "fortran_order": False, "shape": (1 << 50,)}
    )
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr(f"{digest}.f32.npy", head.getvalue())
    with pytest.raises(ModelError, match="cannot read the constants"):
        load_ir(tmp_path / "a.ir")
