"""Small checkpoints in exactly the layout of the published ones, with random weights."""

from __future__ import annotations

import json
import pickle
import re
import sys
import types
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import BertConfig, BertForMaskedLM

from biosae_utils.models.scgpt_net import ScGPTNet

N_GENES = 30
SPECIALS = {"v2": ["<pad>", "<mask>", "<cls>", "<eos>"], "v1": ["<pad>", "<mask>"]}
FOLDERS = {"v2": ("geneformer", "gc104M"), "v1": ("geneformer/gene_dictionaries_30m", "gc30M")}


def ensembl(i: int) -> str:
    return f"ENSG{i:011d}"


def write_dictionaries(root: Path, version: str, medians: list[float], mapping: dict[str, str] | None = None) -> None:
    """Gene dictionaries with numpy scalars as medians, as the published ones have."""
    folder, suffix = root / FOLDERS[version][0], FOLDERS[version][1]
    folder.mkdir(parents=True, exist_ok=True)
    ids = [ensembl(i) for i in range(len(medians))]
    for name, value in {
        "token_dictionary": {key: i for i, key in enumerate(SPECIALS[version] + ids)},
        "gene_median_dictionary": {g: np.float64(m) for g, m in zip(ids, medians, strict=True)},
        "gene_name_id_dict": {f"GENE{i}": g for i, g in enumerate(ids)},
        "ensembl_mapping_dict": {g: g for g in ids} | (mapping or {}),
    }.items():
        (folder / f"{name}_{suffix}.pkl").write_bytes(pickle.dumps(value))


def write_geneformer(
    root: Path,
    version: str = "v2",
    *,
    subfolder: str = "",
    medians: list[float] | None = None,
    mapping: dict[str, str] | None = None,
    max_positions: int = 24,
) -> Path:
    """A three-layer Geneformer; returns the folder to load."""
    medians = medians or [1.0 + 0.25 * (i % 7) for i in range(N_GENES)]
    write_dictionaries(root, version, medians, mapping)
    config = BertConfig(
        vocab_size=len(medians) + len(SPECIALS[version]),
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=max_positions,
        hidden_act="relu",
        pad_token_id=0,
    )
    folder = root / subfolder
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config.to_diff_dict()))
    generator = torch.Generator().manual_seed(1)
    state = BertForMaskedLM(config).state_dict()
    state = {k: 0.3 * torch.randn(v.shape, generator=generator) + ("LayerNorm.weight" in k) for k, v in state.items()}
    state = {k: v for k, v in state.items() if not k.startswith("cls.predictions.decoder")}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def flash_names(state: dict) -> dict:
    """A state dict as flash-attention saves it, with the heads of other objectives beside it."""
    renamed = {k.replace("self_attn.in_proj_", "self_attn.Wqkv."): v for k, v in state.items()}
    extra = ("cls_decoder.out_layer.bias", "mvc_decoder.W.weight", "flag_encoder.weight")
    return renamed | {key: torch.zeros(2, 2) for key in extra}


def write_scgpt(
    root: Path, *, n_genes: int = N_GENES, max_len: int = 24, flash: bool = True, **changes: object
) -> Path:
    """A three-layer scGPT; returns the folder to load."""
    root.mkdir(exist_ok=True)
    args = {"embsize": 16, "nheads": 2, "d_hid": 32, "nlayers": 3, "n_bins": 51, "max_seq_len": max_len}
    args |= {"pad_token": "<pad>", "pad_value": -2, "mask_value": -1, "dropout": 0.2} | changes
    (root / "args.json").write_text(json.dumps(args))
    names = [f"GENE{i}" for i in range(n_genes)] + ["<pad>", "<cls>", "<eoc>"]
    (root / "vocab.json").write_text(json.dumps({name: i for i, name in enumerate(names)}))
    net = ScGPTNet(len(names), 16, 2, 32, 3, pad_id=n_genes, dropout=0.2)
    generator = torch.Generator().manual_seed(2)
    state = net.state_dict()
    state = {k: 0.3 * torch.randn(v.shape, generator=generator) + ("norm" in k) for k, v in state.items()}
    torch.save(flash_names(state) if flash else state, root / "best_model.pt")
    return root


PAGE = Path(__file__).resolve().parents[2] / "book" / "adding-a-model.md"


def page_code(name: str) -> str:
    """The code block of the page on adding a model that begins with the name of its file."""
    return next(
        b for b in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL) if b.startswith(f"# {name}\n")
    )


def write_toy(root: Path) -> Path:
    """A checkpoint of the family that the book adds as an example; registers the family."""
    toy = sys.modules.get("toy")
    if toy is None:
        toy = sys.modules["toy"] = types.ModuleType("toy")
        exec(compile(page_code("toy.py"), "toy.py", "exec"), toy.__dict__)
    toy.write_checkpoint(root, [f"GENE{i}" for i in range(N_GENES)])
    return root


WRITERS = {
    "geneformer-v2": write_geneformer,
    "geneformer-v1": lambda root: write_geneformer(root, "v1"),
    "scgpt": write_scgpt,
    "toy": write_toy,
}
