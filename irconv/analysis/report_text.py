"""A matrix report as lines for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from irconv.errors import printable

if TYPE_CHECKING:
    from irconv.analysis.report import MatrixReport


def told(report: MatrixReport) -> list[str]:
    """The facts, one or two lines each; what is missing says why."""
    return [
        f"%{printable(report.node)} ({report.op}): {report.geometry}",
        *_counts(report),
        *_diagonals(report),
        *_crossbars(report),
        *_norm(report),
        *_rank(report),
        *_adjoint(report),
    ]


def _counts(r: MatrixReport) -> Iterator[str]:
    turned = ", the transpose of that convolution's" if r.transposed else ""
    yield f"matrix            {r.rows} x {r.columns}{turned}; {r.entries} entries"
    dense = r.rows * r.columns
    yield (
        f"zeros             {r.fixed_zeros} of {dense} places are fixed zeros; "
        f"density {r.density:.3g}"
    )
    least, most = r.places
    places = f"{most} places" if least == most else f"{least} to {most} places"
    yield f"sharing           {r.free_weights} free weights, each at {places}"
    if r.unused_weights:
        yield f"                  {r.unused_weights} weights only meet the padding"
    if r.zero_entries:
        yield f"                  {r.zero_entries} entries hold a weight that is 0"
    if "weights" in r.why_not:
        yield f"                  {r.why_not['weights']}: no numbers that need them"


def _diagonals(r: MatrixReport) -> Iterator[str]:
    if r.diagonals is None:
        yield f"diagonals         not counted: {r.why_not['diagonals']}"
        return
    d = r.diagonals
    yield (
        f"diagonals         {d.count} of {r.rows + r.columns - 1} are not zero, from {d.lowest} to "
        f"{d.highest}; {d.cyclic} of {max(r.rows, r.columns)} when they wrap around"
    )


def _crossbars(r: MatrixReport) -> Iterator[str]:
    for c in r.crossbars:
        size = f"crossbar {c.rows}x{c.columns}"
        yield (
            f"{size:<17} {c.tiles} of {c.all_tiles} tiles hold an entry, {c.use:.2%} of their "
            f"cells used; the weights alone take {c.kernel_tiles}"
        )
    for key, why in r.why_not.items():
        if key.startswith("crossbar"):
            yield f"{key:<17} not counted: {why}"


def _norm(r: MatrixReport) -> Iterator[str]:
    n = r.spectral_norm
    if n is None:
        yield from _missing(r, "spectral_norm", "spectral norm")
        return
    if n.method != "lanczos":
        yield f"spectral norm     {n.value:.6g} (from all singular values)"
    else:
        yield (
            f"spectral norm     {n.value:.6g} ({n.iterations} steps of Lanczos, residual "
            f"{n.residual:.1e}{'' if n.is_converged else '; more --iterations make it smaller'})"
        )
        yield (
            f"                  at most {n.probable_upper:.6g} but for one random start in 10^9, "
            f"at most {n.upper:.6g} always"
        )
    yield (
        f"                  not {r.reshaped_norm:.6g}: that is of the weights as one matrix "
        "(torch's spectral_norm)"
    )


def _rank(r: MatrixReport) -> Iterator[str]:
    if r.rank is None:
        yield from _missing(r, "rank", "rank")
        return
    full = min(r.rows, r.columns)
    yield f"rank              {r.rank} of {full}{' (full)' if r.rank == full else ''}"
    if r.rank == full:
        yield f"condition         {r.condition:.6g}"
    elif r.nonzero_condition is not None:
        yield f"condition         infinite; {r.nonzero_condition:.6g} without the zeros"


def _adjoint(r: MatrixReport) -> Iterator[str]:
    a = r.adjoint
    if a is None:
        yield from _missing(r, "adjoint", "adjoint")
        return
    yield (
        f"adjoint           <Wx, y> = {a.forward:.15g}, <x, W'y> = {a.backward:.15g}: "
        f"they differ by {a.difference:.1e} of |Wx| |y|"
    )


def _missing(r: MatrixReport, key: str, title: str) -> Iterator[str]:
    if key in r.why_not:
        yield f"{title:<17} not computed: {r.why_not[key]}"
