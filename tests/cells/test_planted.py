"""What is planted can be found in the counts, and what is not cannot."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from biosae_utils.cells.cohort import make_cohort
from biosae_utils.cells.columns import guess_columns
from biosae_utils.cells.data import open_cells
from biosae_utils.cells.planted import KNOCKED_ACTIVITY, Truth, genes_like, main, planted
from biosae_utils.errors import BiosaeError
from biosae_utils.phases.data import Params as DataParams


@pytest.fixture(scope="module")
def made():
    adata, truth = planted(1500, 500, seed=4)
    counts = pd.DataFrame(adata.X.toarray(), index=adata.obs_names, columns=adata.var_names).astype(float)
    return adata, truth, counts


def log_fold(counts: pd.DataFrame, these: np.ndarray, others: np.ndarray) -> pd.Series:
    return np.log((counts[these].mean() + 1e-9) / (counts[others].mean() + 1e-9))


def test_programmes_raise_their_genes_by_their_strength_and_no_decoy(made):
    _, truth, counts = made
    sets = truth.genesets.groupby("name")["gene"].agg(list)
    for name in truth.where["programme"]:
        activity = truth.activity.set_index("barcode")[name]
        on = (activity > 0).to_numpy()
        assert 0.2 < on.mean() < 0.6
        fold = log_fold(counts, on, ~on)
        members = truth.programmes[truth.programmes["programme"] == name].set_index("gene")["strength"]
        assert len(members) == 15 and abs(fold[members.index].mean() - members.mean()) < 0.35
        assert (fold[members.index] > 0.5).all()
        assert abs(fold[sets[f"decoy {name}"]].mean()) < 0.15
        assert set(sets[f"programme {name}"]) == set(members.index)


def test_programmes_follow_type_and_condition(made):
    adata, truth, _ = made
    for row in truth.where.itertuples():
        on = truth.activity[row.programme].to_numpy() > 0
        if row.kind == "type":
            np.testing.assert_array_equal(on, adata.obs["cell_type"] == row.level)
        elif row.kind == "condition":
            np.testing.assert_array_equal(on, adata.obs["condition"] == row.level)
        else:
            share = pd.Series(on).groupby(adata.obs["cell_type"].to_numpy()).mean()
            assert share.between(0.25, 0.42).all()


def test_edges_are_seen_in_knock_downs_with_their_sign_and_nothing_else_moves(made):
    adata, truth, counts = made
    perturbation = adata.obs["perturbation"].to_numpy()
    control = perturbation == "control"
    for knock in truth.knockdowns.itertuples():
        these = perturbation == knock.gene
        assert these.sum() == knock.n_cells > 100
        fold = log_fold(counts, these, control)
        assert fold[knock.gene] < np.log(1 - knock.efficiency) + 0.7
        edges = truth.edges[truth.edges["tf"] == knock.gene].set_index("target")["weight"]
        assert len(edges) == (8 if knock.is_tf else 0)
        # a log-normal activity adds weight**2 / 2 to the controls' mean
        expected = KNOCKED_ACTIVITY * edges - edges**2 / 2
        assert (np.sign(fold[edges.index]) == np.sign(-edges)).all()
        assert not knock.is_tf or abs(fold[edges.index] - expected).mean() < 0.35
        others = counts.columns.difference([knock.gene, *edges.index])
        frequent = others[counts[others].mean() > 1]
        assert fold[frequent].abs().median() < 0.1


def test_regulators_go_with_their_targets_in_unperturbed_cells(made):
    adata, truth, counts = made
    control = counts[(adata.obs["perturbation"] == "control").to_numpy()]
    logs = np.log1p(control.div(control.sum(axis=1), axis=0) * control.sum(axis=1).median())  # depth makes all agree
    signed = [np.sign(e.weight) * logs[e.tf].corr(logs[e.target]) for e in truth.edges.itertuples()]
    shuffled = truth.edges["tf"].sample(frac=1, random_state=0).to_numpy()
    wrong = [
        logs[tf].corr(logs[e.target]) for tf, e in zip(shuffled, truth.edges.itertuples(), strict=True) if tf != e.tf
    ]
    assert np.mean(signed) > 0.3 and min(signed) > 0.1 and abs(np.mean(wrong)) < 0.1


def test_labels_are_independent_and_the_seed_decides(made):
    adata, truth, _ = made
    table = pd.crosstab(adata.obs["cell_type"], adata.obs["condition"])
    assert (table.to_numpy() / len(adata)).std() < 0.02
    again, same = planted(1500, 500, seed=4)
    assert (again.X != adata.X).nnz == 0 and same.edges.equals(truth.edges)
    assert (planted(1500, 500, seed=5)[0].X != adata.X).nnz > 0


def test_the_file_is_read_like_any_other(tmp_path, capsys):
    out = tmp_path / "p.h5ad"
    assert main([str(out), "--cells", "200", "--genes", "400", "--seed", "1"]) == 0
    assert "200 cells x 400 genes" in capsys.readouterr().out
    cells = open_cells(out)
    assert cells.encoding == "counts" and (cells.genes.ensembl != "").all()
    columns = guess_columns(cells.obs)
    assert columns == {"cell_type": "cell_type", "condition": "condition", "donor": "donor_id"}
    cohort = make_cohort(cells, DataParams(n_cells=100, **columns))
    assert cohort.groupby("donor")["heldout"].nunique().eq(1).all()
    assert not set(cells.obs) & {"activity", "programme"}  # the truth stays outside
    adata, truth = planted(200, 400, seed=1)
    read = Truth.load(tmp_path / "p.truth")
    for name in ("programmes", "activity", "where", "edges", "knockdowns", "genesets"):
        pd.testing.assert_frame_equal(getattr(read, name), getattr(truth, name), check_dtype=False)
    np.testing.assert_array_equal(cells.read(np.arange(200)).toarray(), adata.X.toarray())


def test_genes_of_a_real_file_can_be_used():
    from pathlib import Path

    demo = Path(__file__).resolve().parents[2] / "data" / "demo" / "pbmc_ifnb.h5ad"
    genes = genes_like(demo, 400)
    assert {"B2M", "FTH1", "ISG15"} <= set(genes["symbol"]) and genes["mean"].is_monotonic_decreasing
    adata, _ = planted(60, 400, genes=genes)
    assert list(adata.var["ensembl_id"]) == list(genes["ensembl_id"])


def test_no_regulators_no_edges():
    adata, truth = planted(60, 300, n_tfs=0, n_control_knockdowns=0)
    assert truth.edges.empty and truth.knockdowns.empty and set(adata.obs["perturbation"]) == {"control"}


def test_too_few_genes_are_refused():
    with pytest.raises(BiosaeError, match="need 248 genes, there are 100"):
        planted(60, 100)
