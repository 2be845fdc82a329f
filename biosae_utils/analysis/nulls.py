"""Every control in one place. Each says which margins it keeps; the tests hold it to that.

=====================  ==========================================  =================================================
null                   keeps                                       breaks
=====================  ==========================================  =================================================
`relabel`              who shares genes with whom, list sizes      which gene is which
`relabel_within`       the same, and the stratum of each gene      which gene of a stratum is which
`curveball`            list sizes, how often each gene is listed   which genes are listed together
`permute_within`       what sits in each group                     which position of the group it sits at
`scatter_within`       firings of each latent in each group        which position, for each latent independently
`random_directions`    length                                      direction
=====================  ==========================================  =================================================
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from biosae_utils.errors import BiosaeError


def relabel(n: int, rng: np.random.Generator) -> np.ndarray:
    """A random relabelling of n genes, uniform over all permutations."""
    return rng.permutation(n)


def permute_within(groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A permutation of positions that never leaves a group.

    Parameters
    ----------
    groups : ndarray of int, shape (n,)
        Gene (or gene and rank bin, or stratum) of each position.

    Returns
    -------
    ndarray of int64, shape (n,)
        ``order`` with ``groups[order] == groups``; ``x[order]`` is the permuted ``x``. Uniform over all such
        permutations.
    """
    order = np.empty(len(groups), dtype=np.int64)
    order[np.argsort(groups, kind="stable")] = _shuffled_by_group(groups, rng)
    return order


def _shuffled_by_group(groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Positions sorted by group, in random order within each: group and 40 random bits in one sortable integer."""
    groups = groups.astype(np.int64)
    return np.argsort(((groups - groups.min(initial=0)) << 40) | rng.integers(0, 1 << 40, len(groups)))


def relabel_within(strata: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random relabelling of genes that keeps each gene's stratum (degree or frequency bin)."""
    return permute_within(strata, rng)


def curveball(lists: sp.csr_matrix, rng: np.random.Generator, rounds: int | None = None) -> sp.csr_matrix:
    """Lists with the same sizes and gene margins, otherwise random.

    In a round all lists are paired at random; every pair keeps its shared genes and deals the others out again at
    random, each list getting as many as it gave (global curveball). Many rounds approach the uniform distribution over
    all binary matrices with these margins.

    Parameters
    ----------
    lists : csr_matrix, shape (n_features, n_genes)
        Binary.
    rng : Generator
    rounds : int, optional
        Default ``log2(n_features) + 6``. On 2,084 lists of 20 genes the overlap with the starting lists is at its floor
        after 11 rounds (log2 = 11); the test measures it.

    References
    ----------
    Strona et al., Nat Commun 5, 4114 (2014); Carstens, Hamann, Meyer et al., ESA (2018), global trades.
    """
    n_lists, n_genes = lists.shape
    if rounds is None:
        rounds = int(np.log2(max(n_lists, 2))) + 6
    row = np.repeat(np.arange(n_lists, dtype=np.int64), np.diff(lists.indptr))
    gene = lists.indices.astype(np.int64)
    for _ in range(rounds):
        partner = rng.permutation(n_lists)
        pair_of = np.empty(n_lists, dtype=np.int64)
        pair_of[partner] = np.arange(n_lists) // 2
        # Entries of a pair next to each other, by gene: a gene that both lists hold appears twice in a row.
        key = pair_of[row] * n_genes + gene
        order = np.argsort(key)
        row, gene, key = row[order], gene[order], key[order]
        twin = np.r_[key[1:] == key[:-1], False]
        own = np.flatnonzero(~(twin | np.r_[False, twin[:-1]]))
        # Deal the unshared genes of each pair out again: slots (rows) stay, genes are shuffled within the pair.
        gene[own] = gene[own][_shuffled_by_group(pair_of[row[own]], rng)]
    data = np.ones(len(row), dtype=lists.dtype)
    out = sp.csr_matrix((data, (row, gene)), shape=lists.shape)
    out.sort_indices()
    return out


def scatter_within(codes: sp.csr_matrix, groups: np.ndarray, rng: np.random.Generator) -> sp.csr_matrix:
    """Codes whose firings are scattered anew within groups, each latent independently.

    Every latent keeps its values and how often it fires in each group (gene); which positions of the group they fall on
    is uniform and independent between latents. This is the null of co-activation "given the gene".

    Parameters
    ----------
    codes : csr_matrix, shape (n_positions, d_sae)
    groups : ndarray of int, shape (n_positions,)
    """
    groups = np.asarray(groups)
    if len(groups) != codes.shape[0]:
        raise BiosaeError(f"{len(groups)} groups for {codes.shape[0]} positions")
    by_group = np.argsort(groups, kind="stable")
    names, start, size = np.unique(groups[by_group], return_index=True, return_counts=True)
    coo = codes.tocoo()
    group = np.searchsorted(names, groups[coo.row])
    cell = group.astype(np.int64) * codes.shape[1] + coo.col  # a (group, latent) pair: its firings need distinct slots
    order = np.argsort(cell, kind="stable")
    slot = _distinct_slots(cell[order], size[group[order]], rng)
    row = by_group[start[group[order]] + slot]
    return sp.csr_matrix((coo.data[order], (row, coo.col[order])), shape=codes.shape)


def _distinct_slots(cell: np.ndarray, size: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Slots in 0..size-1, distinct within each run of equal `cell` (sorted), uniform over all such choices."""
    slot = np.empty(len(cell), dtype=np.int64)
    first = np.flatnonzero(np.r_[True, cell[1:] != cell[:-1]]) if len(cell) else np.zeros(0, np.int64)
    count = np.diff(np.r_[first, len(cell)])
    crowded = 2 * count > size[first]
    # Crowded cells: shuffle all slots and take the first ones.
    n_all = size[first[crowded]]
    owner = np.repeat(np.arange(len(n_all)), n_all)
    every = np.arange(len(owner)) - np.repeat(np.cumsum(n_all) - n_all, n_all)
    every = every[permute_within(owner, rng)]
    taken = np.arange(len(owner)) - np.repeat(np.cumsum(n_all) - n_all, n_all) < np.repeat(count[crowded], n_all)
    in_crowded = np.repeat(crowded, count)
    slot[in_crowded] = every[taken]
    # The rest: draw, and draw again what collides. Relabelling slots changes nothing in this, so the result is uniform.
    open_ = np.flatnonzero(~in_crowded)
    slot[open_] = rng.integers(0, size[open_])
    stride = int(size.max(initial=1))
    while len(open_):
        key = cell[~in_crowded] * stride + slot[~in_crowded]
        _, keep = np.unique(key, return_index=True)
        again = np.ones(len(key), dtype=bool)
        again[keep] = False
        open_ = np.flatnonzero(~in_crowded)[again]
        slot[open_] = rng.integers(0, size[open_])
    return slot


def random_directions(n: int, d: int, rng: np.random.Generator) -> np.ndarray:
    """Unit vectors uniform on the sphere, float32 of shape (n, d)."""
    x = rng.standard_normal((n, d)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)
