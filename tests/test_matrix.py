"""The shared-weight matrix: sharing, fixed zeros, adjoint, gradient, budgets, its index."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from irconv.errors import BudgetError
from irconv.geometry import ConvGeometry
from irconv.matrix import SharedMatrix
from irconv.ops.conv import Conv, ConvTranspose

GEOMETRIES = [
    ConvGeometry(1, 1, (3, 3), (2, 2), (1, 1), (0, 0, 0, 0), (1, 1)),
    ConvGeometry(1, 1, (3, 3), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1)),
    ConvGeometry(2, 4, (5, 6), (3, 2), (2, 1), (0, 1, 2, 0), (1, 2), 2),
    ConvGeometry(3, 3, (7,), (3,), (2,), (2, 0), (2,), 3),
    ConvGeometry(2, 2, (3, 4, 3), (2, 2, 2), (1, 2, 1), (1, 0, 0, 0, 1, 1), (1, 1, 1)),
]
FORMS = ["tap", "literal"]


def matrix_of(geometry: ConvGeometry, form: str = "tap", transposed: bool = False) -> SharedMatrix:
    weights = np.arange(1, 1 + geometry.free_weights, dtype=np.float64)
    return SharedMatrix.of(geometry, weights.reshape(geometry.weights_shape), transposed, form)


def conv_of(geometry: ConvGeometry) -> Conv:
    g = geometry
    return Conv(g.kernel, g.strides, g.pads, g.dilations, group=g.group)


def test_the_smallest_example() -> None:
    """A 3x3 image under a 2x2 filter is a 4x9 matrix (Kernes, CNNs from different viewpoints)."""
    a, b, c, d = 1.0, 2.0, 3.0, 4.0
    expected = [
        [a, b, 0, c, d, 0, 0, 0, 0],
        [0, a, b, 0, c, d, 0, 0, 0],
        [0, 0, 0, a, b, 0, c, d, 0],
        [0, 0, 0, 0, a, b, 0, c, d],
    ]
    assert np.array_equal(matrix_of(GEOMETRIES[0]).dense(), expected)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_columns_are_the_responses_to_unit_images(geometry: ConvGeometry, form: str) -> None:
    matrix = matrix_of(geometry, form)
    units = np.eye(geometry.columns).reshape(-1, geometry.in_channels, *geometry.image)
    (responses,) = conv_of(geometry).run([units, matrix.weights])
    dense = responses.reshape(geometry.columns, -1).T
    assert np.array_equal(matrix.dense(), dense)
    assert np.array_equal(matrix.matmul(np.eye(geometry.columns)).T, dense)
    assert matrix.nnz == geometry.nnz == np.count_nonzero(dense)
    for i in range(geometry.rows):
        assert np.array_equal(matrix.row(i), dense[i])
    assert np.array_equal(matrix.column(1), dense[:, 1])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_the_transpose_is_the_transposed_convolution(geometry: ConvGeometry, form: str) -> None:
    g = geometry
    matrix = matrix_of(g, form)
    assert np.array_equal(matrix.T.dense(), matrix.dense().T)
    assert np.array_equal(matrix_of(g, form, transposed=True).dense(), matrix.dense().T)
    assert np.array_equal(matrix.T.row(2), matrix.dense()[:, 2])
    fits = [
        i - ((o - 1) * s + (k - 1) * d + 1 - a - b)
        for i, o, s, k, d, a, b in zip(
            g.image,
            g.out,
            g.strides,
            g.kernel,
            g.dilations,
            g.pads[: g.rank],
            g.pads[g.rank :],
            strict=True,
        )
    ]
    op = ConvTranspose(
        g.kernel, g.strides, g.pads, g.dilations, group=g.group, output_padding=tuple(fits)
    )
    units = np.eye(g.rows).reshape(-1, g.out_channels, *g.out)
    (responses,) = op.run([units, matrix.weights])
    assert np.array_equal(responses.reshape(g.rows, -1).T, matrix.T.dense())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_one_free_weight_changes_all_its_places_and_no_zero(
    geometry: ConvGeometry, form: str
) -> None:
    matrix = matrix_of(geometry, form)
    before = matrix.dense()
    weights = np.array(matrix.weights)
    weights.reshape(-1)[1] = 1000.0
    after = matrix.with_weights(weights).dense()
    assert np.array_equal(after != before, before == matrix.weights.reshape(-1)[1])
    assert np.array_equal(after == 0, before == 0)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_a_free_weight_gets_the_sum_over_its_places(geometry: ConvGeometry, form: str) -> None:
    matrix = matrix_of(geometry, form)
    rng = np.random.default_rng(0)
    gradient = rng.integers(-9, 10, matrix.shape).astype(np.float64)
    found = matrix.free_gradient(gradient)
    dense = matrix.dense()
    places = [dense == w for w in matrix.weights.reshape(-1)]
    expected = [gradient[place].sum() for place in places]
    assert np.array_equal(found.reshape(-1), expected)
    csr = matrix.csr()
    csr.data[:] = 1
    assert np.array_equal(matrix.free_gradient(csr).reshape(-1), [place.sum() for place in places])


def test_the_operator_is_its_own_adjoint_test() -> None:
    matrix = matrix_of(GEOMETRIES[2])
    operator = matrix.linear_operator()
    rng = np.random.default_rng(1)
    x = rng.integers(-9, 10, operator.shape[1]).astype(np.float64)
    y = rng.integers(-9, 10, operator.shape[0]).astype(np.float64)
    assert operator.matvec(x) @ y == x @ operator.rmatvec(y)


@pytest.mark.parametrize("form", FORMS)
def test_it_is_executed_from_its_index(form: str) -> None:
    """Permuted entries permute the result: nothing is derived from the geometry while it runs."""
    matrix = matrix_of(GEOMETRIES[1], form)
    order = np.random.default_rng(2).permutation(len(matrix.entries))
    permuted = replace(matrix, entries=matrix.entries[order])
    x = np.arange(1.0, 10.0)[None]
    dense = permuted.dense()
    assert not np.array_equal(dense, matrix.dense())
    assert np.array_equal(permuted.matmul(x)[0], dense @ x[0])


def test_sizes_are_known_before_and_refused_past_a_budget() -> None:
    large = ConvGeometry(64, 64, (56, 56), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1))
    assert large.nnz == 166 * 166 * 64 * 64
    weights = np.zeros(large.weights_shape, np.float32)
    matrix = SharedMatrix.of(large, weights)
    assert matrix.csr_bytes == large.nnz * 8 + 4 * (large.rows + 1)
    with pytest.raises(BudgetError, match=f"got {matrix.dense_bytes} bytes"):
        matrix.dense()
    with pytest.raises(BudgetError, match="CSR matrix"):
        matrix.csr(budget=1 << 20)
    assert len(matrix.row(5)) == large.columns
