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

# equal constants are merged up to this size; a large one is hardly ever stored twice
MERGED_BYTES = 4096

Key: TypeAlias = "tuple[str, str, tuple[int | None, ...]]"


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
            rewriter.apply(RULES)
            _merge_constants(graph, rewriter)
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
    operands = tuple(v.uid if v is not None else None for v in node.operands)
    key = (node.op.name, attributes_text(node.op), operands)
    twin = seen.setdefault(key, node)
    if twin is node:
        return None
    if node.op.random:
        rewriter.declined(node, "a random op is never merged with its twin")
        return None
    return twin.results


def _merge_nodes(graph: Graph, rewriter: Rewriter) -> None:
    merge = merge_twins.with_options(seen={})
    # in order: what stands first stays, so that operands stay in front of their users
    for node in graph:
        rewriter.attempt(merge, node)
    rewriter.finish()


def _merge_constants(graph: Graph, rewriter: Rewriter) -> None:
    seen: dict[tuple[str, bytes], Value] = {}
    for value in tuple(graph.parameters.values()):
        array = value.array
        if array is None or value.trainable or value.is_output or array.nbytes > MERGED_BYTES:
            continue
        twin = seen.setdefault((str(value.type), array.tobytes()), value)
        if twin is not value:
            rewriter.erase_parameter(value, merge_twins, heir=twin)


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
    normal_forms.clip_to_clamp,
    normal_forms.sum_to_add,
    normal_forms.prelu_to_leaky_relu,
    normal_forms.drop_ceil_mode,
    normal_forms.absorb_padding,
)
