"""Raises convolutions and pools: `auto_pad` and `output_shape` become explicit pads."""

from __future__ import annotations

from collections.abc import Sequence

from irconv.dim import Dim
from irconv.errors import ModelError
from irconv.onnx_reader.raising import rule
from irconv.onnx_reader.site import Site

_AUTO_PAD = ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")


@rule("Conv", 1, 11, 22)
@rule("ConvInteger", 10)
def conv(site: Site) -> None:
    """The kernel's sizes are the weight's."""
    kernel = _kernel(site, 1)
    site.native(kernel_shape=kernel, **_window(site, kernel))


@rule("QLinearConv", 10)
def qlinear_conv(site: Site) -> None:
    """The weight is operand 3."""
    kernel = _kernel(site, 3)
    site.native(kernel_shape=kernel, **_window(site, kernel))


@rule("MaxPool", 1, 8, 10, 11, 12, 22)
@rule("AveragePool", 1, 7, 10, 11, 19, 22)
@rule("LpPool", 2, 11, 18, 22)
def pool(site: Site) -> None:
    """A pool has its kernel as an attribute."""
    kernel = site.attribute("kernel_shape", ())
    site.native(kernel_shape=kernel, **_window(site, kernel))


def _kernel(site: Site, weight: int) -> tuple[int, ...]:
    """The kernel's sizes: the attribute, which must be the weight's, or the weight's."""
    sizes = site.known_sizes(weight, f"the weight of {site.op_type}")
    given = site.attribute("kernel_shape")
    if given is not None and given != sizes:
        raise ModelError("kernel_shape is not the weight's", expected=list(sizes), got=list(given))
    return sizes


def _full(site: Site, name: str, rank: int, default: int, times: int = 1) -> tuple[int, ...]:
    given = site.attribute(name)
    if given is None or not given:
        return (default,) * (rank * times)
    if len(given) != rank * times:
        raise ModelError(f"{name} has the wrong length", expected=rank * times, got=len(given))
    return tuple(given)


def _window(site: Site, kernel: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """strides, dilations and pads in full, `auto_pad` resolved."""
    rank = max(site.rank() - 2, 0)
    if len(kernel) != rank:
        raise ModelError("the kernel does not fit the input's rank", expected=rank, got=len(kernel))
    strides = _full(site, "strides", rank, 1)
    dilations = _full(site, "dilations", rank, 1)
    if min((*kernel, *strides, *dilations), default=1) < 1:
        raise ModelError(
            "kernel, strides and dilations must be positive",
            got=f"{list(kernel)}, {list(strides)}, {list(dilations)}",
        )
    mode = _auto_pad(site)
    given = _full(site, "pads", rank, 0, times=2)
    if mode == "NOTSET":
        return {"strides": strides, "dilations": dilations, "pads": given}
    if any(given):
        raise ModelError(f"pads stand beside auto_pad {mode}", got=list(given))
    pads = (0,) * (2 * rank)
    if mode.startswith("SAME"):
        spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
        pads = _same(site, mode, spans, strides)
    return {"strides": strides, "dilations": dilations, "pads": pads}


def _auto_pad(site: Site) -> str:
    mode: str = site.attribute("auto_pad", "NOTSET")
    if mode not in _AUTO_PAD:
        raise ModelError("unknown auto_pad", expected=" or ".join(_AUTO_PAD), got=mode)
    return mode


def _same(site: Site, mode: str, spans: Sequence[int], strides: Sequence[int]) -> tuple[int, ...]:
    """Pads for ceil(size / stride) outputs; with UPPER the odd one goes to the end."""
    totals = []
    for size, span, stride in zip(site.shape()[2:], spans, strides, strict=True):
        totals.append(_same_total(site, size, span, stride))
    small = tuple(t // 2 for t in totals)
    large = tuple(t - t // 2 for t in totals)
    return (*small, *large) if mode == "SAME_UPPER" else (*large, *small)


def _same_total(site: Site, size: Dim, span: int, stride: int) -> int:
    if stride == 1:
        return span - 1
    if not isinstance(size, int):
        raise ModelError(
            "auto_pad SAME with a stride needs known spatial sizes",
            got=site.type(0),
            hint="give the model fixed spatial sizes",
        )
    out = -(-size // stride)
    return max((out - 1) * stride + span - size, 0)


@rule("ConvTranspose", 1, 11, 22)
def conv_transpose(site: Site) -> None:
    """`output_shape` becomes pads and output padding."""
    kernel = _kernel(site, 1)
    rank = len(kernel)
    if rank != site.rank() - 2:
        raise ModelError(
            "the weight does not fit the input's rank", expected=site.rank(), got=rank + 2
        )
    strides = _full(site, "strides", rank, 1)
    dilations = _full(site, "dilations", rank, 1)
    extra = _full(site, "output_padding", rank, 0)
    pads = _full(site, "pads", rank, 0, times=2)
    mode = _auto_pad(site)
    wanted = site.attribute("output_shape")
    if wanted is not None or mode.startswith("SAME"):
        spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
        pads, extra = _transposed(site, mode, wanted, spans, strides, extra)
    elif mode == "VALID":
        pads = (0,) * (2 * rank)
    site.native(
        kernel_shape=kernel, strides=strides, dilations=dilations, output_padding=extra, pads=pads
    )


def _transposed(
    site: Site,
    mode: str,
    wanted: tuple[int, ...] | None,
    spans: Sequence[int],
    strides: Sequence[int],
    extra: tuple[int, ...],
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Pads and output padding that give the wanted output sizes (without one: size * stride)."""
    rank = len(spans)
    sizes = site.known_sizes(0, "an output shape")
    if wanted is None:
        goals: tuple[int, ...] = tuple(s * t for s, t in zip(sizes, strides, strict=True))
    elif len(wanted) in {rank, rank + 2}:
        # some writers give batch and channels too
        goals = tuple(wanted[-rank:])
    else:
        raise ModelError("output_shape has the wrong length", expected=rank, got=len(wanted))
    full = [t * (s - 1) + e + k for t, s, e, k in zip(strides, sizes, extra, spans, strict=True)]
    over = [f - g for f, g in zip(full, goals, strict=True)]
    totals = [max(o, 0) for o in over]
    added = tuple(e + max(-o, 0) for e, o in zip(extra, over, strict=True))
    small = tuple(t // 2 for t in totals)
    large = tuple(t - t // 2 for t in totals)
    pads = (*small, *large) if mode == "SAME_UPPER" else (*large, *small)
    return pads, added
