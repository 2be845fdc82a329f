"""The parts of scGPT compute what PyTorch's own do, under the names of the published checkpoints."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from biosae_utils.models.scgpt_net import MAX_VALUE, Attention, Block, GeneEncoder, ScGPTNet, ValueEncoder

D, HEADS, HIDDEN = 12, 3, 20


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture
def states() -> torch.Tensor:
    return torch.randn(2, 5, D)


@pytest.fixture
def attend() -> torch.Tensor:
    """The second row ends after three tokens; shape (2, 1, 1, 5)."""
    return torch.tensor([[True] * 5, [True] * 3 + [False] * 2])[:, None, None, :]


def test_a_block_is_pytorchs_post_norm_layer(states, attend):
    ours = Block(D, HEADS, HIDDEN, 0.1).eval()
    theirs = nn.TransformerEncoderLayer(D, HEADS, HIDDEN, 0.0, batch_first=True)  # trains, so that padding is computed
    theirs.load_state_dict(ours.state_dict(), strict=True)
    with torch.no_grad():
        expected = theirs(states, src_key_padding_mask=~attend[:, 0, 0])
        torch.testing.assert_close(ours(states, attend), expected, atol=1e-5, rtol=1e-5)


def test_some_positions_among_all_are_those_positions_of_all(states, attend):
    block = Block(D, HEADS, HIDDEN, 0.0).eval()
    with torch.no_grad():
        whole, part = block(states, attend), block(states[:, [1, 4]], attend, among=states)
    torch.testing.assert_close(part, whole[:, [1, 4]], atol=1e-6, rtol=1e-5)


def test_dropout_acts_while_it_is_trained_only(states):
    attention = Attention(D, HEADS, 0.5)
    assert not torch.equal(attention(states, None), attention(states, None))
    attention.eval()
    assert torch.equal(attention(states, None), attention(states, None))


def test_values_are_capped_and_embeddings_normalised():
    values = ValueEncoder(D, 0.0)
    assert torch.equal(values(torch.tensor([[1e6]])), values(torch.tensor([[float(MAX_VALUE)]])))
    embedded = GeneEncoder(7, D, pad_id=0)(torch.tensor([[1, 2, 3]]))
    torch.testing.assert_close(embedded.mean(-1), torch.zeros(1, 3), atol=1e-6, rtol=0)


@pytest.mark.parametrize("batch_norm", [True, False])
def test_parts_have_the_official_names(batch_norm):
    net = ScGPTNet(7, D, HEADS, HIDDEN, 2, 0, 0.1, batch_norm)
    names = {key.rpartition(".")[0] for key in net.state_dict()}
    assert {
        "encoder.embedding", "encoder.enc_norm", "value_encoder.linear1", "value_encoder.norm",
        "transformer_encoder.layers.1.self_attn", "transformer_encoder.layers.1.self_attn.out_proj",
        "transformer_encoder.layers.1.norm2", "decoder.fc.4",
    } <= names  # fmt: skip
    assert ("bn" in names) == batch_norm
