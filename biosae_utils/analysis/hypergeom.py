"""Upper tails of the hypergeometric distribution as one table, because list, term and overlap sizes repeat."""

from __future__ import annotations

import numpy as np


class HypergeometricTable:
    """P(X >= x) for every (list size, term size, overlap) that can occur.

    X is the number of term genes in a list of ``n`` genes drawn without replacement from ``background`` genes of which
    ``K`` belong to the term; the one-sided Fisher exact test of enrichment.

    Parameters
    ----------
    background : int
        Number of genes that could have been drawn.
    list_sizes, term_sizes : array of int
        Sizes that occur; repeats are welcome. Sizes above the background count as the background.

    Attributes
    ----------
    n_values, k_values : ndarray of int
        Distinct list and term sizes, sorted.
    tail : ndarray of float64, shape (len(n_values), len(k_values), max(n_values) + 1)
        ``tail[i, j, x]`` = P(X >= x) for ``n_values[i]`` and ``k_values[j]``.
    """

    def __init__(self, background: int, list_sizes: np.ndarray, term_sizes: np.ndarray) -> None:
        self.background = int(background)
        self.n_values = np.unique(np.minimum(list_sizes, background))
        self.k_values = np.unique(np.minimum(term_sizes, background))
        self.tail = np.empty((len(self.n_values), len(self.k_values), int(self.n_values.max(initial=0)) + 1))
        # Extended precision (where the platform has it) because differences of numbers near 1e5 are exponentiated.
        log_factorial = np.r_[0.0, np.cumsum(np.log(np.arange(1, background + 1, dtype=np.longdouble)))]
        for i, n in enumerate(self.n_values):
            self.tail[i] = self._tails(int(n), log_factorial)

    def _tails(self, n: int, log_factorial: np.ndarray) -> np.ndarray:
        b, k, x = self.background, self.k_values[:, None], np.arange(self.tail.shape[2])[None, :]
        possible = (x <= n) & (x <= k) & (n - x <= b - k)

        def log_choose(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
            bottom = np.clip(bottom, 0, top)
            return log_factorial[top] - log_factorial[bottom] - log_factorial[top - bottom]

        log_pmf = log_choose(k, x) + log_choose(b - k, n - x) - log_choose(np.array(b), np.array(n))
        pmf = np.where(possible, np.exp(np.where(possible, log_pmf, 0)), 0).astype(np.float64)
        tail = np.cumsum(pmf[:, ::-1], axis=1)[:, ::-1]  # smallest terms first
        tail[:, 0] = 1.0
        return np.minimum(tail, 1.0)

    def index(self, list_sizes: np.ndarray, term_sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns of the table for the given sizes."""
        n = np.searchsorted(self.n_values, np.minimum(list_sizes, self.background))
        k = np.searchsorted(self.k_values, np.minimum(term_sizes, self.background))
        return n, k

    def smallest_overlap(self, cutoff: float, term_sizes: np.ndarray, above: int) -> np.ndarray:
        """Smallest overlap with p <= `cutoff` per term, for lists of `above` genes or more, shape (len(term_sizes),).

        The tail grows with the list, so the smallest list size bounds all others.
        """
        row = self.tail[np.searchsorted(self.n_values, min(above, self.background))]
        return (row > cutoff).sum(axis=1)[np.searchsorted(self.k_values, np.minimum(term_sizes, self.background))]
