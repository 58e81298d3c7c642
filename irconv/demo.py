"""The demonstration: a trained digit classifier, lowered to four forms, run by every backend."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from irconv.demo_data import load_test_set, model_path
from irconv.errors import BackendError
from irconv.executable import Executable
from irconv.executable import compile as compile_graph
from irconv.export import export_onnx
from irconv.graph import Graph
from irconv.inspector.trace import Trace, trace
from irconv.interpret import interpret
from irconv.onnx_import import load
from irconv.registry import backends
from irconv.types import Array

FORMS = {
    "fused": "fold,fold_batchnorm,fuse",
    "im2col": "fold,fold_batchnorm,im2col",
    "conv matrix": "fold,fold_batchnorm,fuse,conv_matrix",
    "literal matrix": "fold,fold_batchnorm,fuse,conv_matrix{form=literal}",
}
REFERENCE = "interpret"
SHOWN_BACKENDS = ("numba_cpu", "onnx")
GOOD_ACCURACY = 0.98
TIMED_CALLS = 5
TIMED_SECONDS = 0.5  # enough for a form that is slow


@dataclass(frozen=True)
class Score:
    """How one form did on one backend, over the held-out images."""

    form: str
    backend: str
    accuracy: float
    difference: float  # the largest, of any probability, from the interpreter
    seconds_per_image: float


class Demo:
    """The model, the held-out images, and what the interpreter answers for them."""

    def __init__(self) -> None:
        self.graph: Graph = load(model_path())
        images, labels = load_test_set()
        self.images: Array = images.astype(np.float32)
        self.labels: Array = labels
        (self.expected,) = interpret(self.graph, {"image": self.images}).values()

    def lowered(self) -> dict[str, Trace]:
        """The stages of each form."""
        return {form: trace(self.graph, pipeline) for form, pipeline in FORMS.items()}

    def reference(self) -> Score:
        """The model as it was imported, run by the interpreter."""
        return self._score("as imported", REFERENCE, self.graph)

    def scores(self, form: str, graph: Graph) -> Iterator[Score]:
        """How one form does on each backend."""
        for backend in demo_backends():
            yield self._score(form, backend, graph)

    def _score(self, form: str, backend: str, graph: Graph) -> Score:
        # the form is what is shown, so the backend takes it exactly as it stands
        executable = compile_graph(graph, backend, pipeline="")
        (prob,) = executable(self.images)
        prob = np.asarray(prob)
        return Score(
            form,
            backend,
            float(np.mean(prob.argmax(1) == self.labels)),
            float(np.abs(prob - self.expected).max()),
            self._time(executable),
        )

    def _time(self, executable: Executable) -> float:
        seconds: list[float] = []
        while len(seconds) < TIMED_CALLS and sum(seconds) < TIMED_SECONDS:
            start = time.perf_counter()
            executable(self.images)
            seconds.append(time.perf_counter() - start)
        return statistics.median(seconds) / len(self.images)


def demo_backends() -> tuple[str, ...]:
    """The backends that run every form here; raises BackendError where there is none."""
    known = backends()
    found = [n for n in SHOWN_BACKENDS if n in known and known[n]().unavailable() is None]
    if not found:
        raise BackendError(
            "no backend of the demo can run here", expected=", ".join(SHOWN_BACKENDS)
        )
    return tuple(found)


def export_forms(traces: dict[str, Trace], folder: Path) -> list[Path]:
    """Writes each form as ONNX into `folder`, which is made if absent; the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for form, traced in traces.items():
        path = folder / f"digits_{form.replace(' ', '_')}.onnx"
        export_onnx(traced.result, path, pipeline=traced.pipeline)
        paths.append(path)
    return paths


def faults(scores: list[Score]) -> list[str]:
    """What the demo promises and did not keep: equal accuracy everywhere, and enough of it."""
    wrong = [
        f"{s.form} on {s.backend}: accuracy {s.accuracy:.2%} is not the interpreter's "
        f"{scores[0].accuracy:.2%}"
        for s in scores
        if s.accuracy != scores[0].accuracy
    ]
    if scores[0].accuracy < GOOD_ACCURACY:
        wrong.append(f"accuracy {scores[0].accuracy:.2%} is below {GOOD_ACCURACY:.0%}")
    return wrong
