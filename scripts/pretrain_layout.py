"""The pretraining cells, and the directories of the two small models in the layout of the published checkpoints."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from biosae_utils.models.base import Genes
from biosae_utils.store import atomic_path, write_json

WIDTH, LAYERS, HEADS, FFN = 192, 4, 6, 768
MAX_GENES = 1024
MIN_CELLS = 20  # a gene needs a non-zero median over at least so many training cells


@dataclass(frozen=True)
class Cells:
    """The pretraining cells: counts (n_cells, n_genes), their genes, and which cells training never sees."""

    counts: sp.csr_matrix
    genes: Genes
    heldout: np.ndarray
    sources: dict[str, int]

    @classmethod
    def read(cls, path: Path, tiny: bool) -> Cells:
        z = np.load(path, allow_pickle=False)
        counts = sp.csr_matrix((z["data"].astype(np.float32), z["indices"], z["indptr"]), shape=tuple(z["shape"]))
        rows = np.random.default_rng(0).permutation(counts.shape[0])[:400] if tiny else np.arange(counts.shape[0])
        names, n = np.unique(z["dataset"][rows], return_counts=True)
        sources = dict(zip(names.tolist(), n.tolist(), strict=True))
        return cls(counts[rows], Genes(z["ensembl"], z["symbol"]), z["heldout"][rows], sources)

    @property
    def vocabulary(self) -> np.ndarray:
        """Columns detected in enough training cells."""
        return np.flatnonzero(self.counts[~self.heldout].getnnz(axis=0) >= MIN_CELLS)


def write_geneformer(folder: Path, cells: Cells) -> None:
    """Config and gene dictionaries, with medians over the training cells."""
    training = cells.counts[~cells.heldout]
    per_10k = (sp.diags(1e4 / np.asarray(training.sum(1)).ravel()) @ training).tocsc()
    columns = cells.vocabulary
    ids = cells.genes.ensembl[columns].tolist()
    medians = {
        g: float(np.median(per_10k.data[per_10k.indptr[j] : per_10k.indptr[j + 1]]))
        for g, j in zip(ids, columns, strict=True)
    }
    tokens = {key: i for i, key in enumerate(["<pad>", "<mask>", "<cls>", "<eos>", *ids])}
    symbols = {s: g for s, g in zip(cells.genes.symbol[columns].tolist(), ids, strict=True) if s}
    for name, dictionary in {
        "token_dictionary": tokens,
        "gene_median_dictionary": medians,
        "gene_name_id_dict": symbols,
        "ensembl_mapping_dict": {g: g for g in ids},
    }.items():
        with atomic_path(folder / "geneformer" / f"{name}_gc104M.pkl") as tmp:
            tmp.write_bytes(pickle.dumps(dictionary, protocol=4))
    config = {
        "architectures": ["BertForMaskedLM"],
        "model_type": "bert",
        "vocab_size": len(tokens),
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "intermediate_size": FFN,
        "max_position_embeddings": MAX_GENES + 2,
        "hidden_act": "relu",
        "hidden_dropout_prob": 0.05,
        "attention_probs_dropout_prob": 0.0,
        "layer_norm_eps": 1e-12,
        "pad_token_id": 0,
    }
    write_json(folder / "config.json", config)


def write_scgpt(folder: Path, cells: Cells) -> None:
    """``args.json`` and ``vocab.json``."""
    symbols = list(dict.fromkeys(s for s in cells.genes.symbol[cells.vocabulary].tolist() if s))
    write_json(folder / "vocab.json", {key: i for i, key in enumerate([*symbols, "<pad>", "<cls>", "<eoc>"])})
    args = {"embsize": WIDTH, "nheads": HEADS, "d_hid": FFN, "nlayers": LAYERS, "n_bins": 51, "max_seq_len": MAX_GENES}
    args |= {"pad_token": "<pad>", "pad_value": -2, "mask_value": -1, "dropout": 0.05}
    write_json(folder / "args.json", args | {"input_style": "binned", "input_emb_style": "continuous"})
