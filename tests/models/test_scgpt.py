"""scGPT: input worked out by hand, states equal to PyTorch's own encoder, every key of a checkpoint accounted for."""

import json

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from checkpoints import N_GENES, write_scgpt
from safetensors.torch import save_file
from torch import nn

from biosae_utils.errors import BiosaeError
from biosae_utils.models.base import Genes
from biosae_utils.models.registry import load_model

PAD, CLS = N_GENES, N_GENES + 1


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(write_scgpt(tmp_path_factory.mktemp("scgpt")), device="cpu")


def by_symbol(*symbols):
    return Genes(np.array([""] * len(symbols)), np.array(symbols))


def cells(*rows):
    return sp.csr_matrix(np.array(rows, np.float32))


def test_input_by_hand(model):
    # five known non-zero genes with values 1 1 2 3 9; 50 edges over five sorted values lie at positions 0, 4/49 ... 4.
    # The ones hold positions 0 and 1: edges 0..12 are not above (12.25), none below: bins 1..13, middle ceil(6.5) = 7.
    # 2 at position 2: 24.5, so 25 edges not above and 25 below: bin 25. 3 at 3: 36.75, bin 37.
    # 9 at 4: all 50 edges not above, 49 below: bin 50.
    genes = by_symbol("GENE4", "GENE0", "unknown", "GENE2", "<pad>", "GENE7", "GENE1")
    tokens = model.encode(cells([2, 1, 8, 9, 8, 1, 3]), genes)
    assert tokens.ids.tolist() == [CLS, 0, 1, 2, 4, 7]
    assert tokens.values.tolist() == [-2, 7, 37, 50, 25, 7]


def test_a_cell_without_known_genes_is_cls(model):
    tokens = model.encode(cells([0, 5]), by_symbol("GENE1", "unknown"))
    assert (tokens.ids.tolist(), tokens.values.tolist()) == ([CLS], [-2])


def test_too_many_genes_are_sampled_with_cls_kept(model):
    rng = np.random.default_rng(0)
    counts = sp.csr_matrix(rng.integers(1, 40, (3, N_GENES)).astype(np.float32))
    genes = by_symbol(*(f"GENE{i}" for i in range(N_GENES)))
    tokens = model.encode(counts, genes, seed=1)
    assert tokens.lengths.tolist() == [24, 24, 24]
    chosen = tokens.ids.reshape(3, 24)
    assert (chosen[:, 0] == CLS).all() and (tokens.values.reshape(3, 24)[:, 0] == -2).all()
    assert all(len(set(row)) == 24 for row in chosen.tolist())
    assert chosen[0].tolist() != chosen[1].tolist()
    np.testing.assert_array_equal(model.encode(counts, genes, seed=1).ids, tokens.ids)
    assert model.encode(counts, genes, seed=2).ids.tolist() != tokens.ids.tolist()
    # bins come from the whole cell, before the choice: a gene keeps its bin whichever others were chosen
    again = model.encode(counts, genes, seed=2)
    bins = [dict(zip(t.ids[:24].tolist(), t.values[:24].tolist(), strict=True)) for t in (tokens, again)]
    assert all(bins[0][g] == bins[1][g] for g in bins[0].keys() & bins[1].keys())


def test_spread_ties_are_seeded_and_stay_in_their_span(tmp_path):
    model = load_model(write_scgpt(tmp_path), device="cpu", ties="spread")
    counts = cells([1] * 20 + [5] * 3)
    genes = by_symbol(*(f"GENE{i}" for i in range(23)))
    one, again, other = (model.encode(counts, genes, seed=s).values[1:] for s in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert one.tolist() != other.tolist()
    # sorted positions 0..19 of 23: 49 * 19 / 22 = 42.3, so the ones span bins 1..43; the fives 45..50
    assert len(set(one[:20])) > 5 and one[:20].min() >= 1 and one[:20].max() <= 43
    assert one[20:].min() >= 44 and one[20:].max() <= 50


def official(model):
    """The same weights in PyTorch's own modules, put together as scGPT's TransformerModel does."""
    layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False).eval()
    prefix = "transformer_encoder."
    state = {k.removeprefix(prefix): v for k, v in model.net.state_dict().items() if k.startswith(prefix)}
    encoder.load_state_dict(state)
    return encoder


