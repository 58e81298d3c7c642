"""The kernels on disk: kept, found again, and never trusted when damaged or out of our hands."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from numba import types

from irconv import code_cache
from irconv.backends.numba_cpu import native
from irconv.backends.numba_cpu.activations import pass_code

F32 = np.dtype(np.float32)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A fresh cache folder of this test, and a process that knows no kernel yet."""
    monkeypatch.setenv("IRCONV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(code_cache, "_state", {"enabled": True, "warned": False})
    monkeypatch.setattr(native, "_addresses", {})
    return tmp_path / "cache" / "kernels"


@pytest.fixture
def compiled(monkeypatch):
    """The names of the functions that were compiled rather than loaded."""
    names = []
    original = native._compile

    def count(function, arguments, key):
        names.append(key[0].rpartition(".")[2])
        return original(function, arguments, key)

    monkeypatch.setattr(native, "_compile", count)
    return names


def forget_and_ask_again():
    native._addresses.clear()
    return pass_code("leaky_relu", F32)


def test_a_kernel_is_compiled_once_and_then_loaded(place, compiled):
    pass_code("leaky_relu", F32)
    assert [f.name.partition("-")[0] for f in place.iterdir()] == ["pass_leaky_relu"]
    assert forget_and_ask_again()
    assert compiled == ["pass_leaky_relu"]
    assert place.stat().st_mode & 0o777 == 0o700


def test_another_process_loads_what_this_one_compiled(place):
    pass_code("sigmoid", F32)
    program = (
        "import numpy as np, ctypes as c\n"
        "from irconv.backends.numba_cpu import native, activations\n"
        "native._compile = None\n"
        "code = activations.pass_code('sigmoid', np.dtype('f4'))\n"
        "x = np.zeros(3, 'f4')\n"
        "kinds = [c.c_void_p, *[c.c_int64] * 3, c.c_float, c.c_float]\n"
        "c.CFUNCTYPE(None, *kinds)(code)(x.ctypes.data, 1, 3, 3, 0.0, 0.0)\n"
        "print(x)\n"
    )
    root = Path(__file__).parent.parent
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=root, check=False
    )
    assert ran.stdout == "[0.5 0.5 0.5]\n", ran.stderr


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "other"])
def test_a_damaged_entry_is_a_miss(place, compiled, damage):
    pass_code("leaky_relu", F32)
    (file,) = place.iterdir()
    data = bytearray(file.read_bytes())
    data[-100] ^= 1
    broken = {"cut": data[:200], "flipped": data, "empty": b"", "other": b"[1]\n[]\n"}
    file.write_bytes(broken[damage])
    assert forget_and_ask_again()
    assert compiled == ["pass_leaky_relu"] * 2
    assert forget_and_ask_again()
    assert compiled == ["pass_leaky_relu"] * 2  # and was written anew


def test_a_cache_switched_off_is_neither_read_nor_written(place, compiled):
    code_cache.set_enabled(False)
    pass_code("leaky_relu", F32)
    forget_and_ask_again()
    assert len(compiled) == 2
    assert not place.exists()


def unusable(place, kind):
    if kind == "a file":
        place.parent.write_text("")
    elif kind == "open to others":
        place.mkdir(parents=True)
        place.chmod(0o777)
    elif kind == "a link":
        place.parent.mkdir()
        place.symlink_to(place.parent.parent)


@pytest.mark.parametrize("kind", ["a file", "open to others", "a link"])
def test_an_unusable_folder_costs_one_warning_and_the_cache(place, compiled, kind):
    unusable(place, kind)
    with pytest.warns(RuntimeWarning, match="not cached") as caught:
        pass_code("leaky_relu", F32)
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        forget_and_ask_again()
    assert len(compiled) == 2


def test_a_relative_folder_is_refused(place, monkeypatch):
    monkeypatch.setenv("IRCONV_CACHE_DIR", "somewhere")
    with pytest.warns(RuntimeWarning, match="absolute"):
        assert code_cache.folder() is None


def test_the_key_changes_with_the_types(place):
    one = native._file_name(("m.f", str(types.float32)))
    assert one != native._file_name(("m.f", str(types.float64)))
    assert one == native._file_name(("m.f", str(types.float32)))
