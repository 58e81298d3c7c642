"""What the tests of bisection share: the wrong passes, a small network, the command line."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from irconv import registry
from irconv.builder import Builder
from irconv.cli import app
from irconv.graph import Graph
from irconv.ir_files import save_ir

WRONG = Path(__file__).with_name("wrong_passes.py")


@contextmanager
def own_plugins() -> Iterator[None]:
    """What is loaded inside is forgotten after it: other tests ask the registry too."""
    before = list(registry._plugins)
    try:
        yield
    finally:
        registry._plugins[:] = before
        for found in (registry.ops, registry.passes, registry.backends):
            found.cache_clear()


def network(blocks: int = 4, batch: int | str = "N") -> Graph:
    """Convolutions, ReLUs and residuals; block 2 has the stride and channels of `forget_relu`."""
    b = Builder("net", seed=1)
    x = b.input("x", (batch, 3, 12, 12))
    x = b.relu(b.conv(x, 8, kernel=3, pads=1, name="stem"), name="stem_relu")
    x = b.max_pool(x, 3, strides=1, pads=1, name="pool")
    for i in range(blocks):
        wide, stride = (256, 2) if i == 2 else (8, 1)
        y = b.conv(x, wide, kernel=3, pads=1, strides=stride, name=f"conv{i}")
        y = b.conv(b.relu(y, name=f"relu{i}"), 8, kernel=1, name=f"narrow{i}")
        x = b.relu(b.add(x, y, name=f"sum{i}") if stride == 1 else y, name=f"out{i}")
    x = b.flatten(x, name="flat")
    b.output(b.softmax(b.dense(x, 5, name="logits"), name="prob"))
    return b.build()


def network_file(folder: Path, **options: Any) -> str:
    """The network as a file that a command reads."""
    save_ir(network(**options), folder / "net.ir")
    return str(folder / "net.ir")


def irconv(*arguments: object, status: int = 0) -> Result:
    """A call of the command line in this process."""
    with own_plugins():
        done = CliRunner().invoke(app, [str(a) for a in arguments])
    assert done.exit_code == status, (done.stdout, done.stderr, done.exception)
    return done


def replayed(folder: Path, status: int = 1) -> str:
    """What the command that a reproducer names says."""
    facts = json.loads((folder / "reproducer.json").read_text())
    words = shlex.split(facts["command"])
    assert words[:3] == ["irconv", "bisect", "--replay"]
    return irconv(*words[1:], status=status).stdout
