"""Seeds that agree: a finding only where the SAEs of random weights agree less."""

from __future__ import annotations

import numpy as np
import pytest

from biosae_utils.analysis.geometry import unit
from biosae_utils.phases.inputs import Inputs
from biosae_utils.phases.output import Output
from biosae_utils.phases.registry import find
from biosae_utils.phases.sae_seeds import agree
from biosae_utils.store import read_json
from phases.layered_project import WIDTH, decoder, leave_saes
from phases.planted_project import MODEL, RUN, UNTRAINED

F, LAYER = 40, 1


def decoders(n_same: int, seed: int = 0) -> list[np.ndarray]:
    """Two seeds with so many latents in common."""
    rng = np.random.default_rng(seed)
    first, other = unit(rng.normal(size=(F, WIDTH))), unit(rng.normal(size=(F, WIDTH)))
    return [first, np.where(np.arange(F)[:, None] < n_same, first, other)]


def agreed(mine: list[np.ndarray], control: str | None) -> tuple[dict, dict]:
    """The claim and the facts of a page with these decoders at one layer."""
    phase = find("02_sae")
    p = phase.params(**RUN, model=MODEL, source="nowhere", control=control)
    out = Output(phase, p, "biosae run 02_sae")
    facts = agree({LAYER: mine}, control, Inputs(phase, p), out, seed=0)
    out.close()
    (claim,) = read_json(out.dir / "claims.json")
    return claim, facts


@pytest.fixture
def untrained(tmp_path, monkeypatch) -> float:
    """02_sae of the random-weights twin; the share (%) of its latents that its second seed finds again."""
    monkeypatch.chdir(tmp_path)
    leave_saes(model=UNTRAINED)
    return 100 * (np.abs(decoder(LAYER, 0) @ decoder(LAYER, 1).T).max(1) >= 0.7).mean()


def test_agreement_that_random_weights_have_too_is_not_supported(untrained):
    """Beside random directions, the old control, the same latents are far ahead."""
    assert 60 < untrained < 90
    claim, facts = agreed(decoders(n_same=28), UNTRAINED)
    assert claim["value"] == pytest.approx(70, abs=5) and claim["control"] == pytest.approx(untrained, abs=5)
    assert claim["verdict"] == "not_supported" and UNTRAINED in claim["control_kind"]
    assert f"where SAEs of {UNTRAINED} find {claim['control']:.0f}" in facts["agree_said"]
    alone, facts = agreed(decoders(n_same=28), None)
    assert alone["verdict"] == "supported" and "random directions" in alone["control_kind"]
    assert alone["value"] == claim["value"] and "not compared with random weights" in facts["agree_said"]


def test_agreement_beyond_that_of_random_weights_is_supported(untrained):
    claim, _ = agreed(decoders(n_same=F), UNTRAINED)
    assert claim["value"] == 100 and claim["verdict"] == "supported" and claim["minimum"] == 2
    assert claim["control_interval"][0] <= claim["control"] <= claim["control_interval"][1] < 100


def test_one_seed_cannot_agree(untrained):
    claim, facts = agreed(decoders(0)[:1], UNTRAINED)
    assert claim["verdict"] == "not_tested" and facts["cosine_seeds"] is None
    assert "agreement is unknown" in facts["agree_said"]
