"""What ONNX's reference gets wrong in silence: such nodes are refused, with the reason.

Each was found by comparing the reference with onnxruntime; tests/test_ops_generic.py keeps them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from irconv.errors import GraphError
from irconv.types import Array, TensorType

# the attributes that the reference ignores
_IGNORED = {
    "RNN": ("clip", "activation_alpha", "activation_beta"),
    "GRU": ("clip", "activation_alpha", "activation_beta"),
    "LSTM": ("clip", "activation_alpha", "activation_beta", "input_forget"),
}
# the only activations that it knows, for each direction
_ACTIVATIONS = {
    "RNN": ("Tanh",),
    "GRU": ("Sigmoid", "Tanh"),
    "LSTM": ("Sigmoid", "Tanh", "Tanh"),
}
_SEQUENCE_LENGTHS = 4


def check_attributes(op_type: str, attributes: Mapping[str, Any]) -> None:
    """Raises GraphError where the reference does not do what an attribute says."""
    for name in _IGNORED.get(op_type, ()):
        if attributes.get(name):
            raise _refusal(op_type, f"ignores {name}")
    if op_type in _ACTIVATIONS:
        known = _ACTIVATIONS[op_type]
        given = attributes.get("activations", known)
        if tuple(given) not in (known, known * 2):
            raise _refusal(op_type, f"computes with {', '.join(known)} only")
    cubic = attributes.get("mode") in {"cubic", "bicubic"}
    if op_type == "GridSample" and cubic and attributes.get("padding_mode") == "border":
        raise _refusal(op_type, "pads a cubic sample at the border in another way")


def check_operands(
    op_type: str,
    attributes: Mapping[str, Any],
    types: Sequence[TensorType | None],
    constants: Sequence[Array | None],
) -> None:
    """Raises GraphError where the reference does not look at an operand that is there."""
    if op_type not in _ACTIVATIONS or len(types) <= _SEQUENCE_LENGTHS:
        return
    first, lengths = types[0], constants[_SEQUENCE_LENGTHS]
    if types[_SEQUENCE_LENGTHS] is None or first is None:
        return
    steps = first.shape[attributes.get("layout", 0)] if first.rank == 3 else None
    # those that are not known yet are looked at when they are (`Generic.run`)
    if lengths is not None and (lengths != steps).any():
        raise _refusal(op_type, "ignores sequence_lens that are not the whole sequence")


def _refusal(op_type: str, what: str) -> GraphError:
    return GraphError(f"{op_type} is not supported here: ONNX's reference {what}")
