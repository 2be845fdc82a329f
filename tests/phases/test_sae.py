"""02_sae on real cells and a real small model: SAEs, codes of all positions and claims, nothing half-made left."""

from __future__ import annotations

import numpy as np
import pytest

from biosae_utils.phases.sae import RIVALS
from biosae_utils.sae.codes import CodeStore
from biosae_utils.sae.formats import load_sae
from biosae_utils.store import read_json, read_table
from phases.real_project import computed


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    with computed(tmp_path_factory.mktemp("sae"), "02_sae") as folder:
        yield folder


def test_every_layer_has_its_seeds_and_the_codes_of_all_positions(folder):
    positions = np.load(folder.parent / "01_extract" / "positions" / "cell.npy")
    for layer in (0, 2):
        saes = [load_sae(folder / f"layer_{layer:02d}" / name) for name in ("sae", "seed_1")]
        assert saes[0].k == 4 and not np.allclose(saes[0].W_dec.numpy(), saes[1].W_dec.numpy())
        codes = CodeStore.open(folder / f"layer_{layer:02d}" / "codes")
        assert (codes.n, codes.k, codes.d_sae) == (len(positions), 4, saes[0].d_sae)
    assert not (folder / "training").exists(), "checkpoints go once the results are stored"


def test_claims_of_every_layer_have_controls(folder):
    claims = read_json(folder / "claims.json")
    kinds = ("variance", "fidelity", "seeds")
    assert {(c["id"], c["layer"]) for c in claims} == {(kind, layer) for kind in kinds for layer in (0, 2)}
    for claim in claims:
        tested = claim["control"] is not None and claim["interval_over"] and claim["minimum"] > 0
        assert claim["verdict"] == "not_tested" or tested


def test_the_strongest_of_the_rivals_is_the_control_of_variance(folder):
    first = read_table(folder / "metrics.parquet").query("seed == 0").set_index("layer")
    for claim in read_json(folder / "claims.json"):
        if claim["id"] == "variance":
            assert claim["control"] == first.loc[claim["layer"], list(RIVALS)].max()


def test_no_table_holds_how_long_anything_took(folder):
    for path in folder.glob("*.parquet"):
        assert "seconds" not in read_table(path), path.name
    assert read_json(folder / "manifest.json")["steps"].keys() >= {"train", "encode all positions"}
