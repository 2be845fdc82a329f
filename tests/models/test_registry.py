"""Names, variants and families."""

import numpy as np
import pytest
import torch
from checkpoints import write_geneformer, write_scgpt

from biosae_utils.cells import fetch
from biosae_utils.cells.sources import shipped_sources
from biosae_utils.errors import BiosaeError
from biosae_utils.models import registry
from biosae_utils.models.registry import MODELS, load_model, locate


def test_names_are_those_that_can_be_fetched():
    models = {name: source for name, source in shipped_sources().items() if source.kind == "model"}
    assert set(MODELS) == set(models)
    assert registry.FETCHED == fetch.ROOT
    for name, folder in MODELS.items():
        assert any(f.path.startswith(f"{folder}/" if folder else "args.json") for f in models[name].files)


def test_a_fetched_model_is_found_by_name(tmp_path):
    root = tmp_path / "geneformer-v2-104m"
    root.mkdir()
    folder = write_geneformer(root, subfolder="Geneformer-V2-104M")
    assert locate("geneformer-v2-104m", tmp_path) == folder
    with pytest.raises(BiosaeError, match="biosae fetch geneformer-v1-10m"):
        locate("geneformer-v1-10m", tmp_path)


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(BiosaeError, match=r"did you mean scgpt-human\?"):
        load_model("scgpt_human")


def test_a_hub_that_cannot_be_reached_is_one_sentence(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(BiosaeError, match="The hub did not give somebody/model"):
        load_model("somebody/model@abc123:folder")


def test_a_directory_of_no_family(tmp_path):
    with pytest.raises(BiosaeError, match="no checkpoint of a known family"):
        load_model(tmp_path)


def test_wrong_words_are_refused(folder):
    for wrong in ({"variant": "scrambled"}, {"device": "tpu"}, {"dtype": "int8"}):
        with pytest.raises(BiosaeError, match="Unknown"):
            load_model(folder, **wrong)


def test_random_weights_share_everything_but_the_weights(folder, model, counts, genes):
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    one, again, other = (load_model(folder, variant="random-weights", device="cpu", seed=s) for s in (0, 0, 1))
    assert torch.equal(torch.rand(3), expected)  # the caller's random state is untouched
    assert one.info.variant == "random-weights" and one.info.slug == f"{model.info.name}.random-weights"
    assert one.info.sha256 == "" and one.info.n_layers == model.info.n_layers
    tokens = one.encode(counts, genes)
    np.testing.assert_array_equal(tokens.ids, model.encode(counts, genes).ids)
    batch = model.collate(tokens, [11])
    states = [m.hidden(batch)[2] for m in (one, again, other, model)]
    assert torch.equal(states[0], states[1])
    assert not torch.allclose(states[0], states[2]) and not torch.allclose(states[0], states[3])


@pytest.mark.parametrize("write", [write_geneformer, write_scgpt])
def test_random_weights_need_no_weights(tmp_path, write):
    folder = write(tmp_path)
    for path in [*folder.glob("*.safetensors"), *folder.glob("*.pt")]:
        path.unlink()
    assert load_model(folder, variant="random-weights").info.n_layers == 3


def test_an_option_that_the_family_lacks_is_one_clear_error(tmp_path):
    with pytest.raises(BiosaeError, match="Geneformer has no option 'ties'"):
        load_model(write_geneformer(tmp_path / "geneformer"), ties="spread")
    with pytest.raises(BiosaeError, match="Unknown ties 'random'"):
        load_model(write_scgpt(tmp_path / "scgpt"), ties="random")
