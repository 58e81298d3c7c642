"""Reads kernels, strides and pads as people write them: one number, one per axis, or a word."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from typing import SupportsIndex, TypeAlias

from irconv.dim import Dim
from irconv.errors import GraphError, printable

Sizes: TypeAlias = "int | Sequence[int]"
Pads: TypeAlias = "int | str | Sequence[int]"


def per_axis(what: str, given: Sizes, rank: int, least: int = 1) -> tuple[int, ...]:
    """One integer, `least` or more, per spatial axis; a single one stands for all."""
    sizes = _integers(what, given)
    sizes = sizes * rank if isinstance(given, SupportsIndex) else sizes
    if len(sizes) != rank:
        raise GraphError(
            f"{what} does not fit the operand",
            expected=f"one integer or {rank}, one per spatial axis",
            got=list(sizes),
        )
    if any(size < least for size in sizes):
        raise GraphError(f"{what} is too small", expected=f"at least {least}", got=list(sizes))
    return sizes


def _integers(what: str, given: object) -> tuple[int, ...]:
    try:
        if isinstance(given, SupportsIndex):
            return (index(given),)
        return tuple(index(size) for size in given)  # type: ignore[attr-defined]
    except TypeError:
        raise GraphError(f"{what} is not made of integers", got=printable(given)) from None


def pad_sizes(
    pads: Pads,
    spatial: Sequence[Dim],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> tuple[int, ...]:
    """The begins of all axes, then the ends, as in ONNX.

    `pads` is one number for all sides, one per axis, or begins and ends. "same" makes the output
    `ceil(size / stride)`, the odd pixel at the end (ONNX's SAME_UPPER); "valid" is 0.
    """
    if pads == "valid":
        return (0,) * (2 * len(spatial))
    if pads == "same":
        totals = [_same(*axis) for axis in zip(spatial, kernel, strides, dilations, strict=True)]
        return (*(t // 2 for t in totals), *(t - t // 2 for t in totals))
    if isinstance(pads, str):
        raise GraphError(
            "unknown pads", expected='"same", "valid" or integers', got=printable(pads)
        )
    sizes, rank = _integers("pads", pads), len(spatial)
    if isinstance(pads, SupportsIndex):
        return sizes * (2 * rank)
    if len(sizes) not in {rank, 2 * rank}:
        raise GraphError(
            "pads do not fit the operand",
            got=list(sizes),
            expected=f"one integer, {rank} (one per axis) or {2 * rank} (begins, then ends)",
        )
    return sizes * 2 if len(sizes) == rank else sizes


def _same(size: Dim, kernel: int, stride: int, dilation: int) -> int:
    span = dilation * (kernel - 1) + 1
    if stride == 1:
        return span - 1
    if not isinstance(size, int):
        raise GraphError('pads="same" with strides needs known sizes', got=size)
    return max(0, ((size - 1) // stride) * stride + span - size)