def test_states_equal_pytorchs_encoder(model, counts, genes):
    tokens = model.encode(counts, genes)
    encoder, fast = official(model), torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        for rows in ([11, 5, 3], [7]):
            batch = model.collate(tokens, rows)
            net, ours = model.net, model.hidden(batch)
            values = batch.values.unsqueeze(-1).clamp(max=512)
            value = net.value_encoder.norm(net.value_encoder.linear2(net.value_encoder.linear1(values).relu()))
            state = net.encoder.enc_norm(net.encoder.embedding(batch.ids)) + value
            for layer, block in enumerate(encoder.layers):
                state = block(state, src_key_padding_mask=~batch.mask)
                torch.testing.assert_close(ours[layer][batch.mask], state[batch.mask], rtol=1e-5, atol=1e-5)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def test_masking_hides_values_and_keeps_names(model, counts, genes):
    tokens = model.encode(counts, genes)
    batch = model.collate(tokens, [10, 11])
    masked, positions = model.mask(batch, 0.4, seed=3)
    assert torch.equal(masked.ids, batch.ids)
    hidden = masked.values == -1
    assert torch.equal(hidden.nonzero(), positions) and 0 < hidden.sum() < batch.is_gene.sum()
    assert not hidden[:, 0].any()
    final = model.hidden(masked, [2])[2]
    truth = batch.values[positions[:, 0], positions[:, 1]]
    expected = (model.predict(final, positions) - truth) ** 2
    torch.testing.assert_close(model.loss(final, masked, positions), expected)


def test_plain_flash_and_safetensors_checkpoints_agree(tmp_path, counts, genes):
    plain = load_model(write_scgpt(tmp_path / "plain", flash=False), device="cpu")
    flash = load_model(write_scgpt(tmp_path / "flash"), device="cpu")
    third = write_scgpt(tmp_path / "third")
    state = torch.load(third / "best_model.pt", weights_only=True)
    state = {k.replace("self_attn.Wqkv", "self_attn._impl.Wqkv"): v for k, v in state.items()}
    state = {k.replace("self_attn.out_proj", "self_attn._impl.out_proj"): v for k, v in state.items()}
    (third / "best_model.pt").unlink()
    save_file(state, third / "model.safetensors")
    batch = plain.collate(plain.encode(counts, genes), [11])
    states = [m.hidden(batch)[2] for m in (plain, flash, load_model(third, device="cpu"))]
    assert torch.equal(states[0], states[1]) and torch.equal(states[0], states[2])


def test_batch_normalisation_of_the_input_is_applied_as_it_was_trained(tmp_path, counts, genes):
    folder = write_scgpt(tmp_path)
    plain = load_model(folder, device="cpu")
    g = torch.Generator().manual_seed(5)
    norm = nn.BatchNorm1d(16, eps=6.1e-5).eval()
    for value in norm.state_dict().values():
        if value.is_floating_point():
            value.copy_(0.5 + torch.rand(value.shape, generator=g))
    edit_weights(folder, lambda s: s.update({f"bn.{k}": v for k, v in norm.state_dict().items()}))
    model = load_model(folder, device="cpu")
    batch = model.collate(model.encode(counts, genes), [11, 5])
    expected = norm(plain.embed(batch).transpose(1, 2)).transpose(1, 2)
    torch.testing.assert_close(model.embed(batch), expected, rtol=1e-6, atol=1e-6)
    edit_weights(folder, lambda s: s.pop("bn.running_var"))
    with pytest.raises(BiosaeError, match=r"lack bn\.running_var"):
        load_model(folder)


# ---- what can be wrong with a checkpoint


def edit_json(path, change):
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def edit_weights(folder, change):
    state = torch.load(folder / "best_model.pt", weights_only=True)
    change(state)
    torch.save(state, folder / "best_model.pt")


class Code:
    def __reduce__(self):
        return print, ("executed",)


def args(change):
    return lambda f: edit_json(f / "args.json", change)


