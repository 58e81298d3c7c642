"""`irconv bench --forms`: every form of a layer is run and told beside the machine's limits."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from irconv.backends.numba_cpu import bandwidth
from irconv.backends.numba_cpu.bandwidth import read_bandwidth
from irconv.bench import forms
from irconv.bench.forms import Convolution, Dense, Form, forms_of
from irconv.cli import app
from irconv.errors import BackendError

SMALL = {"small": Convolution(32, 32, 8, 3), "few": Dense(40, 30)}


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forms, "LAYERS", SMALL)
    monkeypatch.setattr("irconv.commands.bench_forms.LAYERS", SMALL)
    monkeypatch.setattr(bandwidth, "BYTES", 1 << 20)


def test_every_form_of_a_convolution_runs_its_own_kernel() -> None:
    found = list(forms_of("small", "numba_cpu", 2, 1))
    assert [(f.form, f.kernels) for f in found] == [
        ("direct", "convolve_blocks"),
        ("im2col", found[1].kernels),
        ("tap", "tap_blocks"),
        ("literal", "channels_last+sliced_product"),
    ]
    assert "im2col" in found[1].kernels
    assert {f.flops for f in found} == {2 * 8 * 8 * 32 * 32 * 9}
    assert found[3].nbytes > 6 * (22 * 22 * 32 * 32) > found[2].nbytes > found[0].nbytes
    assert all(f.seconds > 0 and f.peak > 0 and f.bandwidth > 0 for f in found)
    assert found[0].of_direct == 1


def test_a_dense_layer_has_one_form() -> None:
    (found,) = forms_of("few", "numba_cpu", 1, 1)
    assert (found.form, found.kernels, found.of_direct) == ("dense", "dense", None)


def test_the_bound_is_the_products_or_what_comes_from_memory() -> None:
    form = Form("small", "literal", 1, "k", 0.5, 10**9, 128 << 20, 1e10, 1 << 30)
    assert form.comes_from_memory
    assert (form.bound, form.share) == (0.125, 0.25)
    cached = Form("small", "tap", 1, "k", 0.5, 10**9, 1 << 20, 1e10, 1 << 30)
    assert not cached.comes_from_memory
    assert (cached.bound, cached.share) == (0.1, 0.2)


def test_a_backend_that_does_not_measure_the_machine() -> None:
    with pytest.raises(BackendError, match="interpret does not measure the machine"):
        list(forms_of("small", "interpret", 1, 1))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_bandwidth_is_of_all_that_was_read(threads: int) -> None:
    assert np.isfinite(read_bandwidth(threads))
    assert read_bandwidth(threads) > 0


def test_the_command_prints_and_writes(tmp_path: Path) -> None:
    page = tmp_path / "forms.md"
    words = ["bench", "--forms", "small", "few", "-t", "1,2", "--runs", "1", "--json", "-"]
    done = CliRunner().invoke(app, [*words, "--markdown", str(page), "-q"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert [f["form"] for f in found["forms"]] == [
        *("direct", "im2col", "tap", "literal") * 2,
        *("dense",) * 2,
    ]
    assert {"date", "irconv", "versions", "cpu", "command"} == set(found["facts"])
    text = page.read_text("utf-8")
    assert text.count("\n| 3x3, 32 to 32 channels, 8x8 |") == 8
    assert "irconv bench --forms small few --threads 1,2 --runs 1" in text
    done = CliRunner().invoke(app, ["bench", "--forms", "few", "--runs", "1", "-q"])
    assert "dense" in done.stdout
    assert "GB/s" in done.stdout


def test_an_unknown_layer_is_named() -> None:
    done = CliRunner().invoke(app, ["bench", "--forms", "smal"])
    assert done.exit_code == 2
    assert "no such layer" in done.output
    assert "small" in done.output
