"""The autoencoder's maths: sparse products, gradients, selection, the three kinds."""

import numpy as np
import pytest
import torch

from biosae_utils.errors import BiosaeError
from biosae_utils.sae.topk import TopKSAE

KINDS = ("topk", "batchtopk", "matryoshka")


def double_sae(kind: str, *, d_in: int = 24, d_sae: int = 96, k: int = 5) -> TopKSAE:
    sae = TopKSAE(d_in, d_sae, k, kind=kind, seed=2).double()
    noise = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for p in sae.parameters():
            p += 0.1 * torch.randn(p.shape, generator=noise, dtype=p.dtype)
    return sae


def vectors(n: int, d: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def dense_reference(sae: TopKSAE, x: torch.Tensor) -> list[torch.Tensor]:
    """The textbook version, with the whole code in memory and autograd for everything."""
    pre = (x - sae.b_dec) @ sae.W_enc + sae.b_enc
    top = pre.topk(sae.width, dim=1)
    code = torch.zeros_like(pre).scatter(1, top.indices, top.values.relu())
    if sae.kind == "batchtopk":
        floor = code.detach().flatten().topk(len(x) * sae.k).values.min()
        code = code * (code >= floor)
    return [code[:, :m] @ sae.W_dec[:m] + sae.b_dec for m in sae.groups or (sae.d_sae,)]


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_equal_dense_autograd(kind):
    sae, x = double_sae(kind), vectors(40, 24, 1, torch.float64).requires_grad_()

    def gradients(outputs):
        loss = sum((y - x).pow(2).mean() for y in outputs)
        return [loss.detach(), *torch.autograd.grad(loss, [x, *sae.parameters()])]

    ours = gradients(sae.decode_prefixes(*sae.encode(x)))
    theirs = gradients(dense_reference(sae, x))
    for name, a, b in zip(["loss", "x", *dict(sae.named_parameters())], ours, theirs, strict=True):
        assert b.abs().max() > 1e-4, f"{name}: the reference gradient is trivial"
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12, msg=lambda m, name=name: f"{name}: {m}")


def test_a_wrong_gradient_would_be_seen():
    """The comparison above can fail: dropping the encoder's share of the bias gradient shows."""
    sae, x = double_sae("topk"), vectors(40, 24, 1, torch.float64)
    full = torch.autograd.grad(sae(x).pow(2).sum(), sae.b_dec)[0]
    values, indices = sae.encode(x)
    partial = torch.autograd.grad(sae.decode(values.detach(), indices).pow(2).sum(), sae.b_dec)[0]
    assert (full - partial).abs().max() > 1e-2


def test_starts_tied_with_unit_rows():
    sae = TopKSAE(16, 64, 4, seed=1)
    assert torch.equal(sae.W_enc, sae.W_dec.t())
    torch.testing.assert_close(sae.W_dec.norm(dim=1), torch.ones(64))
    assert not torch.equal(sae.W_dec, TopKSAE(16, 64, 4, seed=2).W_dec)
    assert torch.equal(sae.W_dec, TopKSAE(16, 64, 4, seed=1).W_dec)


def test_decoder_bias_is_subtracted_before_encoding():
    sae, x = TopKSAE(16, 64, 4), vectors(20, 16)
    values, indices = sae.encode(x)
    with torch.no_grad():
        sae.b_dec += 3.0
    shifted, same = sae.encode(x + 3.0)
    torch.testing.assert_close(values, shifted, rtol=1e-4, atol=1e-5)
    assert torch.equal(indices.sort(1).values, same.sort(1).values)


@pytest.mark.parametrize("kind", KINDS)
def test_code_is_sparse_nonnegative_and_decodes_to_the_forward(kind):
    sae, x = double_sae(kind), vectors(64, 24, 5, torch.float64)
    values, indices = sae.encode(x)
    assert values.shape == indices.shape == (64, sae.width)
    assert (values >= 0).all()
    assert (values > 0).sum() <= 64 * sae.k
    torch.testing.assert_close(sae.encode_dense(x) @ sae.W_dec + sae.b_dec, sae(x))


