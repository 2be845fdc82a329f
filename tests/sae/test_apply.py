"""Mean codes of cells: the same numbers as the slow and obvious way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from biosae_utils.errors import BiosaeError
from biosae_utils.sae.apply import layer_of, mean_codes
from biosae_utils.sae.topk import TopKSAE


def one_by_one(model, sae, layer, cells, rows) -> np.ndarray:
    """Each cell alone, dense, no batching."""
    out = np.zeros((len(rows), sae.d_sae), np.float32)
    for i, row in enumerate(rows):
        batch = model.collate(model.encode(cells.read(np.array([row])), cells.genes), [0])
        if batch.is_gene.any():
            with torch.inference_mode():
                state = model.hidden(batch, [layer])[layer][batch.is_gene]
                values, indices = sae.encode(state)
                dense = torch.zeros(len(state), sae.d_sae).scatter_add_(1, indices.long(), values)
            out[i] = dense.mean(0).numpy()
    return out


@pytest.mark.parametrize("chunk", [7, 512])
@pytest.mark.parametrize("max_tokens", [80, None])
def test_equals_one_cell_at_a_time(tiny_model, tiny_cells, tiny_saes, chunk, max_tokens):
    rows = np.array([3, 39, 7, 0, 12, 13, 14, 15, 16])  # 7 is empty
    codes = mean_codes(tiny_model, tiny_saes[1], 1, tiny_cells, rows, chunk=chunk, max_tokens=max_tokens)
    assert codes.shape == (9, tiny_saes[1].d_sae) and codes.dtype == np.float32
    np.testing.assert_allclose(codes.toarray(), one_by_one(tiny_model, tiny_saes[1], 1, tiny_cells, rows), atol=1e-5)
    assert codes[2].nnz == 0 and (np.diff(codes.indptr)[[0, 1, 3]] > 0).all()


def test_no_more_than_a_chunk_is_read_at_once(tiny_model, tiny_cells, tiny_saes):
    tiny_cells.asked.clear()
    mean_codes(tiny_model, tiny_saes[0], 0, tiny_cells, range(20), chunk=8)
    assert tiny_cells.asked == [8, 8, 4]


def test_what_does_not_fit_is_refused(tiny_model, tiny_cells, tiny_saes):
    with pytest.raises(BiosaeError, match=r"no layer 3.*use 0 to 2"):
        mean_codes(tiny_model, tiny_saes[0], 3, tiny_cells, [0])
    with pytest.raises(BiosaeError, match="width 5, tiny-bert has width 16"):
        mean_codes(tiny_model, TopKSAE(5, 10, 2), 0, tiny_cells, [0])


@pytest.mark.parametrize(
    ("metadata", "folder", "layer"),
    [
        ({"layer": 4, "hook_name": "bert.encoder.layer.9"}, "layer_02/sae", 4),
        ({"hook_name": "bert.encoder.layer.11"}, "x", 11),
        ({"hook_name": "transformer_encoder.layers.7"}, "x", 7),
        ({}, "results/demo/m/02_sae/layer_03/sae", 3),
        ({"hook_name": "block 1 output"}, "layer_02/sae", 1),
        ({"hook_name": "blocks.2.hook_resid_post"}, "/data/player_1/sae", 2),
        ({"hook_name": "blocks.3.hook_resid_pre"}, "x", 2),
        ({"hook_name": "transformer.h.5"}, "x", 5),
        ({"hook_layer": 6}, "layer_02", 6),
        ({"layer": True, "hook_name": ""}, "layer_07", 7),
        ({}, "/data/player_1/layer.4/sae", 4),
        ({}, "/data/layer_9/multilayer_3/resid_post_layer_8", 8),
        ({}, "/data/blocks.2.hook_resid_post", 2),
    ],
)
def test_layer_is_found(tiny_saes, metadata, folder, layer):
    sae = tiny_saes[0]
    sae.metadata = metadata
    assert layer_of(sae, Path(folder)) == layer


def test_layer_that_nothing_names(tiny_saes, tmp_path):
    sae = tiny_saes[0]
    sae.metadata = {}
    for folder in ("/sae", "/data/player_1/sae", "/multilayer_2", "/data/layers_4-8/x", "/layer_3b", "/l1_8", "/h3"):
        with pytest.raises(BiosaeError, match=r"Nothing says which layer.*add --layer"):
            layer_of(sae, Path(folder))
    with pytest.raises(BiosaeError, match="names several layers"):
        layer_of(sae, Path("/layer_3_and_layer_5"))
    for hook in ("blocks.2.hook_mlp_out", "blocks.0.hook_resid_pre"):
        sae.metadata = {"hook_name": hook}
        with pytest.raises(BiosaeError, match=f"{hook}, which is no output of a block"):
            layer_of(sae, Path("/layer_2"))
