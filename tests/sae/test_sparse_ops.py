"""The sparse products and the choice of latents behind an autoencoder on a CPU."""

from concurrent.futures import ThreadPoolExecutor

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from biosae_utils.sae.sparse_ops import ChosenPreActs, Pattern, choose_latents, cpu_has_bf16, top_k
from biosae_utils.sae.topk import TopKSAE


def vectors(n: int, d: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@given(
    n=st.integers(1, 40),
    width=st.integers(2, 300),
    share=st.floats(0.01, 1),
    seed=st.integers(0, 99),
    bf16=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_top_k_chooses_the_largest_positive_entries(n, width, share, seed, bf16):
    k = max(1, int(share * width))
    pre = vectors(n, width, seed)
    pre = pre.bfloat16() if bf16 else pre
    index = top_k(pre, k)
    assert index.shape == (n, k)
    assert all(len(set(row)) == k for row in index.tolist())
    chosen = pre.gather(1, index).float().relu().sort(1).values
    expected = pre.float().topk(k, dim=1).values.relu().sort(1).values
    torch.testing.assert_close(chosen, expected, rtol=0, atol=0)


def test_top_k_decides_near_ties_by_their_full_value():
    pre = torch.full((3, 512), -1.0)
    pre[:, 10:14] = torch.tensor([1.0, 1.0 + 1e-6, 1.0 + 2e-6, 1.0 + 3e-6])  # equal once the low bits are gone
    assert set(top_k(pre, 2)[0].tolist()) == {12, 13}


def test_choice_by_blocks_equals_choice_at_once(monkeypatch):
    x, sae = vectors(300, 16), TopKSAE(16, 64, 4)
    whole = choose_latents(x, sae.W_enc.t(), sae.b_enc, 4)
    monkeypatch.setattr("biosae_utils.sae.sparse_ops._BLOCK", 64 * 70)
    blocks = choose_latents(x, sae.W_enc.t(), sae.b_enc, 4)
    assert torch.equal(whole.sort(1).values, blocks.sort(1).values)


def test_the_three_products_equal_dense_ones():
    n, s, d_sae, d = 30, 6, 50, 7
    indices = torch.stack([torch.randperm(d_sae, generator=torch.Generator().manual_seed(i))[:s] for i in range(n)])
    weights, x, table = (
        vectors(*shape, seed, torch.float64) for seed, shape in enumerate([(n, s), (n, d), (d_sae, d)])
    )
    code = torch.zeros(n, d_sae, dtype=torch.float64).scatter(1, indices, weights)
    pattern = Pattern(indices, d_sae)
    torch.testing.assert_close(pattern.sums(weights, table), code @ table)
    torch.testing.assert_close(pattern.rows_times(weights, x), code.t() @ x)
    torch.testing.assert_close(pattern.dots(x, table), (x @ table.t()).gather(1, indices))


def test_chosen_pre_activations_have_the_gradients_of_the_dense_product():
    n, s, d_sae, d = 12, 3, 20, 6
    indices = torch.stack([torch.randperm(d_sae, generator=torch.Generator().manual_seed(i))[:s] for i in range(n)])
    parts = [
        vectors(*shape, seed, torch.float64) for seed, shape in enumerate([(n, d), (1, d), (d_sae, d), (1, d_sae)])
    ]
    x, b_dec, table, b_enc = (p.squeeze(0).requires_grad_() for p in parts)
    weights = vectors(n, s, 9, torch.float64)
    ours = ChosenPreActs.apply(x, b_dec, table, b_enc, (x - b_dec).detach(), Pattern(indices, d_sae))
    dense = ((x - b_dec) @ table.t() + b_enc).gather(1, indices)
    torch.testing.assert_close(ours, dense)
    inputs = (x, b_dec, table, b_enc)
    for a, b in zip(*(torch.autograd.grad((y * weights).sum(), inputs) for y in (ours, dense)), strict=True):
        assert b.abs().max() > 0
        torch.testing.assert_close(a, b)


def test_only_gradients_that_are_asked_for_are_computed():
    pattern = Pattern(torch.tensor([[0, 1]]), 3)
    x, table, b_enc = torch.ones(1, 4), torch.ones(3, 4, requires_grad=True), torch.zeros(3)
    ChosenPreActs.apply(x, torch.zeros(4), table, b_enc, x, pattern).sum().backward()
    assert table.grad[:2].abs().sum() > 0 == table.grad[2].abs().sum() and x.grad is None


def test_bf16_is_used_where_either_instruction_set_is_there(monkeypatch):
    names = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    for supported in [(True, False), (False, True), (False, False)]:
        for name, value in zip(names, supported, strict=True):
            monkeypatch.setattr(torch.cpu, name, lambda value=value: value, raising=False)
        cpu_has_bf16.cache_clear()
        assert cpu_has_bf16() is any(supported)
    for name in names:
        monkeypatch.delattr(torch.cpu, name)
    cpu_has_bf16.cache_clear()
    assert not cpu_has_bf16(), "an older PyTorch that cannot say it has none"
    monkeypatch.undo()
    cpu_has_bf16.cache_clear()


def test_threads_choose_in_rooms_of_their_own():
    """Work space that two threads shared would mix their rows."""
    sae = TopKSAE(16, 256, 4)
    batches = [vectors(200, 16, seed) for seed in range(16)]
    alone = [choose_latents(x, sae.W_enc.t(), sae.b_enc, 4) for x in batches]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda x: choose_latents(x, sae.W_enc.t(), sae.b_enc, 4), batches * 4))
    assert all(torch.equal(a, b) for a, b in zip(alone * 4, together, strict=True))


def test_the_choice_in_bf16_is_nearly_that_of_float32(monkeypatch):
    sae, x = TopKSAE(32, 256, 8), vectors(300, 32)
    exact = choose_latents(x, sae.W_enc.t(), sae.b_enc, 8)
    monkeypatch.setattr("biosae_utils.sae.sparse_ops.cpu_has_bf16", lambda: True)
    rough = choose_latents(x, sae.W_enc.t(), sae.b_enc, 8)
    code = torch.zeros(300, 256)
    overlap = code.scatter(1, exact, 1.0).mul(code.scatter(1, rough, 1.0)).sum(1) / 8
    assert 0.95 < overlap.mean() < 1
