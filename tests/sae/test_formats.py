"""Reading and writing SAEs: exact round trips, foreign layouts, and damaged or hostile files."""

import json
import pickle

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from biosae_utils.errors import BiosaeError
from biosae_utils.sae import formats
from biosae_utils.sae.topk import TopKSAE

D, F, K = 12, 40, 4


def noisy(kind: str = "topk") -> TopKSAE:
    sae = TopKSAE(D, F, K, kind=kind, seed=3).eval().requires_grad_(False)
    g = torch.Generator().manual_seed(4)
    sae.W_enc += 0.1 * torch.randn(D, F, generator=g)
    sae.b_enc.copy_(0.1 * torch.randn(F, generator=g))
    sae.b_dec.copy_(torch.randn(D, generator=g))
    if kind == "batchtopk":
        sae.threshold.fill_(0.8)
    return sae


@pytest.fixture
def x() -> torch.Tensor:
    return 2 * torch.randn(50, D, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("kind", ["topk", "batchtopk", "matryoshka"])
def test_round_trip_gives_the_same_outputs(tmp_path, x, kind):
    sae = noisy(kind)
    loaded = formats.load_sae(formats.save_sae(tmp_path / "sae", sae, {"model_name": "mini"}))
    assert torch.equal(sae(x), loaded(x))
    assert torch.equal(sae.encode_dense(x), loaded.encode_dense(x))
    assert (loaded.kind, loaded.k, loaded.groups) == (kind, K, sae.groups)
    assert loaded.metadata["model_name"] == "mini"
    assert not any(p.requires_grad for p in loaded.parameters())


def test_layout_is_that_of_saelens(tmp_path):
    formats.save_sae(tmp_path, noisy())
    tensors = load_file(tmp_path / "sae_weights.safetensors")
    shapes = {name: tuple(value.shape) for name, value in tensors.items()}
    assert shapes == {"W_enc": (D, F), "b_enc": (F,), "W_dec": (F, D), "b_dec": (D,)}
    assert all(value.dtype == torch.float32 for value in tensors.values())
    config = json.loads((tmp_path / "cfg.json").read_text())
    expected = {
        "architecture": "topk",
        "d_in": D,
        "d_sae": F,
        "k": K,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "rescale_acts_by_decoder_norm": False,
    }
    assert {key: config[key] for key in expected} == expected
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cfg.json", "sae_weights.safetensors"]


def test_sae_without_input_bias_is_converted(tmp_path, x):
    sae = noisy()
    formats.save_sae(tmp_path, sae)
    config = json.loads((tmp_path / "cfg.json").read_text())
    (tmp_path / "cfg.json").write_text(json.dumps({**config, "apply_b_dec_to_input": False}))
    pre = x @ sae.W_enc + sae.b_enc
    top = pre.topk(K, dim=1)
    expected = torch.zeros(50, F).scatter(1, top.indices, top.values.relu()) @ sae.W_dec + sae.b_dec
    torch.testing.assert_close(formats.load_sae(tmp_path)(x), expected, rtol=1e-4, atol=1e-5)


def test_rows_of_other_norms_are_folded_when_the_config_asks_for_it(tmp_path, x):
    sae = noisy()
    sae.W_dec *= torch.linspace(0.5, 2, F)[:, None]
    formats.save_sae(tmp_path, sae)
    config = json.loads((tmp_path / "cfg.json").read_text())
    (tmp_path / "cfg.json").write_text(json.dumps({**config, "rescale_acts_by_decoder_norm": True}))
    norm = sae.W_dec.norm(dim=1)
    top = (sae.pre_acts(x) * norm).topk(K, dim=1)
    code = torch.zeros(50, F).scatter(1, top.indices, top.values.relu())
    loaded = formats.load_sae(tmp_path)
    torch.testing.assert_close(loaded.encode_dense(x), code, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(loaded(x), (code / norm) @ sae.W_dec + sae.b_dec, rtol=1e-4, atol=1e-5)


# ---- foreign layouts ---------------------------------------------------------------------------------------------


def write_published(folder, seed: int = 0) -> dict:
    g = torch.Generator().manual_seed(seed)
    state = {
        "W_enc.weight": torch.randn(F, D, generator=g),
        "W_enc.bias": torch.randn(F, generator=g),
        "W_dec.weight": torch.randn(D, F, generator=g),
        "W_dec.bias": torch.randn(D, generator=g),
    }
    torch.save({"model_state_dict": state, "d_model": D, "n_features": F, "k": K}, folder / "sae_final.pt")
    np.save(folder / "activation_mean.npy", np.arange(D, dtype=np.float32))
    return state


def test_published_checkpoint_gives_its_own_outputs(tmp_path, x):
    state = write_published(tmp_path)
    mean = torch.arange(D, dtype=torch.float32)
    pre = (x - mean) @ state["W_enc.weight"].t() + state["W_enc.bias"]
    top = pre.topk(K, dim=1)
    code = torch.zeros(50, F).scatter(1, top.indices, top.values.relu())
    expected = code @ state["W_dec.weight"].t() + state["W_dec.bias"] + mean
    sae = formats.import_published(tmp_path / "sae_final.pt")
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
        formats.import_sparsify(tmp_path)(x), code @ weights["W_dec"] + weights["b_dec"], rtol=1e-4, atol=1e-4
    )
    (tmp_path / "cfg.json").write_text(json.dumps({"d_in": D, "num_latents": F, "k": K, "activation": "groupmax"}))
    with pytest.raises(BiosaeError, match="plain TopK"):
        formats.import_sparsify(tmp_path)


class Evil:
    def __reduce__(self):
        return print, ("this ran",)


def test_code_in_a_checkpoint_is_never_run(tmp_path, capsys):
    torch.save({"model_state_dict": Evil(), "d_model": D, "n_features": F, "k": K}, tmp_path / "sae_final.pt")
    with pytest.raises(BiosaeError, match="more than tensors"):
        formats.import_published(tmp_path / "sae_final.pt")
    write_published(tmp_path)
    with open(tmp_path / "activation_mean.npy", "wb") as f:
        pickle.dump(Evil(), f)
    with pytest.raises(BiosaeError, match="mean"):
        formats.import_published(tmp_path / "sae_final.pt")
    assert "this ran" not in capsys.readouterr().out


# ---- the hub, offline --------------------------------------------------------------------------------------------


class FakeHub:
    """huggingface_hub's upload calls, onto a local directory."""

    def __init__(self, root):
        self.root = root

    def create_repo(self, repo, private, exist_ok):
        (self.root / repo).mkdir(parents=True, exist_ok=exist_ok)

    def upload_folder(self, *, repo_id, folder_path, path_in_repo, allow_patterns, commit_message):
        import shutil

        target = self.root / repo_id / path_in_repo
        target.mkdir(parents=True)
        for name in allow_patterns:
            shutil.copy(f"{folder_path}/{name}", target / name)
        return f"commit of {repo_id}"


def test_what_is_uploaded_loads_again(tmp_path, monkeypatch, x):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: FakeHub(tmp_path / "hub"))
    formats.save_sae(tmp_path / "local", noisy())
    (tmp_path / "local" / "notes.txt").write_text("stays here")
    assert formats.upload_saes("me/saes", {"layer_03": tmp_path / "local"}) == "commit of me/saes"
    assert sorted(p.name for p in (tmp_path / "hub/me/saes/layer_03").iterdir()) == [
        "cfg.json",
        "sae_weights.safetensors",
    ]
    assert torch.equal(formats.load_sae(tmp_path / "hub/me/saes/layer_03")(x), noisy()(x))


