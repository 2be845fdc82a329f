"""Every control in one place. Each says which margins it keeps; the tests hold it to that.

=====================  ==========================================  =================================================
null                   keeps                                       breaks
=====================  ==========================================  =================================================
`relabel`              who shares genes with whom, list sizes      which gene is which
`relabel_within`       the same, and the stratum of each gene      which gene of a stratum is which
`curveball`            list sizes, how often each gene is listed   which genes are listed together
`permuted_labels`      the same, for lists of an enrichment test   which gene is which
`matched_lists`        as `curveball`, one draw a number           which genes are listed together
`matched_networks`     degree and popularity of joined genes       which genes of a stratum are joined
`permute_within`       what sits in each group                     which position of the group it sits at
`shuffled_within`      the labels of each group                    which member of the group has which label
`derange`              the labels                                  whose label it is: always another's
`derange_within`       the labels of each group                    the same, within the group
`scatter_within`       firings of each latent in each group        which position, for each latent independently
`random_directions`    length                                      direction
`shaped_directions`    length, covariance of the activations       direction
`rotated_axes`         length, the subspace of the axes            direction inside the subspace
=====================  ==========================================  =================================================
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.sparse as sp

from biosae_utils.analysis.enrich import Problem
from biosae_utils.analysis.geometry import Principal, unit
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


def shuffled_within(labels: np.ndarray, groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Labels dealt out anew within each of a few groups (training cells, held-out cells), shape (n,)."""
    out = np.array(labels)
    for group in np.unique(groups):
        out[groups == group] = rng.permutation(out[groups == group])
    return out


def derange(n: int, rng: np.random.Generator) -> np.ndarray:
    """A permutation of n things that leaves none in its place, uniform over all of them.

    For "the label of another latent": a plain permutation leaves one label with its owner on average, however many
    there are, which is a fifth of the control when there are five.

    Returns
    -------
    ndarray of int64, shape (n,)

    Raises
    ------
    BiosaeError
        There is only one, so there is no other.
    """
    return derange_within(np.zeros(n, dtype=np.int64), rng)


def derange_within(groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As `derange`, never leaving a group.

    Parameters
    ----------
    groups : ndarray of int or bool, shape (n,)
        Every group has at least two members.

    Returns
    -------
    ndarray of int64, shape (n,)
        ``order`` with ``groups[order] == groups`` and ``order[i] != i``, uniform over all such permutations.

    Raises
    ------
    BiosaeError
        A group has one member, so there is no other to take from.
    """
    names, code, size = np.unique(groups, return_inverse=True, return_counts=True)
    if (size < 2).any():
        raise BiosaeError(
            f"Group {names[size < 2][0]} has one member: there is no other to take the label from",
            do="leave groups of one out of the control",
        )
    order = np.arange(len(code))
    open_ = order
    while len(open_):  # a group with a member in its place is drawn anew as a whole, so what stays is uniform
        order[open_] = open_[permute_within(code[open_], rng)]
        stuck = np.bincount(code[open_], weights=order[open_] == open_, minlength=len(size)) > 0
        open_ = open_[stuck[code[open_]]]
    return order


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


def permuted_labels(problem: Problem, seed: int) -> Callable[[int], sp.csr_matrix]:
    """The lists of a problem after genes swapped names: ``draw(i)`` depends on `seed` and i alone."""
    return lambda i: problem.relabelled(relabel(problem.background, np.random.default_rng([seed, i])))


def matched_lists(lists: sp.csr_matrix, seed: int) -> Callable[[int], sp.csr_matrix]:
    """Frequency-matched lists (`curveball`): ``draw(i)`` depends on `seed` and i alone."""
    return lambda i: curveball(lists, np.random.default_rng([seed, i]))


def edge_strata(lists: sp.csr_matrix, network: sp.csr_matrix, n_bins: int = 10) -> np.ndarray:
    """Stratum of each gene: how often it is listed (by powers of two) and its degree (`n_bins` quantile bins)."""
    listed = np.bincount(lists.indices, minlength=lists.shape[1])
    often = np.ceil(np.log2(listed + 1)).astype(np.int64)
    degree = np.diff(network.indptr)
    used = degree[listed > 0]
    cuts = np.unique(np.quantile(used, np.linspace(0, 1, n_bins + 1)[1:-1])) if len(used) else np.empty(0)
    return often * (n_bins + 1) + np.searchsorted(cuts, degree, side="right")


def matched_networks(lists: sp.csr_matrix, network: sp.csr_matrix, seed: int) -> Callable[[int], sp.csr_matrix]:
    """The network after genes swapped names within `edge_strata`: hubs for hubs, popular genes for popular ones.

    Renaming the genes of the network is the same as renaming those of the lists; ``draw(i)`` depends on `seed` and i.
    """
    strata = edge_strata(lists, network)

    def draw(i: int) -> sp.csr_matrix:
        order = relabel_within(strata, np.random.default_rng([seed, i]))
        return network[order][:, order]

    return draw


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


def shaped_directions(n: int, principal: Principal, rng: np.random.Generator) -> np.ndarray:
    """Random unit directions from a Gaussian with the covariance of the activations, shape (n, d)."""
    z = rng.standard_normal((n, len(principal.variance))) * np.sqrt(principal.variance)
    return unit(z @ principal.axes)


def rotated_axes(axes: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Random unit directions *inside* the span of orthonormal `axes` (m, d), shape (n, d).

    All of their norm is visible to an SVD of rank m, so a rule that calls them invisible measures the choice of basis.
    """
    return unit(rng.standard_normal((n, len(axes))) @ np.asarray(axes, np.float64))
