"""What holds for every family: resuming, stopping early, padding, masking, and what tokens may depend on."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from biosae_utils.errors import BiosaeError
from biosae_utils.models.base import FoundationModel, Genes, batches
from biosae_utils.models.blocks import BlockModel

PADDED, FULL = [11, 6, 2, 3], [11]


@pytest.fixture(scope="module")
def tokens(model, counts, genes):
    return model.encode(counts, genes)


def test_satisfies_the_protocol(model):
    assert isinstance(model, FoundationModel)


@pytest.mark.parametrize("rows", [PADDED, FULL])
def test_resume_unedited_is_bit_equal(model, tokens, rows):
    batch = model.collate(tokens, rows)
    assert batch.padded == (len(rows) > 1)
    hidden = model.hidden(batch)
    last = model.info.n_layers - 1
    positions = batch.is_gene.nonzero()
    for layer in range(model.info.n_layers):
        final = model.resume(hidden[layer], layer, batch)
        assert torch.equal(final, hidden[last])
        assert torch.equal(model.predict(final, positions), model.predict(hidden[last], positions))


def test_resume_carries_an_edit(model, tokens):
    batch = model.collate(tokens, FULL)
    hidden = model.hidden(batch)
    edited = hidden[0].clone()
    edited[0, 1] += 1.0
    assert not torch.allclose(model.resume(edited, 0, batch), hidden[2])


def test_a_cell_alone_equals_a_cell_in_a_padded_batch(model, tokens):
    batch = model.collate(tokens, PADDED)
    together = model.hidden(batch)
    for row, cell in enumerate(PADDED):
        alone = model.hidden(model.collate(tokens, [cell]))
        n = int(tokens.lengths[cell])
        for layer in range(model.info.n_layers):
            torch.testing.assert_close(together[layer][row, :n], alone[layer][0, :n], rtol=1e-5, atol=1e-5)


def test_no_block_runs_after_the_last_asked(model, tokens, monkeypatch):
    ran = []
    block = type(model).block
    monkeypatch.setattr(type(model), "block", lambda self, n, s, a: ran.append(n) or block(self, n, s, a))
    batch = model.collate(tokens, FULL)
    assert list(model.hidden(batch, [1])) == [1] and ran == [0, 1]
    ran.clear()
    model.resume(model.hidden(batch, [1])[1], 1, batch)
    assert ran == [0, 1, 2]
    assert model.hidden(batch, []) == {}


@pytest.mark.parametrize("rows", [PADDED, FULL])
def test_the_last_block_may_run_at_a_few_positions_alone(model, tokens, rows, monkeypatch):
    batch = model.collate(tokens, rows)
    whole, last = model.hidden(batch), model.info.n_layers - 1
    at = batch.is_gene.nonzero()[::5]  # none of some cell, several of others
    ran = []
    block = type(model).block
    monkeypatch.setattr(type(model), "block", lambda self, n, s, a: ran.append(n) or block(self, n, s, a))
    some = model.hidden(batch, at=at)
    resumed = model.resume(whole[0], 0, batch, at=at)
    own = type(model).block_at is not BlockModel.block_at
    assert ran == ([0, 1, 1] if own else [0, 1, 2, 1, 2])
    for layer in range(last):
        assert torch.equal(some[layer], whole[layer])
    for final in (some[last], resumed):
        picked = final[at[:, 0], at[:, 1]]
        torch.testing.assert_close(picked, whole[last][at[:, 0], at[:, 1]], rtol=1e-5, atol=1e-5)
        assert final.count_nonzero() == picked.count_nonzero() > 0
    everywhere = torch.ones_like(batch.mask).nonzero()
    assert torch.equal(model.hidden(batch, at=everywhere)[last], whole[last])


def test_gradients_pass_through_a_last_block_at_few_positions(model, tokens):
    masked, positions = model.mask(model.collate(tokens, PADDED), 0.2)
    gradients = []
    for at in (None, positions):
        state = model.hidden(masked, [0])[0].clone().requires_grad_()
        model.loss(model.resume(state, 0, masked, at=at), masked, positions).sum().backward()
        gradients.append(state.grad)
    assert gradients[0].abs().max() > 0
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layers", [[3], [-1]])
def test_a_layer_that_is_not_there(model, tokens, layers):
    with pytest.raises(BiosaeError, match="use layers 0 to 2"):
        model.hidden(model.collate(tokens, FULL), layers)


def test_gradients_reach_an_inner_state(model, tokens):
    masked, positions = model.mask(model.collate(tokens, PADDED), 0.3)
    state = model.hidden(masked, [0])[0]
    assert not state.requires_grad
    state = state.clone().requires_grad_()
    model.loss(model.resume(state, 0, masked), masked, positions).sum().backward()
    assert torch.isfinite(state.grad).all() and state.grad.abs().sum() > 0
    assert all(p.grad is None for p in model.net.parameters())


def test_masks_belong_to_cells_not_batches(model, tokens):
    together, where = model.mask(model.collate(tokens, PADDED), 0.4, seed=5)
    for row, cell in enumerate(PADDED):
        _, alone = model.mask(model.collate(tokens, [cell]), 0.4, seed=5)
        assert alone[:, 1].tolist() == where[where[:, 0] == row][:, 1].tolist()
    assert torch.equal(model.mask(model.collate(tokens, PADDED), 0.4, seed=5)[0].ids, together.ids)
    assert model.mask(model.collate(tokens, PADDED), 0.4, seed=6)[1].tolist() != where.tolist()
    assert together.is_gene[where[:, 0], where[:, 1]].all()
    with pytest.raises(BiosaeError, match="masking rate"):
        model.mask(together, 1.5)


def test_masked_loss_is_of_the_hidden_truth(model, tokens):
    batch = model.collate(tokens, FULL)
    masked, positions = model.mask(batch, 0.4)
    key = "ids" if batch.values is None else "values"
    assert torch.equal(masked.targets[key], getattr(batch, key))
    final = model.hidden(masked)[2]
    before = model.loss(final, masked, positions)
    shifted = dict(masked.targets)
    shifted[key] = torch.where(masked.is_gene, shifted[key] - (shifted[key] > 5).to(shifted[key].dtype), shifted[key])
    masked.targets.update(shifted)
    assert not torch.equal(model.loss(final, masked, positions), before)
    assert before.dtype == torch.float32 and before.shape == (len(positions),)


def test_batches_hold_every_cell_once_and_keep_the_limit(model, tokens):
    seen = []
    for batch in batches(model, tokens, 40):
        assert batch.ids.numel() <= 40 or len(batch.cells) == 1
        seen += batch.cells.tolist()
    assert sorted(seen) == list(range(tokens.n_cells))


def test_bfloat16_stays_close(model, folder, counts, genes):
    from biosae_utils.models.registry import load_model

    half = load_model(folder, device="cpu", dtype="bfloat16")
    batch = half.collate(half.encode(counts, genes), PADDED)
    state = half.hidden(batch)[2]
    assert state.dtype == torch.bfloat16
    error = (state.float() - model.hidden(batch)[2])[batch.mask]
    assert error.square().mean().sqrt() < 0.05 * model.hidden(batch)[2][batch.mask].std()


# ---- tokens are a function of the cell and of nothing else

cell_matrices = st.lists(st.lists(st.integers(0, 6), min_size=30, max_size=30), min_size=1, max_size=4)
relaxed = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def same(a, b):
    np.testing.assert_array_equal(a.offsets, b.offsets)
    np.testing.assert_array_equal(a.ids, b.ids)
    assert (a.values is None) == (b.values is None)
    if a.values is not None:
        np.testing.assert_array_equal(a.values, b.values)


@relaxed
@given(rows=cell_matrices, seed=st.integers(0, 99))
def test_the_order_of_columns_changes_nothing(model, genes, rows, seed):
    x, order = np.array(rows, np.float32), np.random.default_rng(seed).permutation(30)
    shuffled = Genes(genes.ensembl[order], genes.symbol[order])
    same(model.encode(sp.csr_matrix(x), genes), model.encode(sp.csr_matrix(x[:, order]), shuffled))


@relaxed
@given(rows=cell_matrices, factor=st.integers(2, 1000))
def test_scaling_a_cell_changes_nothing(model, genes, rows, factor):
    x = np.array(rows, np.float32)
    same(model.encode(sp.csr_matrix(x), genes), model.encode(sp.csr_matrix(x * factor), genes))


@relaxed
@given(rows=cell_matrices)
def test_a_cell_does_not_depend_on_its_neighbours(model, genes, rows):
    x = sp.csr_matrix(np.array(rows, np.float32))
    together = model.encode(x, genes)
    for i in range(x.shape[0]):
        alone = model.encode(x[i], genes)
        assert together.ids[together.offsets[i] : together.offsets[i + 1]].tolist() == alone.ids.tolist()


def test_chunks_of_cells_join_seamlessly(model, counts, genes):
    many = sp.vstack([counts] * 90).tocsr()  # more than one chunk
    encoded, one = model.encode(many, genes), model.encode(counts, genes)
    assert encoded.n_cells == 1080
    np.testing.assert_array_equal(encoded.ids, np.tile(one.ids, 90))


def test_no_cells_are_no_tokens(model, counts, genes):
    assert model.encode(counts[:0], genes).n_cells == 0
