"""06_tracking on latents of which some live in all layers, some in one, and some are a start that two layers share."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from biosae_utils.book.page import Result
from biosae_utils.errors import BiosaeError
from biosae_utils.phases.run import compute
from biosae_utils.phases.tracking import MINIMUM, PHASE, Params, blocks_of
from phases.layered_project import FILLER, LAYERS, OWN, SHARED, F, leave_saes, leave_states, params

WAYS = [(by, way) for by in ("decoder", "activation") for way in ("one-sided", "one-to-one")]


@pytest.fixture(scope="module")
def found(layered) -> Iterator[Result]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(layered)
        yield Result(compute(PHASE, Params(**params())))


@pytest.fixture
def elsewhere(layered, tmp_path, monkeypatch) -> Path:
    """A copy of the project in which a test may leave other inputs."""
    shutil.copytree(layered / "results", tmp_path / "results", ignore=shutil.ignore_patterns("06_tracking"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_pairs_share_what_was_planted(found):
    pairs = found.table("pairs")
    assert list(pairs.columns) == [
        "kind", "by", "matching", "layer_a", "layer_b", "n_latents", "adjacent", "share", "mean_similarity",
    ]  # fmt: skip
    assert (pairs["n_latents"] == F).all()
    assert len(pairs) == 4 * (3 + 2 + 2 + 3)  # pairs of layers, floors, shared starts, seeds; in four ways each
    share = pairs.groupby(["kind", "by", "matching"])["share"].agg(["min", "max"])
    for by, way in WAYS:
        if (by, way) == ("activation", "one-sided"):  # a filler may choose what is another's counterpart
            assert (share.loc[("layers", by, way)] * F).between(SHARED, SHARED + FILLER - 1).all()
            assert share.loc[("layers", by, way), "max"] < share.loc[("seed", by, way), "min"]
        else:
            assert share.loc[("layers", by, way)].to_list() == [SHARED / F] * 2
            assert share.loc[("seed", by, way)].to_list() == [(SHARED + OWN) / F] * 2
        assert share.loc[("floor", by, way), "max"] <= (0.15 if by == "decoder" else 0)  # loud atoms are met by chance
    assert share.loc[("shared start", "decoder", "one-sided")].to_list() == [(SHARED + FILLER) / F] * 2
    assert not pairs.query("layer_a == 0 and layer_b == 2")["adjacent"].any()


def test_claims_stand_beside_ceiling_and_floor(found):
    assert set(found.claims) == {
        "turnover_of_directions", "turnover_of_activation", "persistence_by_decoder", "persistence_by_activation",
    }  # fmt: skip
    for claim in found.claims.values():
        assert claim["value"] == pytest.approx(100 * SHARED / F) and claim["interval_over"] == "latents, paired"
        assert claim["verdict"] == "supported" and claim["minimum"] == MINIMUM and claim["control_interval"] is None
        if "turnover" in claim["id"]:
            assert claim["control"] == pytest.approx(100 * (SHARED + OWN) / F)
    assert found.claims["persistence_by_decoder"]["control"] == found.facts.decoder_floor < 15
    assert found.claims["persistence_by_activation"]["control"] == found.facts.activation_floor == 0
    published = {name: claim["published"] for name, claim in found.claims.items()}
    assert published.pop("turnover_of_directions") == 2.5085 and set(published.values()) == {None}
    assert found.facts.decoder_seed == found.facts.activation_seed == pytest.approx(100 * (SHARED + OWN) / F)
    assert found.facts.has_other_seed
    alike, apart = 100 * (SHARED + FILLER) / F, 100 * SHARED / F
    assert f"{alike:.1f} % would be found by decoder, one-sided, and not {apart:.1f} %" in found.facts.shared_start
    for by in ("decoder", "activation"):
        assert found.facts[f"{by}_seed_says"] == "fewer than" and found.facts[f"{by}_floor_says"] == "more than"
        assert found.facts[f"{by}_seed_gap"].startswith(f"{-100 * OWN / F:+.1f} points")
        assert ("blocks of cells" in found.facts[f"{by}_seed_gap"]) == (by == "activation")


def test_the_same_latents_meet_both(found):
    paired = found.table("paired").set_index(["claim", "step"])
    seed = paired.loc["turnover_of_directions"]
    assert list(seed.index) == ["0 → 1", "1 → 2", "all", "all, exchanged"]
    assert (seed["n_latents"] == [F, F, 2 * F, 2 * F]).all()  # the last layer has no next one
    assert (seed["only_next"] == 0).all() and (seed["only_control"] == [OWN, OWN, 2 * OWN, 2 * OWN]).all()
    assert seed["difference"].to_numpy() == pytest.approx(-100 * OWN / F) and (seed["sign"] == -1).all()
    assert seed["cells_low"].isna().all()  # no cell enters into directions after training
    fires = paired.loc[("persistence_by_activation", "all")]
    ends = fires[["cells_low", "cells_high"]].to_numpy(float)  # planted latents need no luck with cells
    assert fires["difference"] > 0 and ends == pytest.approx(fires["difference"])


def test_a_last_layer_that_finds_itself_again_is_no_yardstick(elsewhere):
    """Seeds agree on the last layer alone; elsewhere they agree as little as neighbours do."""
    leave_saes(agree=[LAYERS[-1]])
    lonely = Result(compute(PHASE, Params(**params())))
    shares = lonely.table("pairs").query("kind == 'seed' and by == 'decoder' and matching == 'one-sided'")
    following = lonely.claims["turnover_of_directions"]
    pooled = 100 * shares["share"].mean()
    assert pooled > following["value"] + MINIMUM  # over all layers, turnover would be seen
    assert following["control"] == pytest.approx(following["value"])  # over the same latents there is none
    assert following["verdict"] == "not_supported" and lonely.facts.decoder_seed_says == "not shown to differ from"


def test_blocks_hold_whole_cells():
    cell = np.repeat([7, 3, 9, 4], [2, 5, 1, 3])
    block = blocks_of(cell, seed=0)
    assert sorted(block[cell == c][0] for c in (3, 4, 7, 9)) == [0, 1, 2, 3]
    assert all(len(set(block[cell == c])) == 1 for c in set(cell))
    many = blocks_of(np.repeat(np.arange(40), 3), seed=0)
    assert (np.bincount(many) == 12).all() and len(np.bincount(many)) == 10


def test_lives_are_as_long_as_planted(found):
    for by in ("decoder", "activation"):
        lives = found.table(f"lifetimes_{by}")
        whole = lives[lives["length"] == len(LAYERS)]
        assert set(whole["latent"]) == set(range(SHARED)) and (whole["layer"] == 0).all()
        assert (lives["length"] == 1).sum() == len(lives) - SHARED == len(LAYERS) * (OWN + FILLER)
    lengths = found.table("lifetimes")
    assert np.allclose(lengths.groupby(["by", "which"])["share"].sum(), 1)
    floor = lengths.query("which == 'floor'").pivot(index="by", columns="length", values="n").fillna(0)
    assert floor.loc["decoder"].sum() == 2 * F  # a life for every latent that has a next layer
    assert floor.loc["activation"].to_list() == [len(LAYERS) * F, 0]
    assert found.facts.whole_decoder == found.facts.whole_activation == SHARED


def test_figures_need_no_reshaping(found):
    adjacent, grid = found.table("adjacent"), found.table("grid")
    assert set(adjacent["step"]) == {"0 → 1", "1 → 2"}
    assert not adjacent.duplicated(["panel", "step", "kind"]).any() and adjacent["panel"].nunique() == 4
    wide = grid.query("by == 'decoder'").pivot(index="layer_a", columns="layer_b", values="share").to_numpy()
    assert wide.shape == (3, 3) and (wide == wide.T).all() and not np.isnan(wide).any()


def test_one_seed_is_no_yardstick(elsewhere):
    leave_saes(seeds=1)
    alone = Result(compute(PHASE, Params(**params())))
    assert {claim["verdict"] for claim in alone.claims.values()} == {"not_tested"}
    assert "one seed" in alone.claims["turnover_of_activation"]["reason"]
    assert "same directions" in alone.claims["persistence_by_decoder"]["reason"]
    assert set(alone.table("pairs")["kind"]) == {"layers", "floor"} and not alone.facts.has_other_seed
    assert "one seed" in alone.facts.shared_start
    assert set(alone.table("paired")["claim"]) == {"persistence_by_decoder", "persistence_by_activation"}
    assert alone.facts.decoder_next == pytest.approx(100 * (SHARED + FILLER) / F)  # what the shared start adds


def test_one_layer_has_no_next(elsewhere):
    leave_saes(layers=[1])
    with pytest.raises(BiosaeError, match="Layer 1 alone has an autoencoder"):
        compute(PHASE, Params(**params()))


def test_published_figures_are_of_the_family(elsewhere):
    leave_states(family="scgpt")
    other = Result(compute(PHASE, Params(**params())))
    assert {claim["published"] for claim in other.claims.values()} == {None}


def test_thresholds_decide_who_is_the_same(elsewhere):
    loose = Result(compute(PHASE, Params(**params(threshold=0.1))))
    assert loose.claims["turnover_of_directions"]["value"] == 100
    assert loose.claims["turnover_of_directions"]["verdict"] == "not_supported"
