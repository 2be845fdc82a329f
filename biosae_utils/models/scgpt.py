"""scGPT in plain PyTorch: cells as sets of genes with binned expression (Cui et al. 2024).

Reads the layout of the published checkpoints: ``args.json``, ``vocab.json`` and ``best_model.pt`` (or
``model.safetensors``). Neither flash-attn nor torchtext is needed: parameters saved by flash-attention are renamed, and
the blocks are run one by one with PyTorch's own scaled-dot-product attention.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn

from biosae_utils.cells.human import human_genes
from biosae_utils.errors import BiosaeError
from biosae_utils.models.base import Batch, Genes, ModelInfo, Tokens
from biosae_utils.models.blocks import BlockModel, at_columns
from biosae_utils.models.encoding import cell_rng, collapse, frame, ranks_to_bins
from biosae_utils.models.loading import check_weights, freeze, read_settings, read_weights, seeded_init, some
from biosae_utils.models.scgpt_net import ScGPTNet
from biosae_utils.store import sha256

WEIGHTS = ("best_model.pt", "model.safetensors")
SETTINGS = ("embsize", "nheads", "d_hid", "nlayers", "n_bins", "max_seq_len", "pad_value")
RENAMES = (
    ("self_attn._impl.Wqkv.", "self_attn.in_proj_"),
    ("self_attn.Wqkv.", "self_attn.in_proj_"),
    ("self_attn._impl.out_proj.", "self_attn.out_proj."),
)
# heads and encoders of other objectives, which never touch the residual stream of a cell
UNNEEDED = (
    "cls_decoder.",
    "mvc_decoder.",
    "flag_encoder.",
    "batch_encoder.",
    "decoder.zero_logit.",
    "grad_reverse_discriminator.",
    "sim.",
    "creterion_cce.",
)
TIES = ("middle", "spread")


class ScGPT(BlockModel):
    """An scGPT checkpoint as a `FoundationModel`.

    Parameters
    ----------
    net : ScGPTNet
    info : ModelInfo
    settings : dict
        ``args.json``.
    ties : {"middle", "spread"}
        Where values that span several bins land: in the middle of the span, which is the same every time, or spread
        over it at random as in the official code (seeded by cell).

    Notes
    -----
    The order of genes means nothing to scGPT, which has no positions; they are sorted by token id, so that the order of
    a file's columns changes nothing. Position 0 is ``<cls>``.
    """

    family = "scgpt"

    def __init__(self, net: nn.Module, info: ModelInfo, settings: dict, ties: str = TIES[0]) -> None:
        self._token = {str(key): token for token, key in enumerate(info.vocab_ids)}
        pad = settings.get("pad_token", "<pad>")
        super().__init__(net, info, pad_id=self._token[pad], pad_value=float(settings["pad_value"]))
        self.cls_id = self._token["<cls>"]
        self.n_bins, self.mask_value = settings["n_bins"], float(settings.get("mask_value", -1))
        self.ties = ties

    @staticmethod
    def accepts(directory: Path) -> bool:
        """Whether a directory looks like an scGPT checkpoint."""
        return (directory / "args.json").is_file()

    @classmethod
    def load(
        cls,
        directory: Path,
        *,
        name: str,
        device: torch.device,
        dtype: torch.dtype,
        random_weights: bool = False,
        seed: int = 0,
        ties: Literal["middle", "spread"] = "middle",
    ) -> ScGPT:
        """Load a checkpoint; with `random_weights` its configuration alone, initialised from `seed`.

        Raises
        ------
        BiosaeError
            Files are missing or damaged, or do not belong together.
        """
        if ties not in TIES:
            raise BiosaeError(f"Unknown ties {ties!r}", do=f"use {' or '.join(TIES)}")
        settings = read_args(directory)
        keys = read_vocabulary(directory, settings.get("pad_token", "<pad>"))
        state, path = ({}, directory) if random_weights else read_state(directory)
        with seeded_init(seed):
            net = ScGPTNet(
                n_vocab=len(keys),
                d_model=settings["embsize"],
                n_heads=settings["nheads"],
                d_hid=settings["d_hid"],
                n_layers=settings["nlayers"],
                pad_id=int(np.flatnonzero(keys == settings.get("pad_token", "<pad>"))[0]),
                dropout=float(settings.get("dropout", 0.0)),
                batch_norm="bn.weight" in state,
            )
        if not random_weights:
            expected = {key: value.shape for key, value in net.state_dict().items()}
            check_weights(state, expected, UNNEEDED, path)
            net.load_state_dict({key: state[key] for key in expected})
        info = ModelInfo(
            name=name,
            family=cls.family,
            variant="random-weights" if random_weights else "trained",
            n_layers=settings["nlayers"],
            d_model=settings["embsize"],
            max_len=settings["max_seq_len"],
            vocab=keys,
            vocab_ids=keys,
            special_ids=tuple(i for i, key in enumerate(keys) if key.startswith("<") and key.endswith(">")),
            source=str(directory),
            sha256="" if random_weights else sha256(path),
        )
        return cls(freeze(net, device, dtype), info, settings, ties)

    def gene_tokens(self, genes: Genes) -> np.ndarray:
        """Token of each column, int64 (n_genes,), -1 where unknown.

        By symbol, else by any name in the vocabulary that stands for the same Ensembl id: references older or newer
        than the vocabulary call many genes otherwise (GNB2L1 and RACK1, IL8 and CXCL8).
        """
        special = {self.info.vocab_ids[i] for i in self.info.special_ids}
        by_name = {name: token for name, token in self._token.items() if name.strip() and name not in special}
        human = human_genes()
        by_id: dict[str, int] = {}
        # a name in use today comes before earlier ones of the same gene
        for name in sorted(by_name, key=lambda n: not human.is_own(n)):
            if ensembl := human.find(name):
                by_id.setdefault(ensembl, by_name[name])
        pairs = zip(genes.symbol, genes.ensembl, strict=True)
        return np.array([by_name.get(str(s), by_id.get(str(e), -1)) for s, e in pairs], dtype=np.int64)

    def encode_chunk(self, counts: sp.csr_matrix, tokens: np.ndarray, seed: int) -> Tokens:
        """``<cls>``, then the non-zero genes with their bins; a random choice of genes where there are too many."""
        x, ids = collapse(counts, tokens)
        genes = ids[x.indices]
        bins = ranks_to_bins(x, self.n_bins, self._spread(x, genes, seed))
        keep = np.ones(x.nnz, bool)
        limit = self.info.max_len - 1
        for row in np.flatnonzero(np.diff(x.indptr) > limit):
            cell = slice(x.indptr[row], x.indptr[row + 1])
            chosen = cell_rng(seed, genes[cell], bins[cell]).permutation(cell.stop - cell.start)[:limit]
            keep[cell] = False
            keep[cell.start + chosen] = True
        lengths = np.minimum(np.diff(x.indptr), limit)
        return frame(genes[keep], lengths, before=(self.cls_id,), values=bins[keep], special_value=self.pad_value)

    def _spread(self, x: sp.csr_matrix, genes: np.ndarray, seed: int) -> np.ndarray | float:
        if self.ties == "middle":
            return 0.5
        cells = [slice(a, b) for a, b in zip(x.indptr[:-1], x.indptr[1:], strict=True)]
        return np.concatenate([cell_rng(seed, genes[c], x.data[c]).random(c.stop - c.start) for c in cells])

    def embed(self, batch: Batch) -> Tensor:
        """Gene embedding plus value embedding, normalised where the checkpoint says so."""
        state = self.net.encoder(batch.ids) + self.net.value_encoder(batch.values)
        return state if self.net.bn is None else self.net.bn(state.flatten(0, 1)).view_as(state)

    def block(self, layer: int, state: Tensor, attend: Tensor | None) -> Tensor:
        """``transformer_encoder.layers[layer]``."""
        return self.net.transformer_encoder.layers[layer](state, attend)

    def block_at(self, layer: int, state: Tensor, attend: Tensor | None, columns: Tensor) -> Tensor:
        """The block with the queries of some columns, int64 (B, R), alone."""
        return self.net.transformer_encoder.layers[layer](at_columns(state, columns), attend, state)

    def hide(self, batch: Batch, chosen: Tensor) -> tuple[Tensor, Tensor | None]:
        """Chosen genes keep their name and lose their value."""
        return batch.ids, batch.values.masked_fill(chosen, self.mask_value)

    def predict(self, final: Tensor, positions: Tensor) -> Tensor:
        """Predicted bin, shape (n,)."""
        return self.net.decoder.fc(final[positions[:, 0], positions[:, 1]]).squeeze(-1)

    def loss(self, final: Tensor, batch: Batch, positions: Tensor) -> Tensor:
        """Squared error of the predicted bin, float32 (n,)."""
        target = batch.targets["values"][positions[:, 0], positions[:, 1]]
        return (self.predict(final, positions).float() - target).square()


def read_args(directory: Path) -> dict:
    """``args.json``, checked."""
    path = directory / "args.json"
    settings = read_settings(path, SETTINGS)
    if bad := [key for key in SETTINGS[:-1] if type(settings[key]) is not int or settings[key] < 1]:
        raise BiosaeError(f"{some(bad)} must be positive whole numbers", where=str(path))
    if settings["embsize"] % settings["nheads"] or settings["n_bins"] < 3 or settings["max_seq_len"] < 2:
        raise BiosaeError(
            "embsize must be a multiple of nheads, n_bins at least 3, max_seq_len at least 2", where=str(path)
        )
    if settings.get("input_emb_style", "continuous") != "continuous":
        raise BiosaeError("Only the continuous value encoder is supported", where=str(path))
    if settings.get("input_style", "binned") != "binned":
        raise BiosaeError("Only binned input is supported", where=str(path))
    return settings


def read_vocabulary(directory: Path, pad: str) -> np.ndarray:
    """``vocab.json`` as an array of str in the order of ids."""
    path = directory / "vocab.json"
    vocab = read_settings(path, (pad, "<cls>"))
    if not all(type(i) is int for i in vocab.values()) or sorted(vocab.values()) != list(range(len(vocab))):
        raise BiosaeError("Token ids are not 0, 1, 2 ... without gaps", where=str(path), do="fetch the file again")
    return np.array(sorted(vocab, key=vocab.__getitem__))


def read_state(directory: Path) -> tuple[dict[str, Tensor], Path]:
    """The directory's weights under their official names, and the file that they are from."""
    state, path = read_weights(directory, WEIGHTS)
    for old, new in RENAMES:
        state = {key.replace(old, new): value for key, value in state.items()}
    if any(key.startswith("dsbn.") for key in state):
        raise BiosaeError(
            "This checkpoint normalises its input by batch labels (dsbn.*), which is not supported",
            where=str(path),
            do="use the whole-human checkpoint or one that was fine-tuned without batch labels",
        )
    return state, path
