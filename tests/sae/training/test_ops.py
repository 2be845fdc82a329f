"""The products of a stacked step in plain PyTorch, against autograd and PyTorch's own Adam."""

import pytest
import torch

from biosae_utils.sae.training.ops import TorchOps, adam_, best_ops

S, B, D, F, K = 2, 7, 5, 12, 3


@pytest.fixture
def code():
    """Centred vectors, tables, and the code that the first one gives."""
    g = torch.Generator().manual_seed(0)
    xc, enc, dec = (torch.randn(*shape, generator=g) for shape in ((S, B, D), (S, F, D), (S, F, D)))
    bias = 0.1 * torch.randn(S, F, generator=g)
    values, indices = torch.empty(S, B, K), torch.empty(S, B, K, dtype=torch.int32)
    TorchOps.select(torch.bmm(xc, enc.transpose(1, 2)), bias, values, indices)
    return xc, enc, dec, bias, values, indices


def test_select_keeps_the_largest_and_cuts_at_zero(code):
    xc, enc, _, bias, values, indices = code
    pre = torch.bmm(xc, enc.transpose(1, 2)) + bias[:, None]
    torch.testing.assert_close(values.sort(2).values, pre.topk(K, dim=2).values.relu().sort(2).values)
    torch.testing.assert_close(pre.gather(2, indices.long()).relu(), values)


def test_gradients_are_those_of_autograd(code):
    xc, enc, dec, bias, values, indices = code
    factor = 2.0 / (B * D)
    error, to_values, squares = torch.empty(S, B, D), torch.empty(S, B, K), torch.empty(S, B)
    TorchOps.decode(xc, dec, values, indices, error, to_values, squares, factor)
    to_dec, to_enc, to_bias = torch.empty(S, F, D), torch.empty(S, F, D), torch.empty(S, F)
    TorchOps.gradients(values, indices, to_values, error, xc, to_dec, to_enc, to_bias, factor)

    enc, dec, bias = (p.clone().requires_grad_() for p in (enc, dec, bias))
    pre = (torch.bmm(xc, enc.transpose(1, 2)) + bias[:, None]).gather(2, indices.long()).relu()
    dense = torch.zeros(S, B, F).scatter(2, indices.long(), pre)
    left = torch.bmm(dense, dec) - xc
    torch.testing.assert_close(error, left)
    torch.testing.assert_close(squares, left.pow(2).sum(2))
    (left.pow(2).sum() / (B * D)).backward()
    for ours, theirs in ((to_dec, dec.grad), (to_enc, enc.grad), (to_bias, bias.grad)):
        assert theirs.abs().max() > 0
        torch.testing.assert_close(ours, theirs)


def test_centre_gathers_scales_and_subtracts(code):
    xc = code[0]
    data, scale, b_dec = torch.arange(40.0).view(8, D), torch.tensor([1.0, 2.0]), torch.ones(S, D)
    rows, out = torch.tensor([[3] * B, [0] * B]), torch.empty_like(xc)
    TorchOps.centre(data, rows, scale, b_dec, out)
    assert torch.equal(out[0, 0], data[3] - 1) and torch.equal(out[1, 4], 2 * data[0] - 1)


def test_adam_is_pytorchs_own():
    ours = torch.linspace(-1, 1, 6)
    theirs = ours.clone().requires_grad_()
    m, v, optimizer = torch.zeros(6), torch.zeros(6), torch.optim.Adam([theirs], lr=0.01)
    for step in (1, 2, 3):
        gradient = torch.sin(torch.arange(6.0) * step)
        adam_(ours, m, v, gradient.clone(), 0.01, step)
        theirs.grad = gradient
        optimizer.step()
    torch.testing.assert_close(ours, theirs.detach())


@pytest.mark.parametrize("unit", [False, True])
def test_an_update_clips_and_keeps_unit_rows(code, unit):
    rows = torch.nn.functional.normalize(code[2], dim=2)
    gradient, clip = torch.ones(S, F, D), torch.tensor([1.0, 0.0])
    parts = TorchOps.norms(rows, gradient, gradient)
    along = (rows * gradient).sum(2)
    torch.testing.assert_close(parts[..., 0], along)
    torch.testing.assert_close(parts[..., 1], 2.0 * D - along.pow(2))
    p, low = rows.clone(), torch.empty(S, F, D, dtype=torch.bfloat16)
    TorchOps.adam(p, low, torch.zeros_like(p), torch.zeros_like(p), gradient, parts, clip, 0.1, 1, unit=unit)
    torch.testing.assert_close(p[1], rows[1], msg="a clipped gradient moved its weights")
    assert (p[0] - rows[0]).abs().max() > 0.05
    norms = p.norm(dim=2)
    assert torch.allclose(norms, torch.ones(S, F)) is unit
    torch.testing.assert_close(low, p.bfloat16())


def test_a_device_without_triton_gets_plain_pytorch():
    assert isinstance(best_ops(torch.device("cpu")), TorchOps)
