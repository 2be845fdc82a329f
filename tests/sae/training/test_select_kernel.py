"""The kernel that chooses latents, against plain PyTorch."""

import torch

from biosae_utils.sae.training.ops import TorchOps


def test_select_chooses_the_same_latents(kernels, case, outputs):
    ours, theirs = outputs("values", "indices"), outputs("values", "indices")
    kernels.select(case["pre"], case["bias"], *ours)
    TorchOps.select(case["pre"], case["bias"], *theirs)
    full = case["pre"].float() + case["bias"].unsqueeze(1)
    torch.testing.assert_close(full.gather(2, ours[1].long()).relu(), ours[0])
    assert (ours[1].sort(2).values.diff(dim=2) > 0).all(), "a latent was chosen twice"
    # the choice is made with the 8 digits of bf16, so the k-th value may be a hair below the true one
    torch.testing.assert_close(ours[0].sum(2), theirs[0].sum(2), rtol=1e-2, atol=1e-2)


def test_select_by_pieces_chooses_the_same_latents(kernels, case, outputs, monkeypatch):
    whole, pieces = outputs("values", "indices"), outputs("values", "indices")
    kernels.select(case["pre"], case["bias"], *whole)
    monkeypatch.setattr("biosae_utils.sae.training.select_kernel.PIECE", 40)
    kernels.select(case["pre"], case["bias"], *pieces)
    full = case["pre"].float() + case["bias"].unsqueeze(1)
    torch.testing.assert_close(full.gather(2, pieces[1].long()).relu(), pieces[0])
    torch.testing.assert_close(pieces[0].sum(2), whole[0].sum(2), rtol=1e-2, atol=1e-2)
    assert (pieces[1].sort(2).values.diff(dim=2) > 0).all(), "a latent was chosen twice"


def test_select_with_fewer_positive_entries_than_k(kernels, case, outputs):
    values, indices = outputs("values", "indices")
    pre = -case["pre"].abs()
    pre[..., 7] = 1.0
    kernels.select(pre, torch.zeros_like(case["bias"]), values, indices)
    assert ((values > 0).sum(2) == 1).all()
    assert (indices.sort(2).values.diff(dim=2) > 0).all()
