"""Networks as their files say, edges as a loop counts them, and a null that keeps degree and popularity."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
import scipy.sparse as sp
from gene_lists import binary, random_network
from geneset_files import INFO, LINKS, content

from biosae_utils.analysis import edges, nulls
from biosae_utils.errors import BiosaeError


def test_string_is_cut_and_named(tmp_path):
    with gzip.open(tmp_path / "links.txt.gz", "wt") as f:
        f.write(LINKS)
    with gzip.open(tmp_path / "info.txt.gz", "wt") as f:
        f.write(INFO)
    table = edges.read_string(tmp_path / "links.txt.gz", tmp_path / "info.txt.gz")
    assert table.values.tolist() == [["GENE1", "GENE2", 950], ["GENE2", "GENE1", 950]]
    low = edges.read_string(tmp_path / "links.txt.gz", tmp_path / "info.txt.gz", cut=600)
    assert len(low) == 3
    with pytest.raises(BiosaeError, match="biosae fetch string-v12"):
        edges.read_string(tmp_path / "none", tmp_path / "info.txt.gz")


def test_trrust_gives_targets_per_factor(tmp_path):
    path = tmp_path / "trrust.tsv"
    path.write_text("TF1\tA\tActivation\t1;2\nTF1\tA\tRepression\t3\nTF1\tNA\tUnknown\t4\ntf2\tB\tUnknown\t5\n")
    table = edges.read_trrust(path)
    assert content(edges.trrust_sets(table)) == {("TRRUST", "TF1"): {"A", "NA"}, ("TRRUST", "TF2"): {"B"}}
    path.write_text("TF1\tA\n")
    with pytest.raises(BiosaeError, match="four columns"):
        edges.read_trrust(path)
    network = edges.adjacency(table["tf"], table["target"], np.array(["B", "TF2", "TF1", "A"]))
    assert network.toarray().tolist() == [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]]


def test_edges_are_counted_as_a_loop_counts_them():
    rng = np.random.default_rng(9)
    network, lists = random_network(rng), binary(rng, 30, 120, 10)
    dense = network.toarray()
    assert (dense == dense.T).all() and not dense.diagonal().any() and set(np.unique(dense)) == {0, 1}
    expected = [sum(dense[i, j] for i in row.indices for j in row.indices if i < j) for row in lists]
    np.testing.assert_array_equal(edges.edges_within(lists, network), expected)
    assert max(expected) > 0


def test_edge_null_keeps_degree_and_popularity_and_finds_planted_cliques():
    rng = np.random.default_rng(10)
    lists, network = binary(rng, 50, 120, 8), random_network(rng)
    strata = nulls.edge_strata(lists, network)
    listed, degree = np.asarray(lists.sum(axis=0)).ravel(), np.diff(network.indptr)
    for s in np.unique(strata):
        frequency = listed[strata == s]
        assert np.ceil(np.log2(frequency + 1)).min() == np.ceil(np.log2(frequency + 1)).max()
    order = nulls.relabel_within(strata, rng)
    moved = listed > 0
    assert np.corrcoef(degree[order][moved], degree[moved])[0, 1] > 0.8
    # lists without meaning: p is never small too often
    p = np.concatenate(
        [edges.edge_test(binary(rng, 40, 120, 8), random_network(rng), n=39, seed=i)["p"] for i in range(12)]
    )
    assert (p <= 0.05).mean() <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / len(p))
    lists, network = binary(rng, 60, 600, 8), random_network(rng, 600, 3000)
    clique = lists[7].indices
    both = np.array([(i, j) for i in clique for j in clique if i != j])
    planted = network + sp.csr_matrix((np.ones(len(both), np.int32), (both[:, 0], both[:, 1])), network.shape)
    planted.data[:] = 1
    found = edges.edge_test(lists, planted, n=199)
    assert found.loc[7, "edges"] == 28 and found.loc[7, "p"] == found["p"].min() == 1 / 200
    assert found.loc[7, "expected"] < 14
    assert (found.drop(7)["p"] <= 0.05).mean() < 0.2
