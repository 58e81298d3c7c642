"""What a compiled program tells about itself: which kernel runs each node, cost, memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

from irconv.algorithms import AlgorithmChoice
from irconv.dim import Dim, known
from irconv.errors import printable
from irconv.graph import Graph, Node, Value
from irconv.op import Cost
from irconv.rewrite import Remark
from irconv.types import TensorType

OP_RUN = "Op.run"


@dataclass(frozen=True, slots=True)
class NodeReport:
    """One node: the kernel that runs it (`Op.run` where the backend has none), cost, bytes of its
    buffers, and the choice of its algorithm, where there was one.

    `in_place`: the value whose bytes its result takes.
    """

    node: str
    op: str
    kernel: str
    macs: int
    bytes: int
    result_bytes: int
    scratch_bytes: int = 0
    note: str = ""
    choice: AlgorithmChoice | None = None
    in_place: str = ""

    @property
    def fallback(self) -> bool:
        """Whether the node runs in Python and NumPy instead of a compiled kernel."""
        return self.kernel == OP_RUN


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes: the arena that intermediate values share, scratch of the kernels, weights as kept,
    outputs; and those of results that take the place of an operand in the arena.
    """

    arena: int = 0
    scratch: int = 0
    weights: int = 0
    outputs: int = 0
    in_place: int = 0


@dataclass(frozen=True)
class Report:
    """The compile report of one program, for one set of sizes."""

    backend: str
    pipeline: str
    precision: str
    threads: int
    sizes: tuple[tuple[str, int], ...]
    nodes: tuple[NodeReport, ...]
    memory: Memory
    compile_seconds: float
    remarks: tuple[Remark, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def fallbacks(self) -> tuple[NodeReport, ...]:
        """The nodes that no compiled kernel runs."""
        return tuple(n for n in self.nodes if n.fallback)

    @property
    def macs(self) -> int:
        return sum(n.macs for n in self.nodes)

    def to_json(self) -> dict[str, Any]:
        """Plain data for `json.dumps`."""
        return asdict(self)

    def table(self) -> Table:
        """The nodes as a rich table."""
        table = Table(title=self.backend)
        for name in ("node", "op", "kernel"):
            table.add_column(name, overflow="fold")
        for name in ("Mmac", "result KiB", "scratch KiB"):
            table.add_column(name, justify="right")
        chosen = any(n.choice is not None for n in self.nodes)
        if chosen:
            table.add_column("algorithm: us\npredicted / measured", no_wrap=True)
        for n in self.nodes:
            numbers = (n.macs / 1e6, n.result_bytes / 1024, n.scratch_bytes / 1024)
            names = (Text(printable(t)) for t in (n.node, n.op, n.kernel))
            choice = ["\n".join(_told(n.choice)) if n.choice is not None else ""] if chosen else []
            table.add_row(*names, *(f"{x:.2f}" for x in numbers), *choice)
        return table

    def __str__(self) -> str:
        sizes = ", ".join(f"{k} = {v}" for k, v in self.sizes)
        m = self.memory
        passes = self.pipeline or "(as it stands)"
        head = f"{self.backend} ({self.precision}, {self.threads} threads), pipeline {passes}"
        count = f"{len(self.nodes)} nodes, {len(self.fallbacks)} by {OP_RUN}"
        room = f"arena {m.arena} B ({m.in_place} B in place), scratch {m.scratch} B"
        lines = [
            f"{head}, {sizes}" if sizes else head,
            f"{count}, {self.macs / 1e6:.1f} Mmac",
            f"{room}, weights {m.weights} B, outputs {m.outputs} B",
        ]
        lines += [f"fallback: %{printable(n.node)} ({n.op})" for n in self.fallbacks]
        chosen = Counter(n.choice.algorithm for n in self.nodes if n.choice is not None)
        if chosen:
            lines.append("chosen: " + ", ".join(f"{chosen[a]} {a}" for a in sorted(chosen)))
        lines += [
            f"%{printable(n.node)}: the error of {n.choice.algorithm} on a sample is "
            f"{n.choice.error:.1e}, more than {n.choice.error_bound:.0e}: precision strict has none"
            for n in self.nodes
            if n.choice is not None and not n.choice.is_within_bound
        ]
        return "\n".join([*lines, *self.notes])


def _told(choice: AlgorithmChoice) -> Iterator[str]:
    """The lines of a choice in the table: an alternative each, the chosen one marked."""
    for name, seconds in choice.predicted.items():
        mark = ">" if name == choice.algorithm else " "
        times = (seconds, *(choice.measured[n] for n in (name,) if n in choice.measured))
        yield f"{mark} {name}: " + " / ".join(f"{1e6 * t:.0f}" for t in times)
    if choice.error is not None:
        yield f"  error {choice.error:.1e}"


def known_bytes(values: Iterable[Value]) -> int:
    """The bytes of those of `values` that are dense and of known sizes."""
    types = (v.type for v in values)
    return sum(known(t.nbytes) for t in types if isinstance(t, TensorType) and t.is_static)


def node_report(node: Node, kernel: str, scratch_bytes: int = 0, note: str = "") -> NodeReport:
    """The report of a node; cost and bytes are 0 where a size is only known when it runs."""
    values = [v for v in (*node.operands, *node.results) if v is not None]
    if any(v.type.symbols() for v in values):
        return NodeReport(node.name, node.op.name, kernel, 0, 0, 0, scratch_bytes, note)
    cost = node_cost(node)
    result = sum(known(v.type.nbytes) for v in node.results if isinstance(v.type, TensorType))
    macs, moved = known(cost.macs), known(cost.bytes)
    return NodeReport(node.name, node.op.name, kernel, macs, moved, result, scratch_bytes, note)


def node_cost(node: Node) -> Cost:
    """The cost of one node, symbolic where its sizes are."""
    types = [v.type if v is not None else None for v in node.operands]
    return node.op.cost(types, [v.type for v in node.results])


def graph_cost(graph: Graph) -> Cost:
    """The cost of a whole graph."""
    macs: Dim = 0
    moved: Dim = 0
    for node in graph:
        cost = node_cost(node)
        macs, moved = macs + cost.macs, moved + cost.bytes
    return Cost(macs, moved)
