"""The variance half of 05_svd, on states that say nothing of their gene and on states that say nothing else."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from biosae_utils.book.page import Result
from biosae_utils.phases.run import compute
from biosae_utils.phases.svd import PHASE, Params
from biosae_utils.phases.svd_variance import PCA
from biosae_utils.sae.positions import Positions
from phases.layered_project import ABOUT, LAYERS, OWN, SHARED, WIDTH, F, K, N, leave_saes, params, states
from phases.planted_project import left_by

N_AXES = SHARED + OWN  # the dimensions that the states have


@pytest.fixture(scope="module")
def found(layered) -> Iterator[Result]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(layered)
        yield Result(compute(PHASE, Params(**params(n_axes=N_AXES, n_random=400))))


def test_sparse_mixtures_need_an_axis_for_each_atom(found):
    compared = found.table("variance")
    assert list(compared.columns) == [
        "name", "explained", "low", "high", "layer", "rank_for_same_variance", "active_for_same_variance",
    ]  # fmt: skip
    value = found.table("variance_wide").set_index("layer")
    assert list(value.index) == LAYERS and (value["sae"] > 0.9).all() and (value["leading_50"] > 0.99).all()
    assert (value["largest_k"] > value["leading_k"] + 0.2).all()  # a choice of one's own is worth more
    assert (value["leading_k"] < 0.6).all() and (value["largest_bits"] < value["largest_k"]).all()
    assert (value["rank_for_same_variance"] > 3 * K).all() and (value["active_for_same_variance"] > K).all()
    curves = found.table("curves")
    assert curves.query("kept == 0")["explained"].abs().max() < 0.01
    assert curves.groupby(["layer", "which"])["explained"].apply(lambda c: c.is_monotonic_increasing).all()


CONTESTS = ("variance_beyond_gene_mean", "variance_at_equal_bits", "variance_at_equal_atoms")


def leave_states_of_genes() -> None:
    """01_extract where a state is a mixture of three atoms that its gene alone chooses, and noise."""
    rng = np.random.default_rng(5)
    cell, token = np.repeat(np.arange(2 * N // 40, dtype=np.int32), 40), rng.integers(2, 32, 2 * N, np.int32)
    with left_by("01_extract", **ABOUT) as out:
        Positions(cell, token, np.zeros(2 * N, np.uint16)).save(out.dir / "positions")
        for number, name in enumerate(("sample", "sample_heldout")):
            rows = np.arange(number * N, (number + 1) * N)
            out.array(rows, f"{name}/rows")
            for layer in LAYERS:
                vectors = states(layer, 0)[:32][token[rows]] + 0.05 * rng.normal(size=(N, WIDTH))
                out.array(vectors.astype(np.float16), f"{name}/layer_{layer:02d}")
        out.facts(family="geneformer")


def test_where_genes_say_nothing_the_autoencoder_beats_every_rival(found):
    wide = found.table("variance_wide").set_index("layer")
    genes = found.table("genes_wide").set_index("layer")
    assert (genes["gene_mean"].abs() < 0.05).all() and (genes["sae"] == wide["sae"]).all()
    np.testing.assert_allclose(genes["pca_bits"], wide[["leading_bits", "largest_bits"]].max(axis=1))
    assert (genes["gene_paid"] <= genes["gene_free"]).all()
    for name in CONTESTS:
        claim = found.claims[name]
        assert claim["verdict"] == "supported" and claim["interval_over"] == "cells" and claim["minimum"] == 0.01
    strongest = genes[["pca_bits", "common_bits", "gene_paid"]].max(axis=1)
    claim = found.claims["variance_at_equal_bits"]
    assert claim["value"] == pytest.approx(wide["sae"].mean()) == pytest.approx(found.facts.sae_mean)
    assert claim["control"] == pytest.approx(strongest.mean()) == pytest.approx(found.facts.strongest_mean)
    assert found.facts.bits_mean == pytest.approx(genes["pca_bits"].mean())


def test_where_genes_say_all_the_autoencoder_is_beaten_though_it_beats_pca(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    leave_states_of_genes()
    leave_saes(seeds=1)
    found = Result(compute(PHASE, Params(**params(n_axes=N_AXES, n_random=20, n_boot=100))))
    genes = found.table("genes_wide").set_index("layer")
    assert (genes["sae"] > genes["pca_bits"] + 0.05).all()  # all that was asked before
    assert (genes["gene_mean"] > 0.99).all() and found.facts.gene_mean_ahead == len(LAYERS)
    assert {found.claims[name]["verdict"] for name in CONTESTS} == {"not_supported"}
    beyond = found.claims["variance_beyond_gene_mean"]
    assert beyond["value"] < 0 < beyond["control"]  # less than the gene alone
    table = found.table("beyond_gene_mean").set_index(["layer", "name"])["explained"]
    by_hand = 1 - (1 - genes["sae"]) / (1 - genes["gene_mean"])
    np.testing.assert_allclose(table.xs("sae", level="name"), by_hand)
    np.testing.assert_allclose(table.xs("gene_mean", level="name"), 0, atol=1e-9)


def test_the_nearest_rival_among_components_is_named_from_the_numbers(found):
    wide = found.table("variance_wide").set_index("layer")
    gaps = (wide["sae"].to_numpy()[:, None] - wide[list(PCA)]).mean()
    assert found.facts.nearest == f"{N_AXES} leading axes" and found.facts.nearest_layers == len(LAYERS)
    assert found.facts.nearest_gap == pytest.approx(gaps["leading_50"]) == pytest.approx(gaps.min())


def test_codes_of_equal_size_are_compared(found):
    from biosae_utils.analysis.geometry import code_bits

    facts = found.facts
    assert (facts.d, facts.d_sae, facts.k, facts.n_axes) == (WIDTH, F, K, N_AXES)
    assert facts.bits == pytest.approx(code_bits(F, K))
    assert 16 * facts.leading_at_bits <= facts.bits < 16 * (facts.leading_at_bits + 1)
    assert code_bits(WIDTH, facts.largest_at_bits) <= facts.bits < code_bits(WIDTH, facts.largest_at_bits + 1)
    marks = found.table("variance_marks")
    assert (marks["kept"] > 0).all() and set(marks["which"]) == {"leading", "largest", "sae", "bits"}
    assert set(marks.query("which == 'sae'")["kept"]) == {K}
    assert set(marks.query("which == 'bits'")["kept"]) == {facts.largest_at_bits}