SPOIL = {
    "a key too few": (lambda f: edit_weights(f, lambda s: s.pop("value_encoder.norm.bias")), "lack value_encoder.norm"),
    "a lost block": (
        lambda f: edit_weights(f, lambda s: [s.pop(k) for k in list(s) if ".layers.2." in k]),
        r"lack transformer_encoder.layers.2.* and 8 more",
    ),
    "an unknown key": (lambda f: edit_weights(f, lambda s: s.update(adapter=torch.zeros(2))), "unexpected adapter"),
    "batch normalisation": (
        lambda f: edit_weights(f, lambda s: s.update({"dsbn.bns.0.weight": torch.zeros(2)})),
        "batch labels",
    ),
    "NaN weights": (lambda f: edit_weights(f, lambda s: s["decoder.fc.0.weight"].fill_(np.nan)), "decoder.fc.0.weight"),
    "another vocabulary": (
        lambda f: edit_json(f / "vocab.json", lambda v: v.update({"EXTRA": len(v)})),
        r"encoder.embedding.weight has shape \(33, 16\).*\(34, 16\)",
    ),
    "ids with a gap": (lambda f: edit_json(f / "vocab.json", lambda v: v.update(GENE3=99)), "without gaps"),
    "ids that are words": (lambda f: edit_json(f / "vocab.json", lambda v: v.update(GENE3="3")), "without gaps"),
    "no <cls>": (lambda f: edit_json(f / "vocab.json", lambda v: v.pop("<cls>")), "lack <cls>"),
    "no vocabulary": (lambda f: (f / "vocab.json").unlink(), "missing"),
    "no weights": (lambda f: (f / "best_model.pt").unlink(), "No weights"),
    "code in the weights": (lambda f: torch.save({"a": Code()}, f / "best_model.pt"), "refused"),
    "weights that are no dict": (lambda f: torch.save(torch.zeros(3), f / "best_model.pt"), "not a plain state dict"),
    "weights that are text": (lambda f: (f / "best_model.pt").write_text("<html>not found</html>"), "best_model.pt"),
    "settings without sizes": (args(lambda a: a.pop("embsize")), "lack embsize"),
    "settings that are words": (args(lambda a: a.update(nlayers="3")), "nlayers must be positive"),
    "heads that do not divide": (args(lambda a: a.update(nheads=3)), "multiple of nheads"),
    "another value encoder": (args(lambda a: a.update(input_emb_style="category")), "continuous value encoder"),
    "unbinned input": (args(lambda a: a.update(input_style="log1p")), "binned input"),
    "more layers": (args(lambda a: a.update(nlayers=4)), "lack transformer_encoder.layers.3"),
}


@pytest.mark.parametrize("case", SPOIL)
def test_a_spoilt_checkpoint_is_one_clear_error(tmp_path, case, capsys):
    spoil, says = SPOIL[case]
    folder = write_scgpt(tmp_path)
    spoil(folder)
    with pytest.raises(BiosaeError, match=says) as error:
        load_model(folder)
    assert str(tmp_path) in str(error.value)
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.95])
def test_truncated_weights_are_one_clear_error(tmp_path, share):
    path = write_scgpt(tmp_path) / "best_model.pt"
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(BiosaeError, match=r"best_model\.pt"):
        load_model(tmp_path)


def with_vocabulary(folder, names):
    """The checkpoint with other gene names."""
    edit_json(folder / "vocab.json", lambda v: [v.update({n: v.pop(f"GENE{i}")}) for i, n in enumerate(names)])
    return load_model(folder, device="cpu")


def test_a_gene_is_found_by_symbol_or_by_any_name_of_the_same_id(tmp_path):
    model = with_vocabulary(write_scgpt(tmp_path), ["GNB2L1", "CXCL8", "H3F3B", "MT-ND1", "IL6", "CTGF"])
    symbols = ["RACK1", "IL8", "H3-3B", "ND1", "IL6", "", "<cls>", "", "EGFP"]
    ids = ["ENSG00000204628", "ENSG00000169429", "ENSG00000132475", "ENSG00000198888", "ENSG00000136244"]
    genes = Genes(np.array([*ids, "ENSG00000118523", "", "", ""]), np.array(symbols))
    assert model.gene_tokens(genes).tolist() == [0, 1, 2, 3, 4, 5, -1, -1, -1]


def test_the_symbol_comes_before_the_id_and_todays_name_before_earlier_ones(tmp_path):
    model = with_vocabulary(write_scgpt(tmp_path), ["GNB2L1", "RACK1"])
    ids = np.array(["ENSG00000204628"] * 3)
    assert model.gene_tokens(Genes(ids, np.array(["GNB2L1", "RACK1", ""]))).tolist() == [0, 1, 1]


def test_empty_text_is_no_gene_even_where_the_vocabulary_has_it(tmp_path):
    model = with_vocabulary(write_scgpt(tmp_path), ["", "IL6"])
    genes = Genes(np.array(["", "ENSG00000136244"]), np.array(["", ""]))
    assert model.gene_tokens(genes).tolist() == [-1, 1]
