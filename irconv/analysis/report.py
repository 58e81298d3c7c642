"""The matrix report of a layer: what its matrix costs, shares and amplifies, in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from irconv.analysis.crossbars import Crossbar, crossbar
from irconv.analysis.diagonals import Diagonals, diagonals, tap_reach
from irconv.analysis.layer_matrix import LayerMatrix
from irconv.analysis.operator import AdjointTest, ConvOperator, adjoint_test
from irconv.analysis.report_text import told
from irconv.analysis.spectral_norm import ITERATIONS, SpectralNorm, spectral_norm
from irconv.analysis.spectrum import DENSE_BUDGET, Spectrum, reshaped_norm, spectrum
from irconv.errors import BudgetError, UsageError
from irconv.geometry import ConvGeometry
from irconv.graph import Node
from irconv.kinds import is_float

CROSSBARS = ((128, 128), (256, 256))


@dataclass(frozen=True)
class MatrixReport:
    """The matrix of one layer: rows are output elements, columns input elements of one image.

    `entries` are the places that hold a weight, `fixed_zeros` all others. Each free weight stands
    at `places[0]` to `places[1]` places; `unused_weights` stand nowhere, since they only meet the
    padding. `zero_entries` are entries whose weight is 0 just now. What is None has its
    reason in `why_not`.
    """

    node: str
    op: str
    geometry: str
    transposed: bool
    rows: int
    columns: int
    entries: int
    free_weights: int
    unused_weights: int
    places: tuple[int, int]
    diagonals: Diagonals | None
    crossbars: tuple[Crossbar, ...]
    zero_entries: int | None = None
    spectral_norm: SpectralNorm | None = None
    reshaped_norm: float | None = None
    rank: int | None = None
    condition: float | None = None
    nonzero_condition: float | None = None
    adjoint: AdjointTest | None = None
    why_not: dict[str, str] = field(default_factory=dict)

    @property
    def fixed_zeros(self) -> int:
        return self.rows * self.columns - self.entries

    @property
    def density(self) -> float:
        return self.entries / (self.rows * self.columns)

    def to_json(self) -> dict[str, Any]:
        """Plain data for `json.dumps`; a number that is None says why in `why_not`."""
        return asdict(self) | {"fixed_zeros": self.fixed_zeros, "density": self.density}

    def lines(self) -> list[str]:
        """The report for people, a fact a line."""
        return told(self)

    def __str__(self) -> str:
        return "\n".join(self.lines())


def matrix_report(
    node: Node,
    *,
    crossbars: Sequence[tuple[int, int]] = CROSSBARS,
    norm: bool = True,
    iterations: int = ITERATIONS,
    dense_budget: int = DENSE_BUDGET,
    seed: int = 0,
) -> MatrixReport:
    """The matrix report of a Conv, FusedConv, ConvTranspose, ConvMatrix or SparseMatMul.

    The matrix is not built: what is counted comes from index arithmetic and is exact. `crossbars`
    are array sizes (rows, columns). With `norm`, the numbers that need products with the matrix are
    made too: the spectral norm (at most `iterations` steps), the adjoint test, and rank and
    condition where dense blocks of at most `dense_budget` bytes do. `seed` starts the random
    vectors. Raises UsageError where the node has no matrix or its sizes are not known.
    """
    layer = LayerMatrix.of(node)
    return report_of(layer, crossbars, norm, iterations, dense_budget, seed)


def report_of(
    layer: LayerMatrix,
    crossbars: Sequence[tuple[int, int]],
    norm: bool,
    iterations: int,
    dense_budget: int,
    seed: int,
) -> MatrixReport:
    """`matrix_report` of what `LayerMatrix.of` found."""
    why_not: dict[str, str] = {}
    places = _places(layer.geometry)
    per_tap = layer.geometry.free_weights // layer.geometry.taps
    facts: dict[str, Any] = {
        "node": layer.node,
        "op": layer.op,
        "geometry": str(layer.geometry),
        "transposed": layer.transposed,
        "rows": layer.rows,
        "columns": layer.columns,
        "entries": layer.geometry.nnz,
        "free_weights": layer.geometry.free_weights,
        "unused_weights": int(np.count_nonzero(places == 0)) * per_tap,
        "places": (int(places.min()), int(places.max())),
        "diagonals": _diagonals(layer, why_not),
        "crossbars": _crossbars(layer, crossbars, why_not),
    }
    if layer.weights is None:
        why_not["weights"] = "the weights are not constant"
    else:
        zero = np.count_nonzero(layer.weights.reshape(-1, layer.geometry.taps) == 0, axis=0)
        facts["zero_entries"] = int(zero @ places)
        refusal = _refusal(layer) if norm else "not asked for"
        if refusal is None:
            facts |= _measured(layer, iterations, dense_budget, seed, why_not)
        else:
            why_not |= dict.fromkeys(("spectral_norm", "rank", "adjoint"), refusal)
    return MatrixReport(**facts, why_not=why_not)


def _places(g: ConvGeometry) -> Any:
    """[taps] int64: at how many places of one block of channels each tap stands."""
    counts = np.ones(1, np.int64)
    for axis in range(g.rank):
        own = [tap_reach(g, axis, tap)[1] for tap in range(g.kernel[axis])]
        counts = np.outer(counts, np.array(own, np.int64)).reshape(-1)
    return counts


def _diagonals(layer: LayerMatrix, why_not: dict[str, str]) -> Diagonals | None:
    try:
        return diagonals(layer.geometry, layer.transposed)
    except BudgetError as error:
        why_not["diagonals"] = str(error)
        return None


def _crossbars(
    layer: LayerMatrix, sizes: Sequence[tuple[int, int]], why_not: dict[str, str]
) -> tuple[Crossbar, ...]:
    found = []
    for rows, columns in sizes:
        if min(rows, columns) < 1:
            raise UsageError("wrong crossbar", expected="sizes of 1 or more", got=(rows, columns))
        try:
            found.append(crossbar(layer.geometry, rows, columns, layer.transposed))
        except BudgetError as error:
            why_not[f"crossbar {rows}x{columns}"] = str(error)
    return tuple(found)


def _refusal(layer: LayerMatrix) -> str | None:
    """Why these weights have no singular values, or None."""
    assert layer.weights is not None
    if not is_float(layer.weights.dtype):
        return f"the weights are {layer.weights.dtype}"
    if not np.isfinite(layer.weights).all():
        return "some weights are not finite"
    return None


def _measured(
    layer: LayerMatrix, iterations: int, budget: int, seed: int, why_not: dict[str, str]
) -> dict[str, Any]:
    """What needs products with the matrix; a matrix and its transpose have the same."""
    rng = np.random.default_rng(seed)
    assert layer.weights is not None
    weights = layer.weights.astype(np.float64)
    # squares of very large or small weights would leave the range of numbers
    scale = float(np.abs(weights).max(initial=0.0)) or 1.0
    operator = ConvOperator(layer.geometry, weights / scale)
    found: dict[str, Any] = {"adjoint": adjoint_test(operator, rng)}
    found["reshaped_norm"] = scale * reshaped_norm(operator.weights)
    values = spectrum(operator, budget)
    if isinstance(values, Spectrum):
        norm = scale * values.norm
        found["spectral_norm"] = SpectralNorm(norm, values.method, norm, norm)
        found["rank"] = values.rank
        found["condition"] = values.condition
        found["nonzero_condition"] = values.nonzero_condition
    else:
        why_not["rank"] = values
        found["spectral_norm"] = spectral_norm(operator, rng, iterations).scaled(scale)
    return found
