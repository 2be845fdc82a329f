"""Counts are told from logarithms and from everything else by their values."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from biosae_utils.cells.counts import recognise, undo_log1p

COUNTS = sp.csr_matrix(np.random.default_rng(0).poisson(0.8, (30, 60)).astype(np.float64) + np.eye(30, 60))


def logs(total: float) -> sp.csr_matrix:
    dense = COUNTS.toarray()
    return sp.csr_matrix(np.log1p(dense / dense.sum(1, keepdims=True) * total))


def test_integers_are_counts():
    assert recognise(COUNTS).name == "counts" and not recognise(COUNTS).is_log


@pytest.mark.parametrize("total", [1e4, 1e6])
def test_logs_of_normalised_counts_are_undone_exactly(total):
    found = recognise(logs(total))
    assert found.is_log and found.usable
    counts, _ = undo_log1p(logs(total))
    np.testing.assert_array_equal(counts.toarray(), COUNTS.toarray())


@pytest.mark.parametrize(
    "values",
    [
        sp.csr_matrix(np.random.default_rng(1).normal(size=(20, 30))),
        sp.csr_matrix(np.random.default_rng(1).random((20, 30))),
        logs(1e4).multiply(0.5).tocsr(),
    ],
)
def test_what_is_neither_is_not_usable(values):
    assert not recognise(values).usable and recognise(values).why
