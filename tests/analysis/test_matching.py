"""Matching recovers planted permutations; activation similarity equals the dense correlation."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from biosae_utils.analysis import matching
from biosae_utils.analysis.nulls import permute_within
from biosae_utils.errors import BiosaeError


def decoder(f: int, d: int, seed: int) -> np.ndarray:
    w = np.random.default_rng(seed).standard_normal((f, d))
    return w / np.linalg.norm(w, axis=1, keepdims=True)


def codes(n: int, f: int, seed: int) -> sp.csr_matrix:
    rng = np.random.default_rng(seed)
    return sp.random(n, f, density=0.08, format="csr", random_state=rng, data_rvs=lambda k: rng.exponential(size=k))


@pytest.mark.parametrize("limit", [2048, 10])
def test_one_to_one_recovers_a_planted_permutation(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "HUNGARIAN_LIMIT", limit)  # both ways of pairing
    w, order = decoder(60, 32, 0), np.random.default_rng(1).permutation(60)
    noisy = w[order] + 0.05 * decoder(60, 32, 2)
    noisy[::2] *= -3  # neither sign nor scale of a row matters
    match = matching.match_one_to_one(matching.decoder_similarity(w, noisy))
    found = np.empty(60, int)
    found[match.b] = match.a
    np.testing.assert_array_equal(found, order)
    assert match.share(0.9) == 1.0
    assert matching.matching_name(60) == ("optimal assignment" if limit > 60 else "mutual nearest neighbours")


def test_one_sided_lets_many_choose_one_and_one_to_one_does_not() -> None:
    a = np.array([[1.0, 0, 0], [0.99, 0.1, 0], [0, 0, 1]])
    b = np.array([[1.0, 0, 0], [0, 1, 0]])
    similarity = matching.decoder_similarity(a, b)
    assert matching.match_one_sided(similarity).share(0.7) == pytest.approx(2 / 3)
    one = matching.match_one_to_one(similarity)
    assert one.share(0.7) == pytest.approx(1 / 3) and len(set(one.b)) == len(one.b)


def test_dead_latents_take_no_part() -> None:
    w = decoder(20, 16, 0)
    alive = np.arange(20) >= 5
    match = matching.match_one_to_one(matching.decoder_similarity(w, w), alive, alive)
    assert match.n_a == 15 and match.a.min() == 5 and match.b.min() == 5
    nobody = matching.match_one_sided(matching.decoder_similarity(w, w), alive, np.zeros(20, bool))
    assert nobody.n_a == 15 and nobody.share(0.0) == 0.0


def test_random_decoders_do_not_match() -> None:
    similarity = matching.decoder_similarity(decoder(500, 256, 0), decoder(500, 256, 1))
    assert matching.match_one_sided(similarity).share(0.7) == 0.0


def test_widths_must_agree() -> None:
    with pytest.raises(BiosaeError, match="different width"):
        matching.decoder_similarity(np.ones((2, 3)), np.ones((2, 4)))


def test_activation_similarity_equals_dense_correlation() -> None:
    a, b = codes(400, 12, 0), codes(400, 9, 1)
    dense = np.corrcoef(a.toarray().T, b.toarray().T)[:12, 12:]
    np.testing.assert_allclose(matching.activation_similarity(a, b), dense, atol=1e-6)


def test_unmeasurable_latents_have_no_similarity() -> None:
    a, b = codes(400, 5, 0).tolil(), codes(400, 4, 1)
    a[:, 0] = 0
    a[:3, 0] = 2.0
    similarity = matching.activation_similarity(a.tocsr(), b, min_count=10)
    assert not similarity[0].any() and similarity[1:].any()
    with pytest.raises(BiosaeError, match="same positions"):
        matching.activation_similarity(a.tocsr(), b[:10])


def test_activation_matching_recovers_a_planted_permutation_and_shuffling_destroys_it() -> None:
    a = codes(3000, 30, 0)
    order = np.random.default_rng(2).permutation(30)
    match = matching.match_one_to_one(matching.activation_similarity(a, a[:, order]))
    np.testing.assert_array_equal(order[match.b], match.a)
    shuffled = matching.activation_similarity(a, a[np.random.default_rng(0).permutation(3000)][:, order])
    assert matching.match_one_to_one(shuffled).share(0.5) == 0.0


def test_shuffling_within_genes_keeps_what_genes_explain() -> None:
    rng = np.random.default_rng(0)
    gene = rng.integers(0, 20, 4000)
    fires = gene % 4 == 0
    a = sp.csr_matrix(np.c_[fires * 1.0, fires * (1 + rng.random(4000))])
    within = a[permute_within(gene, rng)]
    assert matching.activation_similarity(a, within)[0, 0] == pytest.approx(1)
    assert abs(matching.activation_similarity(a, a[rng.permutation(4000)])[0, 0]) < 0.1
    for g in range(20):  # margins: every gene keeps its own activations
        np.testing.assert_allclose(np.sort(within[gene == g].toarray(), 0), np.sort(a[gene == g].toarray(), 0))
    assert (within != a).nnz > 0


def test_codes_of_an_sae_become_a_matrix_without_closed_slots() -> None:
    values = np.array([[0.5, 0.0], [2.0, 1.0]])
    indices = np.array([[3, 1], [0, 2]])
    np.testing.assert_array_equal(matching.codes_matrix(values, indices, 4).toarray(), [[0, 0, 0, 0.5], [2, 0, 1, 0]])
    assert matching.codes_matrix(values, indices, 4).nnz == 3


def test_marks_stand_at_their_latent() -> None:
    similarity = np.array([[0.1, 0.9], [0.8, 0.3], [0.0, 0.0], [0.2, 0.6]])
    match = matching.match_one_to_one(similarity, np.array([True, True, False, True]))
    assert match.of.tolist() == [0, 1, 3] and match.n_a == 3
    assert match.marked(match.score >= 0.5).tolist() == [True, True, False]  # latent 3 found no place
    twice = match.marked(np.stack([match.score >= 0.5, match.score >= 0.85]))
    assert twice.tolist() == [[True, True, False], [True, False, False]]
