"""Keeps activations in blocks of channels with zeros around each image, between Pack and Unpack."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from irconv.graph import Graph, Node, Value
from irconv.layout import Layout
from irconv.ops.fused import FusedConv
from irconv.ops.layout import Pack as PackOp
from irconv.ops.layout import Unpack
from irconv.passes.layouts import Choice, block_of, choose_layouts, is_block_op, makes_pool, refusal
from irconv.passes.matrix_images import between_products, product_on_images
from irconv.pipeline import Pass
from irconv.rewrite import Rewriter, rule
from irconv.types import MatrixType


@dataclass(frozen=True)
class Pack(Pass):
    """Keeps activations in blocks of channels with zeros around each image, between Pack and
    Unpack.

    Convolutions begin such a region, and pools, sums, activations and concatenations continue it.
    The zeros stand for the padding of every convolution that reads the value, so that its kernel
    has no edges. A product with the matrix of a convolution, in its tap form, counts as one, and is
    made a product with images first. `block` is the number of channels of one vector of the target.
    """

    exact: ClassVar[bool] = True

    block: int = 16

    def run(self, graph: Graph, rewriter: Rewriter) -> None:
        names: dict[Value, str] = {}
        products = product_on_images.with_options(block=self.block, names=names)
        rewriter.apply([products, between_products.with_options(names=names)])
        _rename(graph, names)
        choice = choose_layouts(graph, self.block)
        names.clear()
        packed: dict[tuple[str, int], Value] = {}
        options = {"block": self.block, "choice": choice, "names": names, "packed": packed}
        rewriter.apply([into_blocks.with_options(**options)])
        _rename(graph, names)


def _rename(graph: Graph, names: dict[Value, str]) -> None:
    for value, name in names.items():
        if name not in graph and value.name in graph:
            graph.rename(value, name)


@rule()
def into_blocks(
    node: Node,
    rewriter: Rewriter,
    block: int,
    choice: Choice,
    names: dict[Value, str],
    packed: dict[tuple[str, int], Value],
) -> Value | None:
    """op(x) => Unpack(op(Pack(x)))."""
    if any(_is_laid_out(v) for v in (*node.operands, *node.results)) or not is_block_op(node):
        return None
    reason = refusal(node, block)
    if reason is not None:
        return rewriter.declined(node, reason)
    if node.name not in choice.nodes:
        return None  # nothing that it reads is in blocks
    layout = choice.layouts[node.name, block]
    operands = [
        _in_blocks(node, i, rewriter, block, choice, packed) for i in range(len(node.operands))
    ]
    y = _emit(node, operands, rewriter, layout)
    names[y] = node.name
    return rewriter.emit(Unpack(), y, name="unpacked")


def _emit(node: Node, operands: list[Value | None], rewriter: Rewriter, layout: Layout) -> Value:
    """The node on blocks; a pool that no kernel makes with its convolution by itself."""
    op = node.op
    if isinstance(op, FusedConv) and op.pool is not None and not makes_pool(node, layout.block):
        before = rewriter.emit(replace(op, pool=None), *operands, name="before_pool")
        none = Layout(layout.block, (0,) * len(layout.halo))
        before.type = before.tensor_type.with_layout(none)
        op, operands = op.pool, [before]
    y = rewriter.emit(op, *operands, name="blocks")
    y.type = y.tensor_type.with_layout(layout)
    return y


def _is_laid_out(value: Value | None) -> bool:
    return value is not None and getattr(value.type, "layout", None) is not None


def _in_blocks(
    node: Node,
    index: int,
    rewriter: Rewriter,
    block: int,
    choice: Choice,
    packed: dict[tuple[str, int], Value],
) -> Value | None:
    """An operand in blocks; a parameter stays as it is."""
    value = node.operands[index]
    if value is None or value.is_parameter or isinstance(value.type, MatrixType):
        return value
    if value.producer is not None and isinstance(value.producer.op, Unpack):
        return value.producer.operand(0)
    key = (value.name, block_of(node, index, block))
    if key not in packed or packed[key].producer is None:
        layout = choice.layouts[key]
        packed[key] = rewriter.emit(PackOp(layout.block, layout.halo), value, name="packed")
    return packed[key]
