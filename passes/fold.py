"""Computes what does not depend on the inputs: constants, and the shapes of known sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from irconv.errors import IrconvError, printable
from irconv.graph import Graph, Node, Value
from irconv.ops.identity import Identity
from irconv.ops.shape import Reshape, Shape, Size
from irconv.pipeline import Pass
from irconv.rewrite import Rewriter, rule
from irconv.shape_contents import ShapeContents, reshape_target
from irconv.types import Array, TensorType

# multiply-adds that the interpreter does in a few seconds
MACS_LIMIT = 1 << 30


@dataclass(frozen=True)
class Fold(Pass):
    """Computes what does not depend on the inputs: constants, and the shapes of known sizes.

    Constants are computed by Op.run. The parameters grow by at most `budget` bytes in all; what
    would take more stays, with a remark. Random ops and dead code are never folded.
    """

    exact: ClassVar[bool] = True

    budget: int = 64 << 20

    def run(self, graph: Graph, rewriter: Rewriter) -> None:
        ledger = Ledger(self.budget)
        before = -1
        # sizes that become known in one round let the next one fold more
        while rewriter.fired.total() != before:
            before = rewriter.fired.total()
            rewriter.new_round()
            state = _State(_live(graph), _contents(graph), ledger)
            rules = (fold_constants, fold_shape, fold_reshape_target)
            rewriter.apply([r.with_options(state=state) for r in rules])


@dataclass
class Ledger:
    """How many bytes the parameters may still grow."""

    budget: int
    left: int = -1

    def __post_init__(self) -> None:
        self.left = self.budget

    def refusal(self, added: int) -> str:
        return (
            f"its result would add {added} bytes, "
            f"{self.left} of the budget of {self.budget} are left"
        )


@dataclass(frozen=True)
class _State:
    """What the rules know of the graph before a round."""

    live: set[Node]
    contents: ShapeContents
    ledger: Ledger


def _live(graph: Graph) -> set[Node]:
    """The nodes that some output needs."""
    live: set[Node] = set()
    for node in reversed(graph.nodes):
        if any(v.is_output or any(u in live for u, _ in v.uses) for v in node.results):
            live.add(node)
    return live


def _contents(graph: Graph) -> ShapeContents:
    contents = ShapeContents(graph)
    for node in graph:
        contents.note(node)
    return contents


@rule()
def fold_constants(node: Node, rewriter: Rewriter, state: _State) -> Sequence[Value] | None:
    """f(constants) => the constants that it computes."""
    arrays = [v.array if v is not None else None for v in node.operands]
    constant = all(v is None or v.is_parameter for v in node.operands)
    if node not in state.live or not constant or _is_name(node):
        return None
    reason = _refusal(node, state.ledger)
    if reason is not None:
        rewriter.declined(node, reason)
        return None
    try:
        with np.errstate(all="ignore"):
            results = node.op.run(arrays)
    except (IrconvError, ArithmeticError, IndexError, TypeError, ValueError) as error:
        rewriter.declined(node, f"it cannot be computed: {printable(error)}")
        return None
    added = _growth(node, [np.asarray(array) for array in results])
    if added > state.ledger.left:
        rewriter.declined(node, state.ledger.refusal(added))
        return None
    state.ledger.left -= added
    trainable = any(v.trainable for v in node.operands if v is not None)
    return [
        rewriter.constant(np.asarray(array, order="C"), "value", trainable=trainable)
        for array in results
    ]


def _is_name(node: Node) -> bool:
    """Whether this is an Identity that lends a constant the name of an output."""
    return isinstance(node.op, Identity) and node.result.is_output


def _refusal(node: Node, ledger: Ledger) -> str | None:
    if node.op.random:
        return "it is random"
    if any(v is not None and v.array is None for v in node.operands):
        return "the listing was read without its constants"
    kinds = [v.type for v in node.results]
    if not all(isinstance(kind, TensorType) for kind in kinds):
        return "its result is a matrix, which is kept as an index"
    macs = node.op.cost([v.type if v is not None else None for v in node.operands], kinds).macs
    if isinstance(macs, int) and macs > MACS_LIMIT:
        return f"computing it takes {macs} multiply-adds, more than {MACS_LIMIT}"
    added = _growth(node, [v.tensor_type for v in node.results])
    return ledger.refusal(added) if added > ledger.left else None


def _growth(node: Node, results: Sequence[TensorType | Array]) -> int:
    """Bytes of the results (of known size), less those of the operands that only this node uses."""
    freed = [v.tensor_type.nbytes for v in node.operands if v is not None and v.only_user is node]
    added = [result.nbytes for result in results]
    return sum(d for d in added if isinstance(d, int)) - sum(d for d in freed if isinstance(d, int))


@rule()
def fold_shape(node: Node, rewriter: Rewriter, state: _State) -> Value | None:
    """Shape(x), and what is computed from it, => a constant where the sizes are known."""
    if node not in state.live or len(node.results) != 1 or _is_name(node):
        return None
    found = state.contents.known(node.result)
    if found is not None:
        return rewriter.constant(found, "value")
    if isinstance(node.op, Shape | Size):
        rewriter.declined(node, "a size of its operand is not known")
    return None


@rule(Reshape)
def fold_reshape_target(node: Node, rewriter: Rewriter, state: _State) -> Value | None:
    """Reshape(x, computed) => Reshape(x, constant), where 0 and -1 can say the unknown sizes."""
    x, wanted = node.operands
    assert isinstance(node.op, Reshape)
    assert x is not None
    assert wanted is not None
    contents = state.contents.of(wanted)
    if node not in state.live or wanted.is_parameter or contents is None:
        return None
    sizes = [d if not isinstance(d, np.generic) else int(d) for d in contents.reshape(-1)]
    target = reshape_target(x.shape, sizes, bool(node.op.allowzero))
    if target is None:
        return rewriter.declined(node, "no constant says its shape: two sizes are unknown")
    return rewriter.emit(node.op, x, _ints(rewriter, target))


def _ints(rewriter: Rewriter, numbers: Sequence[int]) -> Value:
    array: Array = np.array(numbers, np.int64)
    return rewriter.constant(array, "shape")
