"""Brings a graph into its simplest form: no dead code, no identities, nothing computed twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from irconv.graph import Graph, Node, Value
from irconv.listing import attributes_text
from irconv.ops.identity import Identity
from irconv.passes import identities, normal_forms, reshapes
from irconv.pipeline import Pass
from irconv.rewrite import Rewriter, rule

# constants up to this size are compared by content
COMPARED_BYTES = 4096

Key: TypeAlias = "tuple[str, str, tuple[object, ...]]"


@dataclass(frozen=True)
class Canonicalize(Pass):
    """Brings a graph into its simplest form: no dead code, no identities, nothing computed twice.

    Every rule is exact, bit for bit. Outputs keep their names; random ops are never merged.
    """

    exact: ClassVar[bool] = True

    def run(self, graph: Graph, rewriter: Rewriter) -> None:
        before = -1
        while rewriter.fired.total() != before:
            before = rewriter.fired.total()
            rewriter.new_round()
            rewriter.apply(RULES)
            _merge_nodes(graph, rewriter)
        for value in tuple(graph.parameters.values()):
            if not value.is_used:
                rewriter.erase_parameter(value, remove_dead_code)


@rule()
def remove_dead_code(node: Node, rewriter: Rewriter) -> Sequence[Value] | None:
    """A node that nothing uses vanishes."""
    return None if any(v.is_used for v in node.results) else ()


@rule()
def merge_twins(node: Node, rewriter: Rewriter, seen: dict[Key, Node]) -> Sequence[Value] | None:
    """The same op on the same operands => the results of the first one."""
    if isinstance(node.op, Identity):
        return None
    key = (node.op.name, attributes_text(node.op), tuple(map(_identity, node.operands)))
    twin = seen.setdefault(key, node)
    if twin is node:
        return None
    if node.op.random:
        rewriter.declined(node, "a random op is never merged with its twin")
        return None
    return twin.results


def _identity(value: Value | None) -> object:
    """Equal for operands that are the same; free weights are the same only if they are shared."""
    if value is None or value.array is None or value.trainable:
        return value and value.uid
    array = value.array
    small = array.nbytes <= COMPARED_BYTES
    return (str(value.type), array.tobytes()) if small else value.uid


def _merge_nodes(graph: Graph, rewriter: Rewriter) -> None:
    merge = merge_twins.with_options(seen={})
    # in order: what stands first stays, so that operands stay in front of their users
    for node in graph:
        rewriter.attempt(merge, node)
    rewriter.finish()


RULES = (
    remove_dead_code,
    identities.remove_identity,
    identities.remove_rearrangement,
    identities.remove_neutral_operand,
    identities.remove_single_operand,
    identities.remove_unit_pool,
    identities.remove_repetition,
    identities.cancel_pair,
    reshapes.merge_transposes,
    reshapes.merge_reshapes,
    reshapes.raise_shuffle,
    normal_forms.clip_to_clamp,
    normal_forms.sum_to_add,
    normal_forms.prelu_to_leaky_relu,
    normal_forms.drop_ceil_mode,
    normal_forms.absorb_padding,
)
