"""Geneformer: tokens worked out by hand, states equal to transformers', and clear words about files that do not fit."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from checkpoints import ensembl, write_dictionaries, write_geneformer
from safetensors.torch import load_file, save_file
from transformers import BertForMaskedLM

from biosae_utils.errors import BiosaeError
from biosae_utils.models.base import Genes
from biosae_utils.models.dictionaries import read_dictionary
from biosae_utils.models.geneformer import bert_config
from biosae_utils.models.registry import load_model

MEDIANS = [1.0, 2.0, 0.5, 4.0, 1.0, 1.0]


def cells(*rows):
    return sp.csr_matrix(np.array(rows, np.float32))


def by_id(*ids):
    return Genes(np.array(ids), np.array([""] * len(ids)))


@pytest.fixture(scope="module")
def v2(tmp_path_factory):
    mapping = {"ENSGOLD": ensembl(1)}
    return load_model(
        write_geneformer(tmp_path_factory.mktemp("v2"), medians=MEDIANS, mapping=mapping, max_positions=6)
    )


@pytest.fixture(scope="module")
def v1(tmp_path_factory):
    return load_model(write_geneformer(tmp_path_factory.mktemp("v1"), "v1", medians=MEDIANS, max_positions=4))


ALL = by_id(*(ensembl(i) for i in range(6)))


def test_v2_order_by_hand(v2):
    # counts 4 2 1 0 0 0 over medians 1 2 0.5: 4, 1, 2 -> genes 0, 2, 1; tokens start at 4
    assert v2.encode(cells([4, 2, 1, 0, 0, 0]), ALL).ids.tolist() == [2, 4, 6, 5, 3]


def test_v1_order_by_hand_without_specials(v1):
    assert v1.encode(cells([4, 2, 1, 0, 0, 0]), ALL).ids.tolist() == [2, 4, 3]


def test_ties_go_by_token(v2):
    # 2/1, 4/2, 1/0.5: all alike
    assert v2.encode(cells([2, 4, 1, 0, 0, 0]), ALL).ids.tolist() == [2, 4, 5, 6, 3]


def test_duplicates_that_collapse_are_summed(v2):
    # gene 1 has 1 under its own id and 7 under an old one: 8 / 2 = 4 beats gene 0's 3; lower case is the same gene
    genes = by_id(ensembl(0), ensembl(1), "ensgold")
    assert v2.encode(cells([3, 1, 7]), genes).ids.tolist() == [2, 5, 4, 3]
    # without the sum 7 / 2 = 3.5 would lead as well, but 4 counts of gene 0 decide
    assert v2.encode(cells([4, 1, 6]), genes).ids.tolist() == [2, 4, 5, 3]


def test_unknown_genes_are_dropped(v2):
    genes = by_id("ENSG_UNKNOWN", ensembl(0), "", "<mask>")
    assert v2.gene_tokens(genes).tolist() == [-1, 4, -1, -1]
    assert v2.encode(cells([9, 1, 9, 9]), genes).ids.tolist() == [2, 4, 3]


def test_symbols_stand_in_for_missing_ids(v2):
    genes = Genes(np.array(["", ensembl(0), ""]), np.array(["GENE3", "GENE5", "NOGENE"]))
    assert v2.gene_tokens(genes).tolist() == [7, 4, -1]


def test_crop_keeps_the_highest(v2, v1):
    counts = cells([1, 2, 3, 40, 5, 6])  # over medians: 1, 1, 6, 10, 5, 6
    assert v2.encode(counts, ALL).ids.tolist() == [2, 7, 6, 9, 8, 3]  # 6 positions hold 4 genes
    assert v1.encode(counts, ALL).ids.tolist() == [5, 4, 7, 6]  # 4 positions hold 4 genes


def test_full_length_v2_cell_is_cropped_to_4094(tmp_path):
    n = 4100
    folder = write_geneformer(tmp_path, medians=[1.0] * n, max_positions=4096)
    model = load_model(folder)
    x = np.random.default_rng(0).permutation(n).astype(np.float32) + 1
    tokens = model.encode(cells(x), by_id(*(ensembl(i) for i in range(n))))
    assert tokens.lengths.tolist() == [4096]
    np.testing.assert_array_equal(tokens.ids[1:-1], np.argsort(-x)[:4094] + 4)
    assert (tokens.ids[0], tokens.ids[-1]) == (2, 3)


def test_a_cell_without_known_genes_is_its_special_tokens(v2, v1):
    assert v2.encode(cells([0] * 6), ALL).ids.tolist() == [2, 3]
    tokens = v1.encode(cells([0] * 6, [1] * 6), ALL)
    assert tokens.lengths.tolist() == [0, 4]
    batch = v1.collate(tokens, [0, 1])
    assert batch.is_gene.sum(1).tolist() == [0, 4]
    assert torch.isfinite(v1.hidden(batch)[2]).all()


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_hidden_is_transformers_hidden_states(tmp_path, version, counts, genes):
    folder = write_geneformer(tmp_path, version)
    model = load_model(folder, device="cpu")
    official = BertForMaskedLM(bert_config(folder)).eval()
    state = load_file(folder / "model.safetensors")
    state |= {"cls.predictions.decoder.weight": state["bert.embeddings.word_embeddings.weight"]}
    official.load_state_dict(state | {"cls.predictions.decoder.bias": state["cls.predictions.bias"]})
    tokens = model.encode(counts, genes)
    for rows in ([11, 10, 4], [11]):
        batch = model.collate(tokens, rows)
        with torch.no_grad():
            out = official(input_ids=batch.ids, attention_mask=batch.mask.long(), output_hidden_states=True)
        ours = model.hidden(batch)
        for layer in range(3):
            reference = out.hidden_states[layer + 1][batch.mask]
            torch.testing.assert_close(ours[layer][batch.mask], reference, rtol=1e-5, atol=1e-5)
        where = batch.is_gene.nonzero()
        logits = out.logits[where[:, 0], where[:, 1]]
        torch.testing.assert_close(model.predict(ours[2], where), logits, rtol=1e-5, atol=1e-5)


def test_the_published_config_has_the_published_size():
    from transformers import BertConfig

    sizes = dict(hidden_size=1152, num_hidden_layers=18, num_attention_heads=18, intermediate_size=4608)
    config = BertConfig(vocab_size=20275, max_position_embeddings=4096, hidden_act="relu", pad_token_id=0, **sizes)
    with torch.device("meta"):
        net = BertForMaskedLM(config)
    assert sum(p.numel() for p in net.parameters()) / 1e6 == pytest.approx(316.35, abs=0.01)


def test_subfolder_finds_dictionaries_one_folder_up(tmp_path):
    folder = write_geneformer(tmp_path, subfolder="Geneformer-V2-104M")
    write_dictionaries(tmp_path, "v1", [1.0] * 50)
    assert load_model(folder).info.max_len == 24


def test_v1_and_v2_dictionaries_side_by_side_are_told_apart(tmp_path):
    folder = write_geneformer(tmp_path, "v1", subfolder="Geneformer-V1-10M", medians=[1.0] * 50)
    write_dictionaries(tmp_path, "v2", [1.0] * 30)
    model = load_model(folder)
    assert len(model.info.vocab) == 52 and model.before == ()


def test_info_names_tokens(v2):
    assert v2.info.vocab.tolist()[:5] == ["<pad>", "<mask>", "<cls>", "<eos>", "GENE0"]
    assert v2.info.vocab_ids[4] == ensembl(0)
    assert v2.info.special_ids == (0, 1, 2, 3)
    assert len(v2.info.sha256) == 64


# ---- what can be wrong with a checkpoint


def edit_pickle(path, change):
    value = pickle.loads(path.read_bytes())
    change(value)
    path.write_bytes(pickle.dumps(value))


def edit_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def edit_weights(folder, change):
    state = load_file(folder / "model.safetensors")
    change(state)
    save_file(state, folder / "model.safetensors")


def poison(state, value=float("nan")):
    state["bert.encoder.layer.1.output.dense.bias"][3] = value


SPOIL = {
    "V1 dictionary, V2 model": (
        lambda f: (edit_config(f, vocab_size=99),),
        "another model's: the config asks for 99 tokens, token_dictionary_gc104M.pkl has 34",
    ),
    "no token dictionary": (lambda f: (f / "geneformer/token_dictionary_gc104M.pkl").unlink(), "No token dictionary"),
    "no medians": (lambda f: (f / "geneformer/gene_median_dictionary_gc104M.pkl").unlink(), "dictionary is missing"),
    "no names": (lambda f: (f / "geneformer/gene_name_id_dict_gc104M.pkl").unlink(), "dictionary is missing"),
    "no mapping": (lambda f: (f / "geneformer/ensembl_mapping_dict_gc104M.pkl").unlink(), "dictionary is missing"),
    "a median too few": (
        lambda f: edit_pickle(f / "geneformer/gene_median_dictionary_gc104M.pkl", lambda d: d.pop(ensembl(3))),
        f"1 of 30 genes have no median: {ensembl(3)}",
    ),
    "a median of zero": (
        lambda f: edit_pickle(
            f / "geneformer/gene_median_dictionary_gc104M.pkl", lambda d: d.update({ensembl(3): 0.0})
        ),
        "not positive",
    ),
    "ids with a gap": (
        lambda f: edit_pickle(f / "geneformer/token_dictionary_gc104M.pkl", lambda d: d.update({ensembl(3): 99})),
        "without gaps",
    ),
    "no mask token": (
        lambda f: edit_pickle(
            f / "geneformer/token_dictionary_gc104M.pkl", lambda d: d.update({"<other>": d.pop("<mask>")})
        ),
        "lacks <mask>",
    ),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "No weights"),
    "NaN weights": (lambda f: edit_weights(f, poison), r"layer.1.output.dense.bias holds NaN"),
    "infinite weights": (lambda f: edit_weights(f, lambda s: poison(s, float("inf"))), "NaN or infinite"),
    "a weight too few": (
        lambda f: edit_weights(f, lambda s: s.pop("bert.embeddings.LayerNorm.weight")),
        "weights lack bert.embeddings.LayerNorm.weight",
    ),
    "a foreign weight": (
        lambda f: edit_weights(f, lambda s: s.update({"lora.A": torch.zeros(2)})),
        "unexpected lora.A",
    ),
    "a wider config": (lambda f: edit_config(f, intermediate_size=64), "config and vocabulary ask for"),
    "a deeper config": (lambda f: edit_config(f, num_hidden_layers=4), "weights lack bert.encoder.layer.3"),
    "a shallower config": (lambda f: edit_config(f, num_hidden_layers=2), "unexpected bert.encoder.layer.2"),
    "a config that is no JSON": (lambda f: (f / "config.json").write_text("{"), "not JSON"),
    "a config that is a list": (lambda f: (f / "config.json").write_text("[]"), "object was expected"),
    "a config without sizes": (lambda f: (f / "config.json").write_text("{}"), "lack vocab_size"),
    "a config of another model": (lambda f: edit_config(f, model_type="gpt2"), "'gpt2' model"),
    "heads that do not divide": (lambda f: edit_config(f, num_attention_heads=3), "no multiple"),
    "a negative size": (lambda f: edit_config(f, hidden_size=-16), "positive whole numbers"),
}


@pytest.mark.parametrize("case", SPOIL)
def test_a_spoilt_checkpoint_is_one_clear_error(tmp_path, case):
    spoil, says = SPOIL[case]
    folder = write_geneformer(tmp_path)
    spoil(folder)
    with pytest.raises(BiosaeError, match=says) as error:
        load_model(folder)
    assert str(tmp_path) in str(error.value)


def test_a_v1_model_without_a_mapping_loads(tmp_path):
    folder = write_geneformer(tmp_path, "v1")
    (folder / "geneformer/gene_dictionaries_30m/ensembl_mapping_dict_gc30M.pkl").unlink()
    assert load_model(folder).info.n_layers == 3


@pytest.mark.parametrize("share", [0.0, 0.001, 0.2, 0.7, 0.999])
def test_truncated_weights_are_one_clear_error(tmp_path, share):
    path = write_geneformer(tmp_path) / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(BiosaeError, match=r"model\.safetensors"):
        load_model(tmp_path)


def test_genes_without_a_name_are_no_gene(tmp_path):
    folder = write_geneformer(tmp_path)
    path = folder / "geneformer" / "gene_name_id_dict_gc104M.pkl"
    path.write_bytes(pickle.dumps(pickle.loads(path.read_bytes()) | {"": ensembl(7)}))
    model = load_model(folder, device="cpu")
    genes = Genes(np.array(["", "", ensembl(3)]), np.array(["", "unknown", ""]))
    assert model.gene_tokens(genes).tolist() == [-1, -1, 7]
    assert model.info.vocab[11] == "GENE7"  # and no gene is shown as empty text


def test_the_shipped_dictionary_has_no_empty_name():
    folder = Path(__file__).resolve().parents[2] / "data" / "demo" / "models" / "mini-geneformer"
    model = load_model(folder, device="cpu")
    genes = Genes(np.array(["", "", "ENSG00000111640"]), np.array(["", "", ""]))
    assert model.gene_tokens(genes).tolist() == [-1, -1, 7235]
    assert all(model.info.vocab) and "" not in model.dictionaries.symbol
    read_dictionary(folder / "geneformer" / "gene_name_id_dict_gc104M.pkl", str)  # would refuse it
