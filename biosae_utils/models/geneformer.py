"""Geneformer: cells as genes in order of expression relative to each gene's median (Theodoris et al. 2023).

Reads the layout of the ``ctheodoris/Geneformer`` repository: ``config.json`` and ``model.safetensors`` in the model's
folder, the gene dictionaries in ``geneformer/`` beside them or one folder up. All sizes of V1 (30 M cells) and V2 (104
M cells) load alike; whether a model takes ``<cls>`` and ``<eos>`` is read from its token dictionary.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from biosae_utils.errors import BiosaeError
from biosae_utils.models.base import Batch, Genes, ModelInfo, Tokens
from biosae_utils.models.blocks import BlockModel, at_columns
from biosae_utils.models.dictionaries import read_dictionary
from biosae_utils.models.encoding import collapse, frame, rows_of, sort_within_rows
from biosae_utils.models.loading import check_weights, freeze, read_settings, read_weights, seeded_init, some
from biosae_utils.store import sha256

DICTIONARIES = (("geneformer", "gc104M"), ("geneformer/gene_dictionaries_30m", "gc30M"))
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
UNNEEDED = ("bert.embeddings.position_ids", "bert.pooler.")
TIED = ("cls.predictions.decoder.",)  # the same tensors as the gene embeddings, saved twice or not at all
SIZES = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
)
TARGET_SUM = 10_000
LOSS_CHUNK = 4096  # positions whose logits over the vocabulary are held at once


@dataclass(frozen=True)
class GeneDictionaries:
    """What turns a data set's genes into tokens.

    Attributes
    ----------
    token : dict of str to int
        Ensembl id, or special token, to token id.
    median : dict of str to float
        Ensembl id to the gene's non-zero median of counts per ten thousand over the pretraining cells.
    ensembl : dict of str to str
        Any known Ensembl id to the id that the model uses; several may fall together.
    symbol : dict of str to str
        Gene symbol to Ensembl id.
    folder : Path
    """

    token: dict[str, int]
    median: dict[str, float]
    ensembl: dict[str, str]
    symbol: dict[str, str]
    folder: Path

    @classmethod
    def find(cls, directory: Path, n_vocab: int) -> GeneDictionaries:
        """Read the dictionaries that belong to a vocabulary of `n_vocab` tokens, from `directory` or its parent.

        Raises
        ------
        BiosaeError
            No token dictionary is there, or those that are belong to another model.
        """
        sizes: list[str] = []
        for root in (directory, directory.parent):
            for folder, suffix in DICTIONARIES:
                path = root / folder / f"token_dictionary_{suffix}.pkl"
                if not path.is_file():
                    continue
                token = read_dictionary(path, int)
                if len(token) == n_vocab:
                    return cls._read(path.parent, suffix, token)
                sizes.append(f"{path.name} has {len(token)}")
        if not sizes:
            raise BiosaeError(
                "No token dictionary (geneformer/token_dictionary_*.pkl) beside the model or one folder up",
                where=str(directory),
                do="fetch the model again",
            )
        raise BiosaeError(
            f"The token dictionary is another model's: the config asks for {n_vocab} tokens, {' and '.join(sizes)}",
            where=str(directory),
            do="V1 models need the gc30M dictionaries, V2 models the gc104M ones",
        )

    @classmethod
    def _read(cls, folder: Path, suffix: str, token: dict[str, int]) -> GeneDictionaries:
        if sorted(token.values()) != list(range(len(token))):
            raise BiosaeError("Token ids are not 0, 1, 2 ... without gaps", where=str(folder))
        median = read_dictionary(folder / f"gene_median_dictionary_{suffix}.pkl", float)
        genes = [key for key in token if not key.startswith("<")]
        if missing := [gene for gene in genes if gene not in median]:
            raise BiosaeError(
                f"{len(missing)} of {len(genes)} genes have no median: {some(missing)}",
                where=str(folder / f"gene_median_dictionary_{suffix}.pkl"),
                do="use the median and token dictionaries of the same model",
            )
        if bad := [gene for gene in genes if not 0 < median[gene] < float("inf")]:
            raise BiosaeError(f"Medians that are not positive numbers: {some(bad)}", where=str(folder))
        mapping = folder / f"ensembl_mapping_dict_{suffix}.pkl"
        names = folder / f"gene_name_id_dict_{suffix}.pkl"
        # the V1 release came without a mapping; V2 without one would silently not collapse renamed genes
        optional = suffix == "gc30M" and not mapping.is_file()
        # a name that is no name cannot be looked up; the ids and medians of a gene without one are still good
        symbol = read_dictionary(names, str, nameless="skip")
        return cls(token, median, {} if optional else read_dictionary(mapping, str), symbol, folder)

    @property
    def special(self) -> dict[str, int]:
        """Special tokens."""
        return {key: token for key, token in self.token.items() if key.startswith("<")}

    def tokens_of(self, genes: Genes) -> np.ndarray:
        """Token of each gene, int64 (n_genes,), -1 where unknown: by Ensembl id, or by symbol where there is no id."""
        found = np.full(len(genes), -1, np.int64)
        for i, (ensembl, symbol) in enumerate(zip(genes.ensembl, genes.symbol, strict=True)):
            key = str(ensembl).upper() or (self.symbol.get(str(symbol), "") if symbol else "")
            if not key:
                continue
            key = self.ensembl.get(key, key)
            if not key.startswith("<"):
                found[i] = self.token.get(key, -1)
        return found

    def vocabulary(self) -> tuple[np.ndarray, np.ndarray]:
        """Display name and key of each token id; the name is the symbol where one is known."""
        symbols: dict[str, str] = {}
        for symbol, ensembl in self.symbol.items():
            symbols.setdefault(ensembl, symbol)
        keys = sorted(self.token, key=self.token.__getitem__)
        return np.array([symbols.get(key, key) for key in keys]), np.array(keys)


class Geneformer(BlockModel):
    """A Geneformer checkpoint as a `FoundationModel`.

    The order of the genes is the only input: `Tokens.values` is None. Layer l is ``bert.encoder.layer[l]``, whose
    output transformers calls ``hidden_states[l + 1]``.
    """

    family = "geneformer"

    def __init__(self, net: nn.Module, info: ModelInfo, dictionaries: GeneDictionaries) -> None:
        special = dictionaries.special
        super().__init__(net, info, pad_id=special["<pad>"])
        self.dictionaries = dictionaries
        self.mask_id = special["<mask>"]
        self.before = (special["<cls>"],) if "<cls>" in special else ()
        self.after = (special["<eos>"],) if "<eos>" in special else ()
        self.max_genes = info.max_len - len(self.before) - len(self.after)
        self._median = np.ones(len(info.vocab_ids))
        for key, token in dictionaries.token.items():
            self._median[token] = dictionaries.median.get(key, 1.0)

    @staticmethod
    def accepts(directory: Path) -> bool:
        """Whether a directory looks like a Geneformer checkpoint."""
        return (directory / "config.json").is_file()

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
    ) -> Geneformer:
        """Load a checkpoint; with `random_weights` its configuration alone, initialised from `seed`.

        Raises
        ------
        BiosaeError
            Files are missing or damaged, or do not belong together.
        """
        config = bert_config(directory)
        dictionaries = GeneDictionaries.find(directory, config.vocab_size)
        if lacking := {"<pad>", "<mask>"} - dictionaries.special.keys():
            raise BiosaeError(f"The token dictionary lacks {some(sorted(lacking))}", where=str(dictionaries.folder))
        net, digest = random_bert(config, seed) if random_weights else trained_bert(config, directory)
        vocab, keys = dictionaries.vocabulary()
        info = ModelInfo(
            name=name,
            family=cls.family,
            variant="random-weights" if random_weights else "trained",
            n_layers=config.num_hidden_layers,
            d_model=config.hidden_size,
            max_len=config.max_position_embeddings,
            vocab=vocab,
            vocab_ids=keys,
            special_ids=tuple(sorted(dictionaries.special.values())),
            source=str(directory),
            sha256=digest,
        )
        return cls(freeze(net, device, dtype), info, dictionaries)

    def gene_tokens(self, genes: Genes) -> np.ndarray:
        """Token of each column, int64 (n_genes,), -1 where unknown."""
        return self.dictionaries.tokens_of(genes)

    def encode_chunk(self, counts: sp.csr_matrix, tokens: np.ndarray, seed: int) -> Tokens:
        """Genes of each cell by descending count per ten thousand over the gene's median; ties by token id."""
        total = np.asarray(counts.sum(axis=1, dtype=np.float64)).ravel()
        x, ids = collapse(counts, tokens)
        relative = x.data / total[rows_of(x.indptr)] * TARGET_SUM / self._median[ids][x.indices]
        order = sort_within_rows(-relative, x.indptr)
        rank = np.arange(x.nnz) - np.repeat(x.indptr[:-1], np.diff(x.indptr))
        kept = ids[x.indices[order]][rank < self.max_genes]
        return frame(kept, np.minimum(np.diff(x.indptr), self.max_genes), before=self.before, after=self.after)

    def embed(self, batch: Batch) -> Tensor:
        """Gene and position embeddings, normalised: transformers' ``hidden_states[0]``."""
        return self.net.bert.embeddings(input_ids=batch.ids)

    def block(self, layer: int, state: Tensor, attend: Tensor | None) -> Tensor:
        """``bert.encoder.layer[layer]``."""
        out = self.net.bert.encoder.layer[layer](state, attend)
        return out if isinstance(out, Tensor) else out[0]  # a tuple in older transformers

    def block_at(self, layer: int, state: Tensor, attend: Tensor | None, columns: Tensor) -> Tensor:
        """The block with the queries of some columns, int64 (B, R), alone."""
        block, some = self.net.bert.encoder.layer[layer], at_columns(state, columns)
        own, heads = block.attention.self, (self.net.config.num_attention_heads, -1)
        qkv = own.query(some), own.key(state), own.value(state)
        q, k, v = (part.unflatten(-1, heads).transpose(1, 2) for part in qkv)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=attend).transpose(1, 2).flatten(2)
        some = block.attention.output(mixed, some)
        return block.output(block.intermediate(some), some)

    def hide(self, batch: Batch, chosen: Tensor) -> tuple[Tensor, Tensor | None]:
        """Chosen genes become ``<mask>``."""
        return batch.ids.masked_fill(chosen, self.mask_id), None

    def predict(self, final: Tensor, positions: Tensor) -> Tensor:
        """Logits over the vocabulary, shape (n, n_vocab)."""
        return self.net.cls(final[positions[:, 0], positions[:, 1]])

    def loss(self, final: Tensor, batch: Batch, positions: Tensor) -> Tensor:
        """Cross-entropy of the hidden gene in nats, float32 (n,)."""
        target = batch.targets["ids"]
        pieces = [
            F.cross_entropy(self.predict(final, piece).float(), target[piece[:, 0], piece[:, 1]], reduction="none")
            for piece in positions.split(LOSS_CHUNK)
        ]
        return torch.cat(pieces)


