"""Fused nodes as the standard operators they stand for, or as model-local functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from irconv.backends.onnx.empty import lacks_images
from irconv.backends.onnx.records import (
    DOMAIN,
    Emitter,
    FunctionEmitter,
    Names,
    OnnxFunction,
    OnnxNode,
    Operand,
    Reference,
    Site,
)
from irconv.listing import attribute_text
from irconv.op import Op
from irconv.ops.fused import FusedConv
from irconv.ops.pair import ConvPair
from irconv.ops.preact import PreactConv, ScaleShift
from irconv.types import TensorType

# writes any op; given by the dispatcher, because an activation or a pool may be any of them
Write = Callable[[Emitter, Site], tuple[str, ...]]
_CONV_ATTRIBUTES = ("kernel_shape", "strides", "pads", "dilations", "group")


def fused_conv(out: Emitter, site: Site, write: Write) -> tuple[str, ...]:
    """FusedConv => Conv, Add, activation, pool."""
    op = site.op
    assert isinstance(op, FusedConv)
    attributes = {key: getattr(op, key) for key in _CONV_ATTRIBUTES}
    y = out.add("Conv", [site.operand(i) for i in range(3)], attributes)
    between = op.conv_type(site.types)
    y = epilogue(out, y, between, site.operand(3), op.activation, write)
    return (y,) if op.pool is None else write(out, site.then(op.pool, y, between))


def scale_shift(out: Emitter, site: Site, write: Write) -> tuple[str, ...]:
    """ScaleShift => Mul, Add, activation."""
    op = site.op
    assert isinstance(op, ScaleShift | PreactConv)
    kind = site.type(0)
    y = out.ref(site.operand(0))
    for index, name in ((1, "Mul"), (2, "Add")):
        y = out.add(name, [y, _per_channel(out, site, index, kind.rank)])
    return (epilogue(out, y, kind, None, op.activation, write),)


def _per_channel(out: Emitter, site: Site, index: int, rank: int) -> Operand:
    """A vector [C], shaped to broadcast along the second of `rank` axes."""
    vector, shape = site.array(index), (-1, *(1,) * (rank - 2))
    if rank == 2:
        return site.operand(index)
    if vector is None:
        return out.reshape(site.operand(index), shape)
    return out.constant(vector.reshape(shape), site.op.operands.split(", ")[index])


def preact_conv(out: Emitter, site: Site, write: Write) -> tuple[str, ...]:
    """PreactConv => Mul, Add, activation; then as the FusedConv in it."""
    op = site.op
    assert isinstance(op, PreactConv)
    x = scale_shift(out, site, write)[0]
    types = (site.types[0], *site.types[3:])
    return write(out, Site(op.conv, (x, *site.operands[3:]), types, site.results))


def conv_pair(out: Emitter, site: Site, write: Write) -> tuple[str, ...]:
    """ConvPair => as its two FusedConv."""
    op = site.op
    assert isinstance(op, ConvPair)
    x, w, v, b, c, r = (site.operand(i) for i in range(6))
    types = [*site.types, *(None,) * (6 - len(site.types))]
    between = op.between(types)
    first = Site(op.first, (x, w, b), (types[0], types[1], types[3]), (between,))
    (y,) = fused_conv(out, first, write)
    second = Site(op.second, (y, v, c, r), (between, types[2], *types[4:]), site.results)
    return fused_conv(out, second, write)


def epilogue(
    out: Emitter,
    y: str,
    t: TensorType,
    residual: Operand,
    activation: Op | None,
    write: Write,
) -> str:
    """What follows a product of type `t`: plus the residual, then the activation."""
    if residual is not None:
        y = out.add("Add", [y, residual])
    if activation is None:
        return y
    return write(out, Site(activation, (y,), (t,), (t,)))[0]


def fused_matmul(out: Emitter, site: Site, write: Write) -> tuple[str, ...]:
    """FusedMatMul => Gemm, or MatMul and Add; then Add and activation."""
    op: Any = site.op
    a, b, bias, residual = (site.operand(i) for i in range(4))
    if site.type(0).rank == site.type(1).rank == 2 and (op.transA or op.transB or bias is not None):
        attributes = {"transA": int(op.transA), "transB": int(op.transB)}
        y = out.add("Gemm", [a, b, bias], attributes)
    else:
        a = _turned(out, a, site.type(0).rank) if op.transA else a
        b = _turned(out, b, site.type(1).rank) if op.transB else b
        y = matmul(out, a, b, site)
        y = y if bias is None else out.add("Add", [y, bias])
    return (epilogue(out, y, site.result(), residual, op.activation, write),)


def matmul(out: Emitter, a: Operand, b: Operand, site: Site) -> str:
    """MatMul of the first two operands of a site, as they are or turned."""
    out.lacks_images = out.lacks_images or lacks_images(site.type(0), site.type(1))
    return out.add("MatMul", [a, b])


def product(out: Emitter, site: Site) -> tuple[str, ...]:
    """MatMul as it stands."""
    return (matmul(out, site.operand(0), site.operand(1), site),)


def _turned(out: Emitter, x: Operand, rank: int) -> str:
    return out.transpose(x, (*range(rank - 2), rank - 1, rank - 2))


class Functions:
    """The model-local functions of a file: one for each different body."""

    def __init__(self, opset: int) -> None:
        self.opset = opset
        self.names = Names()
        self.made: dict[tuple[Any, ...], OnnxFunction] = {}

    def call(
        self, out: Emitter, site: Site, body: Callable[..., tuple[str, ...]], write: Write
    ) -> tuple[str, ...]:
        """The node as a call of its function."""
        inner = FunctionEmitter(self.opset, Names())
        formals = [name.strip(" ?") for name in site.op.operands.split(",")]
        given = [None if v is None else formals[i] for i, v in enumerate(site.operands)]
        inner.names.taken.update(formals)
        inner.stem = "f"
        results = body(inner, Site(site.op, tuple(given), site.types, site.results), write)
        is_conv = isinstance(site.op, FusedConv | PreactConv)
        attributes = _free_attributes(inner.nodes) if is_conv else {}
        key = (_name(site.op), tuple(given), _text(inner.nodes), results)
        if key not in self.made:
            self.made[key] = OnnxFunction(
                self.names.fresh(key[0]),
                tuple(g for g in given if g is not None),
                results,
                tuple(attributes),
                tuple(inner.nodes),
            )
        out.lacks_images = out.lacks_images or inner.lacks_images
        operands = [v for v in site.operands if v is not None]
        name = self.made[key].name
        return out.add_node(name, operands, attributes, len(results), domain=DOMAIN)


def _free_attributes(nodes: list[OnnxNode]) -> dict[str, Any]:
    """Takes the convolution's attributes out of the body: the call gives them."""
    conv = next(node for node in nodes if node.op_type == "Conv")
    given = conv.attributes
    kinds = {key: "INTS" if isinstance(value, tuple) else "INT" for key, value in given.items()}
    conv.attributes = {key: Reference(key, kind) for key, kind in kinds.items()}
    return given


def _name(op: Any) -> str:
    nested = [p for p in (getattr(op, key, None) for key in ("conv", "first", "second")) if p]
    parts = [getattr(o, key, None) for o in (op, *nested) for key in ("activation", "pool")]
    return ".".join([op.name, *(p.name for p in parts if p)])


def _text(nodes: list[OnnxNode]) -> str:
    lines = []
    for node in nodes:
        attributes = sorted((k, _shown(v)) for k, v in node.attributes.items())
        lines.append(f"{node.outputs} = {node.op_type} {node.inputs} {attributes}")
    return "\n".join(lines)


def _shown(value: Any) -> str:
    if isinstance(value, Reference):
        return f"@{value.name}"
    return value.tobytes().hex() if hasattr(value, "tobytes") else attribute_text(value)
