"""04_annotate on lists that are planted programmes, beside lists of codes that know no gene."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from biosae_utils.analysis import edges
from biosae_utils.book.page import Result
from biosae_utils.errors import BiosaeError
from biosae_utils.phases.annotate import PHASE, Params
from biosae_utils.phases.annotate_claims import WORDS
from biosae_utils.phases.run import compute
from biosae_utils.store import sha256
from phases.planted_project import IN_PROGRAMME, LAYER, MODEL, N_GENES, N_PROGRAMMES, RUN, UNTRAINED, symbol

ABOUT = {
    **RUN, "model": MODEL, "source": "nowhere", "layer": LAYER, "genesets": "sets.parquet", "collections": ["Planted"],
    "n_top": IN_PROGRAMME, "n_permutations": 8,
}  # fmt: skip


def write_sets(path: Path) -> None:
    """Every programme as one term, with three genes that are not in it; and twenty terms of any genes."""
    rng, rows = np.random.default_rng(1), []
    for i in range(N_PROGRAMMES):
        own = [*range(i * IN_PROGRAMME, (i + 1) * IN_PROGRAMME), *range(N_GENES - 3, N_GENES)]
        rows += [("Planted", f"P{i}", f"programme {i}", symbol(g)) for g in own]
    for i in range(20):
        rows += [("Planted", f"R{i}", f"any {i}", symbol(g)) for g in rng.choice(N_GENES, 18, replace=False)]
    pd.DataFrame(rows, columns=["collection", "term_id", "name", "gene"]).to_parquet(path)


@pytest.fixture(scope="module")
def found(catalogued) -> Iterator[Result]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(catalogued.root)
        write_sets(Path("sets.parquet"))
        yield Result(compute(PHASE, Params(**ABOUT, control=UNTRAINED)))


@pytest.fixture
def elsewhere(catalogued, tmp_path, monkeypatch) -> Path:
    """A copy of the project in which a test may fetch and compute."""
    shutil.copytree(catalogued.root / "results", tmp_path / "results", ignore=shutil.ignore_patterns("04_annotate"))
    monkeypatch.chdir(tmp_path)
    write_sets(tmp_path / "sets.parquet")
    return tmp_path


def test_planted_programmes_are_annotated_and_permuted_labels_are_not(found):
    rules = found.table("rules")
    by = rules.set_index(["rule", "source"])["share"]
    planted = N_PROGRAMMES / found.table("rules").set_index("source").loc["latents", "n_lists"].iloc[0]
    for name in ("feature", "layer"):
        claim = found.claims[f"annotated_{name}"]
        assert claim["value"] >= 100 * planted and claim["control"] < 10 and claim["verdict"] == "supported"
        assert claim["value"] == pytest.approx(100 * by[name, "latents"])
        assert claim["control_interval"][0] <= claim["control"] <= claim["control_interval"][1]
        assert claim["interval_over"] == "blocks of cells" and claim["published"] is None
        assert claim["control_kind"].endswith("among real lists") and claim["minimum"] == 2
        assert claim["control"] == pytest.approx(
            100 * max(by[name, "permuted labels"], by[name, "frequency-matched lists"])
        )
    assert found.claims["annotated_published"]["published"] == found.facts.published_geneformer == 52.4
    assert rules["label"].notna().all() and set(rules["source"]) == {
        "latents", "permuted labels", "frequency-matched lists", "latents of random weights", "latents, far end",
        "raw coordinates", "principal axes", "random directions",
    }  # fmt: skip


def test_labels_name_the_programme_that_was_planted(found):
    hits = found.table("hits")
    first = hits.sort_values("p").drop_duplicates("latent").set_index("latent")
    assert [first.at[i, "name"] for i in range(N_PROGRAMMES)] == [f"programme {i}" for i in range(N_PROGRAMMES)]
    assert (first.loc[: N_PROGRAMMES - 1, "overlap"] == IN_PROGRAMME).all() and found.facts.n_hits == len(hits)
    assert found.table("prerank")["latent"].nunique() == 3
    split = found.table("split_labels")
    right = split[split["labelled"] & (split["feature"] == split["term"])]
    assert len(right) > N_PROGRAMMES and right["auroc"].mean() > 0.8 > right["control_auroc"].mean()
    claim = found.claims["labels_predict"]
    assert claim["verdict"] == "supported" and claim["interval_over"] == "terms"
    both = split[split["labelled"]].dropna(subset=["auroc", "control_auroc"])
    by_term = both.groupby("term")[["auroc", "control_auroc"]].mean().mean()  # one vote a term
    assert (claim["value"], claim["control"]) == pytest.approx(tuple(by_term))
    assert set(found.table("label_scores").groupby("which").size()) == {found.facts.n_labels} == {len(both)}


def test_power_grows_with_what_is_planted(found):
    power = found.table("power").query("planted == 0.25").groupby("strength")["power_layer"].mean()
    planted = found.table("planted").set_index(["planted", "strength"])
    assert {share for share, _ in planted.index} == {0.25, 0.05}  # of so few lists, two per cent is none
    by_share = planted.groupby(level="planted")["false_layer"].mean()
    assert by_share.max() == pytest.approx(found.facts.power_false)
    assert power.iloc[0] < 0.5 and power.iloc[-1] > 0.9 and "genes listed for terms of" in found.facts.enough


def test_what_is_not_fetched_is_not_tested(found):
    for name, command in (("string_edges", "biosae fetch string-v12"), ("trrust_targets", "biosae fetch trrust-v2")):
        claim = found.claims[name]
        assert (
            claim["verdict"] == "not_tested" and command in claim["reason"] and claim["title"] == WORDS[name]["title"]
        )
    assert not found.has("string") and "published_edges" not in set(found.table("rules")["rule"])


def test_fetched_networks_are_tested(elsewhere):
    genes = [(i, j) for i in range(0, N_PROGRAMMES * IN_PROGRAMME, 3) for j in (i + 1, i + 2)]  # within programmes
    links = "protein1 protein2 combined_score\n" + "".join(f"p{a} p{b} 900\np{b} p{a} 900\n" for a, b in genes)
    info = "#id\tname\n" + "".join(f"p{g}\t{symbol(g)}\n" for g in range(N_GENES))
    trrust = "".join(f"{symbol(200)}\t{symbol(g)}\tUnknown\t1\n" for g in range(IN_PROGRAMME))
    trrust += "".join(f"{symbol(201)}\t{symbol(g)}\tUnknown\t1\n" for g in range(160, 175))
    put("string-v12", {edges.STRING_LINKS: links, edges.STRING_INFO: info})
    put("trrust-v2", {edges.TRRUST_FILE: trrust})
    found = Result(compute(PHASE, Params(**ABOUT)))
    string, claim = found.table("string").set_index("latent"), found.claims["string_edges"]
    assert claim["value"] == pytest.approx(string["edges"].mean()) and claim["verdict"] == "supported"
    assert (string.loc[: N_PROGRAMMES - 1, "edges"] == 10).all() and (string.loc[: N_PROGRAMMES - 1, "p"] < 0.01).all()
    targets = found.claims["trrust_targets"]
    assert targets["value"] == pytest.approx(100 / len(string)) and targets["control"] < targets["value"]
    assert targets["control_kind"].endswith("among real lists")
    assert "published_edges" in set(found.table("rules")["rule"])


def put(source: str, texts: dict[str, str]) -> None:
    """Files of a source as `biosae fetch` leaves them."""
    folder = Path("data/fetched") / source
    folder.mkdir(parents=True)
    for name, text in texts.items():
        data = text.encode()
        (folder / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    files = {f.name: {"size": f.stat().st_size, "sha256": sha256(f)} for f in sorted(folder.iterdir())}
    (folder / "lock.json").write_text(json.dumps({"files": files}))


def test_without_a_twin_random_weights_are_not_tested(elsewhere):
    found = Result(compute(PHASE, Params(**ABOUT)))
    for name in ("annotated_beyond_random_weights", "excess_beyond_random_weights"):
        assert found.claims[name]["verdict"] == "not_tested" and "random weights" in found.claims[name]["reason"]
    assert "untrained_above" not in found.facts


def test_random_weights_are_not_compared_with_themselves(elsewhere):
    found = Result(compute(PHASE, Params(**ABOUT | {"model": UNTRAINED, "variant": "random-weights", "fdr": 1e-6})))
    of_rivals = {"annotated_beyond_random_weights", "excess_beyond_random_weights"}
    assert {name.split("/")[0] for name in found.claims} == set(WORDS) - of_rivals
    assert found.claims["annotated_published"]["published"] is None
    assert found.claims["labels_predict"]["verdict"] == "not_tested" and found.facts.n_hits == 0
    assert len(found.table("hits")) == 0 and not found.has("prerank")


def test_lists_longer_than_the_catalogue_keeps_are_refused(elsewhere):
    with pytest.raises(BiosaeError, match=r"Lists of 16 genes were asked for, and the catalogue keeps 15.*n_top=16"):
        compute(PHASE, Params(**ABOUT | {"n_top": IN_PROGRAMME + 1}))
    assert not (elsewhere / f"results/planted/{MODEL}/layer_00/04_annotate/manifest.json").exists()


def test_shorter_lists_are_cut(elsewhere):
    found = Result(compute(PHASE, Params(**ABOUT | {"n_top": 5})))
    assert found.table("hits")["list_size"].max() == 5
