"""The forms of one layer beside each other and beside what the machine can do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

import numpy as np

from irconv.backend import find_backend
from irconv.bench.layers import LAYOUT_OPS
from irconv.bench.measure import PAUSE_SECONDS, RUNS_A_TURN
from irconv.builder import Builder
from irconv.errors import BackendError, ModelError, printable
from irconv.executable import Executable
from irconv.executable import compile as compiled
from irconv.graph import Graph
from irconv.inputs import check_inputs
from irconv.inspector.samples import seeded_inputs
from irconv.pipeline import lower
from irconv.profiling import MeasuresBandwidth, MeasuresPeak, Profiled
from irconv.registry import nearest
from irconv.report import node_cost
from irconv.types import Array

# What turns a convolution into each form, before the backend's own pipeline.
CONVOLUTION_FORMS = {
    "direct": "",
    "im2col": "im2col",
    "tap": "conv_matrix",
    "literal": "conv_matrix{form=literal}",
}
DENSE_FORMS = {"dense": ""}
IN_MEMORY = 64 << 20  # bytes of weights and index that no cache holds from run to run


@dataclass(frozen=True)
class Convolution:
    """A convolution of a square image with one kernel size, padded so that edges are kept."""

    channels: int
    out: int
    size: int
    kernel: int
    stride: int = 1

    def graph(self) -> Graph:
        """The layer as a network, its weights random."""
        build = Builder("layer")
        x = build.input("x", (1, self.channels, self.size, self.size))
        y = build.conv(x, self.out, kernel=self.kernel, strides=self.stride, pads="same")
        build.output(build.relu(y))
        return build.build()

    def __str__(self) -> str:
        stride = f" stride {self.stride}" if self.stride > 1 else ""
        return (
            f"{self.kernel}x{self.kernel}{stride}, {self.channels} to {self.out} channels, "
            f"{self.size}x{self.size}"
        )


@dataclass(frozen=True)
class Dense:
    """A dense layer with one row."""

    channels: int
    out: int

    def graph(self) -> Graph:
        """The layer as a network, its weights random."""
        build = Builder("layer")
        build.output(build.dense(build.input("x", (1, self.channels)), self.out))
        return build.build()

    def __str__(self) -> str:
        return f"dense, {self.channels} to {self.out}"


LAYERS: Mapping[str, Convolution | Dense] = {
    "conv3x3-56": Convolution(64, 64, 56, 3),
    "conv3x3-28": Convolution(128, 128, 28, 3),
    "conv3x3-14": Convolution(256, 256, 14, 3),
    "conv3x3-7": Convolution(512, 512, 7, 3),
    "conv1x1-56": Convolution(64, 256, 56, 1),
    "conv1x1-14": Convolution(1024, 256, 14, 1),
    "stem7x7-224": Convolution(3, 64, 224, 7, 2),
    "alexnet-fc6": Dense(9216, 4096),
    "vgg-fc6": Dense(25088, 4096),
}


@dataclass(frozen=True)
class Form:
    """One form of a layer: the kernels that run it, and the medians of its times.

    `nbytes`: weights and index as the program holds them. `flops`: of the direct algorithm.
    `peak` and `bandwidth` are the machine's, measured in the same turns with as many threads.
    """

    layer: str
    form: str
    threads: int
    kernels: str
    seconds: float
    flops: int
    nbytes: int
    peak: float
    bandwidth: float
    of_direct: float | None = None

    @property
    def comes_from_memory(self) -> bool:
        """Whether what it reads is too large for the caches."""
        return self.nbytes >= IN_MEMORY

    @property
    def bound(self) -> float:
        """The fewest seconds that the machine allows: for the products, or for what is read."""
        read = self.nbytes / self.bandwidth if self.comes_from_memory else 0.0
        return max(self.flops / self.peak, read)

    @property
    def share(self) -> float:
        """Of the speed that the bound allows."""
        return self.bound / self.seconds

    def to_json(self) -> dict[str, Any]:
        """Plain data for `json.dumps`."""
        return asdict(self) | {
            "gflops": self.flops / self.seconds / 1e9,
            "gigabytes_a_second": self.nbytes / self.seconds / 1e9,
            "comes_from_memory": self.comes_from_memory,
            "share_of_bound": self.share,
        }


def chosen_layers(names: Sequence[str]) -> list[str]:
    """The layers of these names, all where there are none; raises ModelError."""
    for name in names:
        if name not in LAYERS:
            hint = nearest(name[:60], list(LAYERS))
            raise ModelError("no such layer", got=printable(name), hint=hint)
    return list(dict.fromkeys(names)) or list(LAYERS)


@dataclass
class _Runner:
    """One form that is ready to run, and the seconds of its turns."""

    name: str
    executable: Executable
    program: Profiled
    arrays: Sequence[Array]
    seconds: list[float] = field(default_factory=list)

    def turn(self) -> None:
        """Some runs: the median of each step, without those that change the layout."""
        nodes = self.executable.report.nodes
        layouts = {n.node for n in nodes if n.op in LAYOUT_OPS}
        steps = self.program.profile(self.arrays, RUNS_A_TURN)
        self.seconds.append(sum(s.seconds for s in steps if s.node not in layouts))


def forms_of(
    name: str,
    backend: str,
    threads: int,
    turns: int,
    progress: Callable[[str], None] = lambda _: None,
) -> Iterator[Form]:
    """The forms of a layer, timed in turns with the machine's peak and bandwidth.

    Raises BackendError where the backend times no steps or does not know these.
    """
    machine = find_backend(backend)
    if not isinstance(machine, MeasuresPeak) or not isinstance(machine, MeasuresBandwidth):
        raise BackendError(f"{backend} does not measure the machine", hint="numba_cpu does")
    layer = LAYERS[name]
    graph = layer.graph()
    forms = CONVOLUTION_FORMS if isinstance(layer, Convolution) else DENSE_FORMS
    runners = []
    for form, pipeline in forms.items():
        progress(f"{name}: compiling {form}")
        runners.append(_runner(form, graph, pipeline, backend, threads))
    progress(f"{name}: {turns} turns, {threads} threads")
    peaks, bandwidths = [], []
    for _ in range(turns):
        peaks.append(machine.peak_flops(threads))
        bandwidths.append(machine.read_bandwidth(threads))
        for runner in runners:
            time.sleep(PAUSE_SECONDS)
            runner.turn()
    flops = sum(2 * int(str(node_cost(n).macs)) for n in graph)
    first = median(runners[0].seconds)
    for runner in runners:
        report, seconds = runner.executable.report, median(runner.seconds)
        own = [n for n in report.nodes if n.op not in LAYOUT_OPS and n.kernel not in _FREE]
        yield Form(
            name,
            runner.name,
            threads,
            ", ".join(n.kernel for n in own),
            seconds,
            flops,
            report.memory.weights,
            median(peaks),
            median(bandwidths),
            first / seconds if len(runners) > 1 else None,
        )


_FREE = ("view", "index")  # what the report calls nodes without a step


def _runner(form: str, graph: Graph, pipeline: str, backend: str, threads: int) -> _Runner:
    lowered = lower(graph, ",".join(filter(None, ("fold,fuse", pipeline))))
    executable = compiled(lowered, backend=backend, precision="strict", threads=threads)
    inputs = seeded_inputs(graph, 0)
    program = executable.prepare({})
    if not isinstance(program, Profiled):
        raise BackendError(f"{backend} times no steps", hint="numba_cpu does")
    arrays = [np.ascontiguousarray(a) for a in check_inputs(graph.inputs, inputs)]
    return _Runner(form, executable, program, arrays)