def test_batchtopk_spends_its_budget_unevenly_and_uses_the_threshold_afterwards():
    sae = TopKSAE(24, 96, 5, kind="batchtopk", seed=2)
    x = vectors(200, 24) * torch.linspace(0.1, 3, 200)[:, None]
    per_row = (sae.encode(x)[0] > 0).sum(1)
    assert per_row.sum() == 200 * 5
    assert per_row[-50:].sum() > 2 * per_row[:50].sum()
    sae.eval().threshold.fill_(0.7)
    values, _ = sae.encode(x)
    dense = sae.pre_acts(x)
    assert ((values > 0).sum(1) == (dense > 0.7).sum(1).clamp_max(sae.width)).all()
    alone = sae.encode(x[:1])[0]
    torch.testing.assert_close(alone, values[:1])  # no vector depends on its neighbours any more


def test_matryoshka_prefixes_reconstruct_from_their_own_latents():
    sae = TopKSAE(24, 96, 8, kind="matryoshka", groups=(10, 96), seed=0)
    x = vectors(30, 24)
    small, whole = sae.decode_prefixes(*sae.encode(x))
    torch.testing.assert_close(small, sae.encode_dense(x)[:, :10] @ sae.W_dec[:10] + sae.b_dec)
    torch.testing.assert_close(whole, sae(x))


def test_folded_scale_accepts_raw_vectors_and_keeps_unit_rows():
    sae, x = TopKSAE(24, 96, 5, seed=4).eval(), vectors(50, 24)
    with torch.no_grad():
        sae.b_enc.normal_(0, 0.1)
        sae.b_dec.normal_(0, 1)
        values, indices = sae.encode(x * 2.5)
        expected = sae.decode(values, indices) / 2.5
        sae.fold_scale(2.5)
        folded, again = sae.encode(x)
    torch.testing.assert_close(sae.decode(folded, again), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(folded.sort(1).values * 2.5, values.sort(1).values, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(sae.W_dec.norm(dim=1), torch.ones(96))


def test_half_precision_input_is_taken():
    sae, x = TopKSAE(24, 96, 5), vectors(10, 24).half()
    torch.testing.assert_close(sae(x), sae(x.float()))


@pytest.mark.parametrize(
    "wrong",
    [
        {"k": 0},
        {"k": 97},
        {"kind": "gated"},
        {"kind": "matryoshka", "groups": (10, 50)},
        {"kind": "matryoshka", "groups": (50, 10, 96)},
    ],
)
def test_bad_sizes_are_refused(wrong):
    with pytest.raises(BiosaeError):
        TopKSAE(**{"d_in": 24, "d_sae": 96, "k": 5, **wrong})


def test_wrong_width_is_refused():
    with pytest.raises(BiosaeError, match="width 24"):
        TopKSAE(24, 96, 5).encode(torch.zeros(3, 25))


@pytest.mark.parametrize("bf16", [False, True])
def test_codes_after_training_are_those_of_the_float32_product(bf16, monkeypatch):
    """Low precision may choose candidates, but neither the final choice nor the values show it."""
    for module in ("sparse_ops", "topk"):
        monkeypatch.setattr(f"biosae_utils.sae.{module}.cpu_has_bf16", lambda: bf16)
    sae, x = TopKSAE(192, 1024, 16, seed=1).eval(), vectors(2000, 192)
    values, indices = sae.encode(x)
    exact = sae.pre_acts(x).topk(16, dim=1)
    assert torch.equal(indices.sort(1).values, exact.indices.sort(1).values)
    np.testing.assert_allclose(
        values.detach().sort(1).values, exact.values.detach().relu().sort(1).values, rtol=1e-4, atol=1e-5
    )
