"""SAEs in SAELens layout: exact round trips, what others write, and damaged or hostile files."""

import json

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from saes_of_others import write_published
from safetensors.torch import load_file, save_file

from biosae_utils.errors import BiosaeError
from biosae_utils.sae import formats
from biosae_utils.sae.foreign import import_published
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


# ---- as SAELens and others write it --------------------------------------------------------------------------------


def relu_code(x, sae, threshold) -> torch.Tensor:
    """JumpReLU as SAELens computes it: above the threshold, strictly, and positive; no matter how many."""
    pre = (x - sae.b_dec) @ sae.W_enc + sae.b_enc
    return pre.relu() * (pre > threshold)


def write(folder, config: dict, **tensors) -> None:
    """A directory of somebody else: the config as given, the weights of `noisy` with some replaced or added."""
    base = noisy()
    weights = {name: getattr(base, name).detach().contiguous() for name in formats.NAMES}
    save_file(weights | tensors, folder / "sae_weights.safetensors")
    (folder / "cfg.json").write_text(json.dumps({"d_in": D, "d_sae": F, **config}))


INFERENCE = {
    "dtype": "float32", "device": "cpu", "apply_b_dec_to_input": True, "normalize_activations": "none",
    "reshape_activations": "none", "metadata": {"sae_lens_version": "6.54.12", "model_name": "m"},
}  # fmt: skip
BEFORE_6 = {
    "model_name": "m", "hook_name": "blocks.2.hook_resid_post", "hook_layer": 2, "hook_head_index": None,
    "apply_b_dec_to_input": True, "finetuning_scaling_factor": False, "sae_lens_training_version": "3.1.0",
    "prepend_bos": True, "dataset_path": "d", "context_size": 128, "normalize_activations": "none", "dtype": "float32",
    "device": "cpu", "dataset_trust_remote_code": True, "seqpos_slice": [None],
}  # fmt: skip


