"""The same models on a GPU: same tokens, states close to the CPU's, cuts that change nothing, the same codes."""

import numpy as np
import pytest
import torch
from checkpoints import write_geneformer, write_scgpt

from biosae_utils.models.registry import load_model
from biosae_utils.sae.extract import sample_activations, stream_codes
from biosae_utils.sae.extraction_checks import zero_edit_gap
from biosae_utils.sae.topk import TopKSAE

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
ROWS, CELLS = np.arange(0, 60, 2), np.arange(6)


@pytest.mark.parametrize("write", [write_geneformer, write_scgpt])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("auto", 3e-2)])
def test_a_gpu_computes_what_the_cpu_does(tmp_path, counts, genes, write, dtype, tolerance):
    folder = write(tmp_path / "model" if write is write_scgpt else tmp_path)
    gpu, cpu = load_model(folder, device="cuda", dtype=dtype), load_model(folder, device="cpu")
    assert gpu.dtype == (torch.float32 if dtype == "float32" else torch.bfloat16)
    tokens = gpu.encode(counts, genes)
    np.testing.assert_array_equal(tokens.ids, cpu.encode(counts, genes).ids)
    layers = range(gpu.info.n_layers)
    assert max(zero_edit_gap(gpu, tokens, CELLS, layers).values()) == 0
    assert min(zero_edit_gap(gpu, tokens, CELLS, layers, edit=0.01).values()) > 0
    ours, theirs = (sample_activations(model, tokens, ROWS) for model in (gpu, cpu))
    for layer, expected in theirs.items():
        expected = expected.astype(np.float64)
        assert np.linalg.norm(ours[layer] - expected) / np.linalg.norm(expected) < tolerance
    saes = {layer: TopKSAE(16, 64, 8, seed=layer).requires_grad_(False).eval().to("cuda") for layer in layers}
    stores = stream_codes(gpu, saes, tokens, {layer: tmp_path / f"codes_{layer}" for layer in layers})
    values, indices = saes[0].encode(torch.from_numpy(ours[0]).float().to("cuda"))
    kept = stores[0].csr(ROWS).toarray()
    again = np.zeros_like(kept)
    np.put_along_axis(again, indices.cpu().numpy(), values.cpu().numpy(), axis=1)
    assert np.linalg.norm(kept - again) / np.linalg.norm(again) < 2e-2
