"""Latents and their rivals on cells whose groups are known: who is chosen, on which cells, and what chance reaches."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.metrics import roc_auc_score

from biosae_utils.analysis import group_scores as scores

N = 240
CELLS = np.arange(N)
HELDOUT = CELLS % 3 == 0
STIMULATED = CELLS % 2 == 1
KIND = np.where(CELLS % 5 < 2, "B", "T")
LABELS = pd.DataFrame({"condition": np.where(STIMULATED, "stimulated", "control"), "cell_type": KIND})


def numbers(*columns: np.ndarray, n_noise: int = 6, seed: int = 0) -> sp.csr_matrix:
    """Columns of given signal, then noise."""
    noise = np.random.default_rng(seed).gamma(2, 1, (N, n_noise))
    return sp.csr_matrix(np.column_stack([*columns, noise]))


def signal(strength: float, group: np.ndarray = STIMULATED, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(5, 1, N) + strength * group


def beside(latents: sp.csr_matrix, genes: sp.csr_matrix, labels: pd.DataFrame = LABELS) -> pd.DataFrame:
    names = np.array([f"GENE{i}" for i in range(genes.shape[1])])
    depth = pd.DataFrame({"molecules": signal(0.2, seed=3), "genes detected": signal(0, seed=4)})
    rival = scores.rivals(genes, names, depth, labels, HELDOUT)
    return scores.against_rivals(scores.choose(latents, labels, HELDOUT)[0], rival, labels, HELDOUT, n_bootstrap=200)


def test_a_column_is_chosen_on_training_cells_and_scored_on_held_out_ones():
    cheat = np.where(HELDOUT, signal(50), signal(0))  # tells held-out cells apart, and training cells not
    found, every = scores.choose(numbers(signal(2), cheat), LABELS, HELDOUT)
    best = found.best.set_index(["column", "group"]).loc[("condition", "stimulated")]
    assert best["chosen"] == 0 and best["more"] and best["heldout"] < 1
    assert best["heldout"] == pytest.approx(roc_auc_score(STIMULATED[HELDOUT], signal(2)[HELDOUT]))
    assert every.query("group == 'stimulated' and index == 1")["heldout"].item() == 1


def test_low_values_speak_for_a_group_too():
    """With high values alone, the rival of "control" would be noise where one gene tells it by its absence."""
    found, _ = scores.choose(numbers(signal(4)), LABELS[["condition"]], HELDOUT)
    two = found.best.set_index("group")
    assert two["chosen"].tolist() == [0, 0] and two["more"].to_dict() == {"control": False, "stimulated": True}
    assert two["heldout"]["control"] == pytest.approx(two["heldout"]["stimulated"])
    for i, group in enumerate(two.index):
        member = (LABELS["condition"] == group)[HELDOUT]
        assert roc_auc_score(member, found.values[HELDOUT, i]) == pytest.approx(two["heldout"][group])
    assert scores.leader(found.best)["group"] == "stimulated"


def test_a_gene_that_tells_as_much_takes_the_credit_and_a_weak_one_does_not():
    latents = numbers(signal(3, seed=1))
    for strength, is_ahead in ((3, False), (1, True)):
        found = beside(latents, numbers(signal(strength, seed=2), seed=5)).set_index("group").loc["stimulated"]
        assert found["gene"] == "GENE0" and found["rival"] == scores.GENE == "one gene"
        assert (found["ahead_low"] > 0) == is_ahead and found["low"] > 0.9
        assert found["ahead"] == pytest.approx(found["heldout"] - found["rival_heldout"])


def test_the_strongest_rival_is_the_one_compared_and_cells_are_paired():
    labels = LABELS[["condition"]]
    deep = pd.DataFrame({"molecules": signal(6, seed=3)})
    rival = scores.rivals(numbers(signal(0.5)), np.array([f"G{i}" for i in range(7)]), deep, labels, HELDOUT)
    same = scores.choose(sp.csr_matrix(deep.to_numpy()), labels, HELDOUT)[0]
    found = scores.against_rivals(same, rival, labels, HELDOUT, n_bootstrap=50)
    assert (found["rival"] == "depth").all() and (found["rival_name"] == "molecules").all()
    assert (found[["ahead", "ahead_low", "ahead_high"]].abs() < 1e-12).all(None), "the same numbers on the same cells"


def test_cells_without_a_label_take_no_part():
    lost = CELLS % 7 == 0
    labels = LABELS[["condition"]].mask(lost[:, None], None)
    found, every = scores.choose(numbers(np.where(lost, 100 * STIMULATED, signal(1))), labels, HELDOUT)
    use = HELDOUT & ~lost
    expected = roc_auc_score(STIMULATED[use], signal(1)[use])
    assert every.query("group == 'stimulated' and index == 0")["heldout"].item() == pytest.approx(expected)
    assert set(found.best["group"]) == {"control", "stimulated"}


def test_relabelled_cells_keep_side_and_stratum():
    """A condition that is the cell type in disguise stays told apart by what tells cell types."""
    disguised = pd.Series(np.where(KIND == "B", "stimulated", "control"))
    values = numbers(signal(6, KIND == "B"))
    within, groups = scores.relabelled(values, disguised, LABELS["cell_type"], HELDOUT, n_draws=5)
    assert groups == ["control", "stimulated"] and within.shape == (5, 2, 2) and within.min() > 0.95
    free, _ = scores.relabelled(values, disguised, None, HELDOUT, n_draws=40)
    assert abs(scores.by_chance(free).value - 0.5) < 0.1


def test_every_draw_chooses_for_itself_and_the_leading_group_is_reported():
    """The best of many columns in training cells is far above chance there; the control must carry that choice."""
    noise = numbers(n_noise=200)
    drawn, _ = scores.relabelled(noise, LABELS["condition"], LABELS["cell_type"], HELDOUT, n_draws=60)
    assert drawn[..., 0].min() > 0.6 and abs(drawn[..., 1].mean() - 0.5) < 0.05
    null = scores.by_chance(drawn)
    assert null.low < 0.5 < null.high and null.over == "draws"
    by_hand = drawn[np.arange(60), drawn[..., 0].argmax(1), 1]
    assert null.value == pytest.approx(by_hand.mean())