@pytest.mark.parametrize("config", [{}, {"k": 2}])
def test_a_jumprelu_has_no_cap(tmp_path, x, config):
    threshold = torch.linspace(-0.5, 0.3, F)
    write(tmp_path, {"architecture": "jumprelu", **INFERENCE, **config}, threshold=threshold)
    sae, expected = formats.load_sae(tmp_path), relu_code(x, noisy(), threshold)
    active = (expected > 0).sum(1)
    assert active.min() < active.max() > 4 * K  # a cap of 4 k would have cut
    torch.testing.assert_close(sae.encode_dense(x), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(sae(x), expected @ sae.W_dec + sae.b_dec, rtol=1e-4, atol=1e-4)
    values, indices = sae.encode(x)
    assert values.shape == indices.shape == (50, int(active.max()))
    assert all(len(set(row.tolist())) == len(row) for row in indices)
    assert sae.encode(x[:0])[0].shape == (0, 1)
    again = formats.load_sae(formats.save_sae(tmp_path / "again", sae))
    assert torch.equal(again.encode_dense(x), sae.encode_dense(x)) and not again.capped


def test_a_threshold_is_exceeded_not_met(tmp_path):
    weights = {"W_enc": torch.eye(2), "W_dec": torch.eye(2), "b_enc": torch.zeros(2), "b_dec": torch.zeros(2)}
    save_file(weights | {"threshold": torch.tensor([1.0, 0.0])}, tmp_path / "sae_weights.safetensors")
    (tmp_path / "cfg.json").write_text(json.dumps({"architecture": "jumprelu", "d_in": 2, "d_sae": 2, **INFERENCE}))
    x = torch.tensor([[1.0, 1.0], [1.0000001, 0.0]])
    assert formats.load_sae(tmp_path).encode_dense(x).gt(0).tolist() == [[False, True], [True, False]]


def test_our_own_batchtopk_keeps_the_cap_that_its_codes_have(tmp_path, x):
    sae = noisy("batchtopk")
    sae.threshold.fill_(-9)
    loaded = formats.load_sae(formats.save_sae(tmp_path, sae))
    assert loaded.capped and loaded.width == 4 * K and torch.equal(loaded.encode_dense(x), sae.encode_dense(x))


@pytest.mark.parametrize("function", ["activation_fn", "activation_fn_str"])
def test_layouts_before_6_are_read(tmp_path, x, function):
    write(tmp_path, {**BEFORE_6, function: "relu"})  # no architecture: standard
    sae = formats.load_sae(tmp_path)
    torch.testing.assert_close(sae.encode_dense(x), relu_code(x, noisy(), 0.0), rtol=1e-4, atol=1e-5)
    assert sae.metadata["hook_name"] == "blocks.2.hook_resid_post" and sae.metadata["hook_layer"] == 2
    write(tmp_path, {**BEFORE_6, "architecture": "standard", function: "topk", "activation_fn_kwargs": {"k": 7}})
    sae = formats.load_sae(tmp_path)
    assert (sae.kind, sae.k) == ("topk", 7) and (sae.encode(x)[0] > 0).sum(1).max() == 7


def test_a_factor_on_the_codes_is_applied(tmp_path, x):
    factor = torch.linspace(0.5, 2, F)
    topk = {**BEFORE_6, "activation_fn": "topk", "activation_fn_kwargs": {"k": K}}
    write(tmp_path, {**topk, "finetuning_scaling_factor": True}, scaling_factor=factor)
    sae, plain = formats.load_sae(tmp_path), noisy()
    assert torch.equal(sae.encode_dense(x), plain.encode_dense(x))
    expected = (plain.encode_dense(x) * factor) @ plain.W_dec + plain.b_dec
    torch.testing.assert_close(sae(x), expected, rtol=1e-4, atol=1e-5)
    write(tmp_path, topk, scaling_factor=torch.ones(F))  # written for a time, and meant nothing
    assert torch.equal(formats.load_sae(tmp_path)(x), plain(x))
    write(tmp_path, topk, scaling_factor=factor)
    with pytest.raises(BiosaeError, match=r"scaling_factor, but finetuning_scaling_factor of cfg.json is not on"):
        formats.load_sae(tmp_path)


@pytest.mark.parametrize("name", ["W_skip", "log_threshold", "threshold", "b_gate", "topk_threshold"])
def test_a_tensor_that_is_not_used_is_refused_by_name(tmp_path, name):
    write(tmp_path, {"architecture": "topk", "k": K, **INFERENCE}, **{name: torch.zeros(F)})
    with pytest.raises(BiosaeError, match=f"hold {name} too"):
        formats.load_sae(tmp_path)


def test_integers_are_no_weights(tmp_path):
    write(tmp_path, {"architecture": "topk", "k": K, **INFERENCE}, b_enc=torch.zeros(F, dtype=torch.int8))
    with pytest.raises(BiosaeError, match=r"b_enc holds torch\.int8"):
        formats.load_sae(tmp_path)


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
        ({"metadata": [1]}, "metadata is not an object"),
        ({"reshape_activations": "hook_z"}, "reshape_activations"),
        ({"normalize_activations": True}, "normalize_activations"),
        ({"metadata": {"hook_name": "blocks.1.attn.hook_z"}, "reshape_activations": "hook_z"}, "hook_z"),
        ({"metadata": {"hook_name_out": "blocks.1.hook_mlp_out"}}, "transcoder, which writes to blocks.1.hook_mlp_out"),
        ({"activation_fn": "tanh-relu"}, "activation 'tanh-relu'"),
        ({"activation_fn": "topk", "activation_fn_kwargs": {"k": K + 1}}, "k and activation_fn_kwargs.k differ"),
        ({"activation_fn": "topk", "activation_fn_kwargs": {"signed": True}}, "signed"),
        ({"apply_b_dec_to_input": "no"}, "apply_b_dec_to_input must be true or false"),
        ({"finetuning_scaling_factor": True}, "finetuning_scaling_factor is on"),
        ({"architecture": "batchtopk", "topk_threshold_lr": 0.1}, "save_inference_model"),
        ({"architecture": "jumprelu", "rescale_acts_by_decoder_norm": True}, "rescale_acts_by_decoder_norm"),
        ({"hook_head_index": 3}, "hook_head_index = 3"),
        ({"d_out": 99, "skip": {"rank": 2}}, "d_out = 99, skip = "),
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
    write_published(tmp_path, D, F, K)
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
        loaded = import_published(tmp_path / target) if target == "sae_final.pt" else formats.load_sae(tmp_path)
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