def bert_config(directory: Path):
    """``BertConfig`` of a checkpoint, with scaled-dot-product attention."""
    from transformers import BertConfig

    path = directory / "config.json"
    settings = read_settings(path, SIZES)
    if settings.get("model_type", "bert") != "bert":
        raise BiosaeError(f"The config is of a {settings['model_type']!r} model, not of a BERT", where=str(path))
    if bad := [key for key in SIZES if type(settings[key]) is not int or settings[key] < 1]:
        raise BiosaeError(f"{some(bad)} must be positive whole numbers", where=str(path))
    if settings["hidden_size"] % settings["num_attention_heads"]:
        raise BiosaeError("hidden_size is no multiple of num_attention_heads", where=str(path))
    return BertConfig(**settings | {"attn_implementation": "sdpa"})


def random_bert(config, seed: int) -> tuple[nn.Module, str]:
    """The network of a config with seeded initial weights; there is no file to hash."""
    from transformers import BertForMaskedLM

    with seeded_init(seed):
        return BertForMaskedLM(config), ""


def trained_bert(config, directory: Path) -> tuple[nn.Module, str]:
    """The network of a config with the directory's weights, and the hash of their file."""
    from transformers import BertForMaskedLM

    state, path = read_weights(directory, WEIGHTS)
    with torch.device("meta"):
        net = BertForMaskedLM(config)
    tied = getattr(config, "tie_word_embeddings", True)
    unneeded = UNNEEDED + TIED if tied else UNNEEDED
    expected = {key: value.shape for key, value in net.state_dict().items() if not key.startswith(unneeded)}
    check_weights(state, expected, unneeded, path)
    net.load_state_dict({key: state[key] for key in expected}, strict=False, assign=True)
    embeddings, head = net.bert.embeddings, net.cls.predictions
    if tied:
        head.decoder.weight, head.decoder.bias = embeddings.word_embeddings.weight, head.bias
    # the two buffers that no checkpoint holds
    embeddings.position_ids = torch.arange(config.max_position_embeddings).expand((1, -1))
    embeddings.token_type_ids = torch.zeros((1, config.max_position_embeddings), dtype=torch.long)
    return net, sha256(path)
