"""Our directories in SAELens itself. Runs in its own environment: ``pip install sae-lens`` beside this package."""

import pytest
import torch

from biosae_utils.sae.formats import load_sae, save_sae
from biosae_utils.sae.topk import TopKSAE

sae_lens = pytest.importorskip(
    "sae_lens", reason="SAELens is not installed; its job installs it in an environment of its own"
)

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", ["topk", "matryoshka", "batchtopk"])
def test_saelens_computes_the_same(tmp_path, kind):
    sae = TopKSAE(32, 128, 8, kind=kind, seed=1).eval().requires_grad_(False)
    g = torch.Generator().manual_seed(2)
    sae.b_enc.copy_(0.1 * torch.randn(128, generator=g))
    sae.b_dec.copy_(torch.randn(32, generator=g))
    if kind == "batchtopk":
        sae.threshold.fill_(3.0)  # about 9 active of 128, well under the cap of 4 k
    x = 2 * torch.randn(64, 32, generator=g)
    save_sae(tmp_path, sae, {"model_name": "mini", "hook_name": "block 1 output"})
    theirs = sae_lens.SAE.load_from_disk(str(tmp_path))
    torch.testing.assert_close(theirs.encode(x), sae.encode_dense(x), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(theirs(x), sae(x), rtol=1e-4, atol=1e-5)


def test_what_saelens_saves_loads_here(tmp_path):
    config = sae_lens.TopKTrainingSAEConfig(d_in=32, d_sae=128, k=8)
    theirs = sae_lens.TopKTrainingSAE(config)
    theirs.save_inference_model(str(tmp_path))
    reference = sae_lens.SAE.load_from_disk(str(tmp_path))
    x = torch.randn(64, 32, generator=torch.Generator().manual_seed(2))
    ours = load_sae(tmp_path)
    torch.testing.assert_close(ours(x), reference(x).detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["jumprelu", "standard"])
@pytest.mark.parametrize("centred", [True, False])
def test_codes_without_a_cap_are_theirs(tmp_path, kind, centred):
    config = {"d_in": 32, "d_sae": 128, "apply_b_dec_to_input": centred, "architecture": kind}
    theirs = sae_lens.SAE.from_dict(config)
    with torch.no_grad():
        theirs.b_dec.normal_(generator=torch.Generator().manual_seed(1))
        if kind == "jumprelu":
            theirs.threshold.uniform_(-0.2, 1, generator=torch.Generator().manual_seed(2))
    theirs.save_model(str(tmp_path / "theirs"))
    x = 2 * torch.randn(64, 32, generator=torch.Generator().manual_seed(3))
    ours = load_sae(tmp_path / "theirs")
    assert (theirs.encode(x) > 0).sum(1).max() > 32
    torch.testing.assert_close(ours.encode_dense(x), theirs.encode(x).detach(), rtol=1e-4, atol=1e-5)
    save_sae(tmp_path / "ours", ours)
    again = sae_lens.SAE.load_from_disk(str(tmp_path / "ours"))
    torch.testing.assert_close(again(x), theirs(x), rtol=1e-4, atol=1e-4)