def test_damaged_sae_is_not_uploaded(tmp_path, monkeypatch):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: pytest.fail("nothing may be sent"))
    formats.save_sae(tmp_path, noisy())
    (tmp_path / "sae_weights.safetensors").write_bytes(b"short")
    with pytest.raises(BiosaeError):
        formats.upload_saes("me/saes", {"layer_00": tmp_path})


# ---- damage ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"architecture": "gated"}, "gated"),
        ({"architecture": None}, "None"),
        ({"k": -1}, "positive integers"),
        ({"k": "4"}, "positive integers"),
        ({"k": F + 1}, "do not fit"),
        ({"d_in": D + 1}, "shape"),
        ({"normalize_activations": "layer_norm"}, "normalize_activations"),
        ({"metadata": {"biosae": {"kind": "topk!"}}}, "kind"),
        ({"metadata": {"biosae": {"kind": "matryoshka", "groups": ["a"]}}}, "groups"),
    ],
)
def test_bad_configs_are_refused_in_words(tmp_path, change, said):
    formats.save_sae(tmp_path, noisy())
    config = json.loads((tmp_path / "cfg.json").read_text())
    (tmp_path / "cfg.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(BiosaeError, match=said):
        formats.load_sae(tmp_path)


def test_weights_that_are_not_finite_are_refused(tmp_path):
    formats.save_sae(tmp_path, noisy())
    tensors = load_file(tmp_path / "sae_weights.safetensors")
    tensors["b_enc"][3] = float("inf")
    save_file(tensors, tmp_path / "sae_weights.safetensors")
    with pytest.raises(BiosaeError, match="b_enc holds NaN or infinite"):
        formats.load_sae(tmp_path)


@pytest.mark.parametrize("name", ["cfg.json", "sae_weights.safetensors"])
def test_missing_files_are_named(tmp_path, name):
    formats.save_sae(tmp_path, noisy())
    (tmp_path / name).unlink()
    with pytest.raises(BiosaeError, match=name):
        formats.load_sae(tmp_path)


@given(seed=st.integers(0, 10_000), target=st.sampled_from(["cfg.json", "sae_weights.safetensors", "sae_final.pt"]))
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damage_gives_a_clear_error_or_a_whole_model(tmp_path, seed, target):
    """Bytes cut, flipped or inserted anywhere: never a foreign exception, never a model with wrong shapes."""
    formats.save_sae(tmp_path, noisy())
    write_published(tmp_path)
    rng = np.random.default_rng(seed)
    data = bytearray((tmp_path / target).read_bytes())
    where = int(rng.integers(len(data)))
    match rng.integers(3):
        case 0:
            data = data[:where]
        case 1:
            data[where] ^= int(rng.integers(1, 256))
        case _:
            data[where:where] = rng.bytes(int(rng.integers(1, 20)))
    (tmp_path / target).write_bytes(bytes(data))
    try:
        loaded = formats.import_published(tmp_path / target) if target == "sae_final.pt" else formats.load_sae(tmp_path)
    except BiosaeError as e:
        assert str(e)
    else:
        assert loaded.encode(torch.zeros(2, loaded.d_in))[0].shape == (2, loaded.width)


def test_without_a_network_the_upload_is_refused_in_a_sentence(tmp_path, monkeypatch):
    import huggingface_hub

    class Offline:
        def create_repo(self, *_: object, **__: object) -> None:
            raise ConnectionError("no route to host\nmore")

    monkeypatch.setattr(huggingface_hub, "HfApi", Offline)
    formats.save_sae(tmp_path / "sae", noisy())
    with pytest.raises(BiosaeError, match=r"did not take the SAEs \(no route to host\).*hf auth login"):
        formats.upload_saes("me/saes", {"layer_00": tmp_path / "sae"})
