"""SAEs of other programs: each gives its own outputs here, or is refused by name; no code in a file is run."""

import json
import pickle

import pytest
import torch
from saes_of_others import dictionary, write_published
from safetensors.torch import save_file
from typer.testing import CliRunner

from biosae_utils.cli import app
from biosae_utils.errors import BiosaeError
from biosae_utils.sae import foreign
from biosae_utils.sae.formats import load_sae, save_sae
from biosae_utils.sae.topk import TopKSAE

D, F, K = 12, 40, 4


@pytest.fixture
def x() -> torch.Tensor:
    return 2 * torch.randn(50, D, generator=torch.Generator().manual_seed(5))


def test_published_checkpoint_gives_its_own_outputs(tmp_path, x):
    state = write_published(tmp_path, D, F, K)
    mean = torch.arange(D, dtype=torch.float32)
    pre = (x - mean) @ state["W_enc.weight"].t() + state["W_enc.bias"]
    top = pre.topk(K, dim=1)
    code = torch.zeros(50, F).scatter(1, top.indices, top.values.relu())
    expected = code @ state["W_dec.weight"].t() + state["W_dec.bias"] + mean
    sae = foreign.import_published(tmp_path / "sae_final.pt")
    torch.testing.assert_close(sae.encode_dense(x), code, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(sae(x), expected, rtol=1e-4, atol=1e-4)


def test_sparsify_directory_gives_its_own_outputs(tmp_path, x):
    g = torch.Generator().manual_seed(1)
    weights = {
        "encoder.weight": torch.randn(F, D, generator=g),
        "encoder.bias": torch.randn(F, generator=g),
        "W_dec": torch.randn(F, D, generator=g),
        "b_dec": torch.randn(D, generator=g),
    }
    save_file(weights, tmp_path / "sae.safetensors")
    (tmp_path / "cfg.json").write_text(json.dumps({"d_in": D, "num_latents": F, "k": K, "activation": "topk"}))
    top = ((x - weights["b_dec"]) @ weights["encoder.weight"].t() + weights["encoder.bias"]).topk(K, dim=1)
    code = torch.zeros(50, F).scatter(1, top.indices, top.values.relu())
    torch.testing.assert_close(
        foreign.import_sparsify(tmp_path)(x), code @ weights["W_dec"] + weights["b_dec"], rtol=1e-4, atol=1e-4
    )
    (tmp_path / "cfg.json").write_text(json.dumps({"d_in": D, "num_latents": F, "k": K, "activation": "groupmax"}))
    with pytest.raises(BiosaeError, match="plain TopK"):
        foreign.import_sparsify(tmp_path)


class Evil:
    def __reduce__(self):
        return print, ("this ran",)


def test_code_in_a_checkpoint_is_never_run(tmp_path, capsys):
    torch.save({"model_state_dict": Evil(), "d_model": D, "n_features": F, "k": K}, tmp_path / "sae_final.pt")
    with pytest.raises(BiosaeError, match="more than tensors"):
        foreign.import_published(tmp_path / "sae_final.pt")
    write_published(tmp_path, D, F, K)
    with open(tmp_path / "activation_mean.npy", "wb") as f:
        pickle.dump(Evil(), f)
    with pytest.raises(BiosaeError, match="mean"):
        foreign.import_published(tmp_path / "sae_final.pt")
    assert "this ran" not in capsys.readouterr().out


@pytest.mark.parametrize("key", ["transcode", "skip_connection", "signed", "something_new"])
def test_sparsify_options_that_change_the_outputs_are_refused_by_name(tmp_path, key):
    (tmp_path / "cfg.json").write_text(json.dumps({"d_in": D, "num_latents": F, "k": K, key: True}))
    with pytest.raises(BiosaeError, match=f"{key} = True"):
        foreign.import_sparsify(tmp_path)


def test_tensors_that_are_not_used_are_refused_by_name(tmp_path):
    weights = {
        "encoder.weight": torch.zeros(F, D), "encoder.bias": torch.zeros(F), "W_dec": torch.zeros(F, D),
        "b_dec": torch.zeros(D), "W_skip": torch.zeros(D, D),
    }  # fmt: skip
    save_file(weights, tmp_path / "sae.safetensors")
    (tmp_path / "cfg.json").write_text(json.dumps({"d_in": D, "num_latents": F, "k": K}))
    with pytest.raises(BiosaeError, match="hold W_skip too"):
        foreign.import_sparsify(tmp_path)
    state = write_published(tmp_path, D, F, K)
    whole = {"model_state_dict": {**state, "b_pre": torch.ones(D)}, "d_model": D, "n_features": F, "k": K}
    torch.save(whole, tmp_path / "sae_final.pt")
    with pytest.raises(BiosaeError, match="hold b_pre too"):
        foreign.import_published(tmp_path / "sae_final.pt")


# ---- dictionary_learning -----------------------------------------------------------------------------------------


def expected_code(kind: str, state: dict, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Code and reconstruction, written down from the classes of dictionary_learning 0.1.0."""
    linear = "encoder.weight" in state
    w_enc = state["encoder.weight"].T if linear else state["W_enc"]
    w_dec = state["decoder.weight"].T if linear else state["W_dec"]
    b_enc = state["encoder.bias"] if linear else state["b_enc"]
    b_dec = state[{"AutoEncoder": "bias", "AutoEncoderNew": "decoder.bias"}.get(kind, "b_dec")]
    centre = 0 if kind in ("AutoEncoderNew", "JumpReluAutoEncoder") else b_dec
    pre = (x - centre) @ w_enc + b_enc
    if kind == "AutoEncoderTopK":
        top = pre.relu().topk(int(state["k"]), dim=1)
        code = torch.zeros_like(pre).scatter(1, top.indices, top.values)
    elif "threshold" in state:
        code = pre.relu() * (pre > state["threshold"])
    else:
        code = pre.relu()
    out = code @ w_dec + b_dec
    return (code * w_dec.norm(dim=1) if kind == "AutoEncoder" else code), out


@pytest.mark.parametrize("kind", list(foreign.LAYOUTS))
@pytest.mark.parametrize("with_config", [True, False])
def test_dictionary_learning_gives_its_own_outputs(tmp_path, x, kind, with_config):
    state = dictionary(kind, D, F, K)
    torch.save(state, tmp_path / "ae.pt")
    if with_config:
        trainer = {"dict_class": kind, "k": K, "layer": 0, "lm_name": "m"}
        (tmp_path / "config.json").write_text(json.dumps({"trainer": trainer, "buffer": {}}))
    elif kind in ("AutoEncoderTopK", "BatchTopKSAE"):
        with pytest.raises(BiosaeError, match=r"AutoEncoderTopK or BatchTopKSAE.*config.json"):
            foreign.import_sae(tmp_path / "ae.pt")
        return
    sae = foreign.import_sae(tmp_path)
    code, out = expected_code(kind, state, x)
    torch.testing.assert_close(sae.encode_dense(x), code, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(sae(x), out, rtol=1e-4, atol=1e-4)
    assert sae.metadata.get("layer") == (0 if with_config else None)
    assert sae.metadata["imported_class"] == kind


def test_the_first_topk_of_dictionary_learning_had_no_threshold(tmp_path, x):
    state = dictionary("AutoEncoderTopK", D, F, K)
    torch.save({name: value for name, value in state.items() if name != "threshold"}, tmp_path / "ae.pt")
    code, _ = expected_code("AutoEncoderTopK", state, x)
    torch.testing.assert_close(foreign.import_sae(tmp_path / "ae.pt").encode_dense(x), code, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("trainer", "state", "says"),
    [
        ({"dict_class": "GatedAutoEncoder"}, {}, "GatedAutoEncoder cannot be imported"),
        ({"dict_class": "AutoEncoderTopK", "k": K + 1}, {}, "k is 4 in the weights and 5 in the config"),
        ({"dict_class": "AutoEncoderTopK"}, {"r_mag": torch.zeros(F)}, "hold r_mag too"),
        ({}, {"r_mag": torch.zeros(F)}, "do not say which class"),
        ({}, {"note": "text"}, "must hold tensors by name"),
        ([], {}, "trainer is not an object"),
    ],
)
def test_other_dictionaries_are_refused_in_words(tmp_path, trainer, state, says):
    torch.save({**dictionary("AutoEncoderTopK", D, F, K), **state}, tmp_path / "ae.pt")
    (tmp_path / "config.json").write_text(json.dumps({"trainer": trainer}))
    with pytest.raises(BiosaeError, match=says):
        foreign.import_sae(tmp_path)


class Config:
    """What SAELens pickled beside the weights before it wrote cfg.json."""


def test_pickled_objects_are_told_how_to_convert(tmp_path):
    torch.save({"cfg": Config(), "state_dict": {}}, tmp_path / "final.pt")
    with pytest.raises(BiosaeError, match=r"more than tensors.*sae.save_model"):
        foreign.import_sae(tmp_path / "final.pt")
    with pytest.raises(BiosaeError, match=r"no SAE of a known format.*SAELens.*sparsify.*sae.save_model"):
        foreign.import_sae(tmp_path)


def test_the_command_imports_every_format(tmp_path, x):
    torch.save(dictionary("JumpReluAutoEncoder", D, F, K), tmp_path / "ae.pt")
    (tmp_path / "resid_post_layer_8").mkdir()
    save_sae(tmp_path / "resid_post_layer_8", TopKSAE(D, F, K).eval(), {"model_name": "m"})
    for source, says in (("ae.pt", "every latent above its threshold"), ("resid_post_layer_8", "k = 4")):
        done = CliRunner().invoke(app, ["import", str(tmp_path / source), "-o", str(tmp_path / "out" / source)])
        assert done.exit_code == 0, done.output
        assert f"40 latents on width 12, {says}" in " ".join(done.output.split())
    metadata = load_sae(tmp_path / "out" / "resid_post_layer_8").metadata
    assert metadata["layer"] == 8 and metadata["model_name"] == "m"
    jump = load_sae(tmp_path / "out" / "ae.pt")
    torch.testing.assert_close(jump(x), foreign.import_sae(tmp_path / "ae.pt")(x))
    assert "layer" not in jump.metadata
