"""onnxruntime's own profile of a model, and which nodes of the file each event stands for."""

from __future__ import annotations

import json
import re
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from irconv.types import Array

WARM_UPS = 2
# each of these begins a fused kernel; what has no event of its own is a part of such a kernel
_HEAVY = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
# what onnxruntime adds to a name; a batch norm or a Mul that stands alone becomes a convolution
_ADDED = re.compile(r"^(?:fused )?(.*?)(_bn|_mul)?(?:_nchwc|_token_\d+)*$", re.DOTALL)


@dataclass(frozen=True)
class PeerStep:
    """One kernel of onnxruntime: the names of the nodes that it computes, and its seconds.

    A node is named by its first result. None of the file's for what onnxruntime added itself.
    """

    op: str
    nodes: frozenset[str]
    seconds: float


@dataclass(frozen=True)
class FileNode:
    """A node of an ONNX file, named by its first result, and the nodes it reads from."""

    name: str
    op: str
    sources: tuple[str, ...]


def profile_onnxruntime(
    file: Path, threads: int, draws: Sequence[Mapping[str, Array]]
) -> list[PeerStep]:
    """The kernels in the order they run; one run for each of `draws` after some untimed.

    Seconds are the mean of the middle half of the runs: the profile has whole microseconds only.
    """
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.enable_profiling = True
    with tempfile.TemporaryDirectory(prefix="irconv-profile-") as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        model = onnx.load(file)
        for node in model.graph.node:
            node.name = next(filter(None, node.output), "")
        named = Path(folder) / "named.onnx"
        onnx.save(model, named)
        nodes = file_nodes(model.graph)
        del model
        session = onnxruntime.InferenceSession(
            str(named), options, providers=["CPUExecutionProvider"]
        )
        for inputs in [draws[0]] * WARM_UPS + list(draws):
            session.run(None, dict(inputs))
        events = json.loads(Path(session.end_profiling()).read_text())
    return attribute(nodes, timed_events(events, len(draws)))


def file_nodes(graph: Any) -> list[FileNode]:
    """The nodes of an onnx.GraphProto."""
    producers = {out: next(filter(None, n.output), "") for n in graph.node for out in n.output}
    return [
        FileNode(
            next(filter(None, n.output), ""),
            n.op_type,
            tuple(dict.fromkeys(producers[i] for i in n.input if i in producers)),
        )
        for n in graph.node
    ]


def timed_events(events: Sequence[Mapping[str, Any]], runs: int) -> list[tuple[str, str, float]]:
    """(name, op, seconds) of each kernel, of the last `runs` runs."""
    found: dict[tuple[str, str, str], list[float]] = {}
    for event in events:
        name = str(event.get("name", ""))
        if event.get("cat") == "Node" and name.endswith("_kernel_time"):
            given = event["args"]
            key = (name, str(given.get("op_name", "")), str(given.get("node_index", "")))
            found.setdefault(key, []).append(float(event["dur"]) / 1e6)
    return [(name, op, middle_mean(times[-runs:])) for (name, op, _), times in found.items()]


def middle_mean(numbers: Sequence[float]) -> float:
    """The mean of the middle half; the median of fewer than eight."""
    ordered, count = sorted(numbers), len(numbers)
    cut = count // 4 if count >= 8 else (count - 1) // 2
    return statistics.fmean(ordered[cut : len(ordered) - cut])


def attribute(
    nodes: Sequence[FileNode], events: Sequence[tuple[str, str, float]]
) -> list[PeerStep]:
    """The events with the nodes that each stands for.

    A fused kernel is named after one of its nodes. A node without an event belongs to the kernel
    that its result flows into, if that was made of another op than the node it is named after
    (`Conv` under the name of its Relu), else to the last one of those that it reads from.
    """
    ops = {n.name: n.op for n in nodes}
    at: dict[str, tuple[int, str]] = {}
    for place, (event, op, _) in enumerate(events):
        name, stands_alone = _node_name(event.removesuffix("_kernel_time"), ops)
        if name is not None:
            at.setdefault(name, (place, ops[name] if stands_alone else op))
    members: dict[int, set[str]] = {}
    for name, place in _Places(nodes, at).all().items():
        members.setdefault(place, set()).add(name)
    return [
        PeerStep(op, frozenset(members.get(place, ())), seconds)
        for place, (_, op, seconds) in enumerate(events)
    ]


def _node_name(event: str, known: Mapping[str, str]) -> tuple[str | None, bool]:
    """The node that an event is named after, and whether it is that node alone."""
    if event in known:
        return event, False
    found = _ADDED.match(event)
    name = found[1] if found is not None else ""
    return (name, bool(found and found[2])) if name in known else (None, False)


class _Places:
    """Finds the event of every node, front to back."""

    def __init__(self, nodes: Sequence[FileNode], events: Mapping[str, tuple[int, str]]) -> None:
        self.nodes = {n.name: n for n in nodes}
        self.events = events  # node -> its event's number and op
        self.users: dict[str, list[str]] = {}
        for node in nodes:
            for source in node.sources:
                self.users.setdefault(source, []).append(node.name)

    def all(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for name, node in self.nodes.items():
            own = self.events[name][0] if name in self.events else self.forward(name)
            if own is None:
                own = max((found[s] for s in node.sources if s in found), default=None)
            if own is not None:
                found[name] = own
        return found

    def forward(self, name: str) -> int | None:
        """The event of a fused kernel that the only use of `name` leads to."""
        is_pad = self.nodes[name].op == "Pad"
        while len(self.users.get(name, ())) == 1:
            (name,) = self.users[name]
            node = self.nodes[name]
            event = self.events.get(name)
            if event is not None:
                fused = _plain(event[1]) != _plain(node.op) or (is_pad and node.op in _HEAVY)
                return event[0] if fused else None
            if node.op in _HEAVY and not is_pad:
                return None
        return None


def _plain(op: str) -> str:
    return op.removeprefix("Fused").removeprefix("Nchwc")
