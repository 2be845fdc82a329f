"""The sparse autoencoder: at most k of d_sae latents describe one vector of the residual stream.

Three kinds share one class. ``topk`` keeps the k largest pre-activations of every vector (Gao et al. 2024).
``batchtopk`` keeps the n * k largest of a batch while training, and those above a learned threshold afterwards
(Bussmann et al. 2024). ``matryoshka`` is ``topk`` whose nested prefixes of latents must each reconstruct the input
(Bussmann et al. 2025).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from biosae_utils.errors import BiosaeError
from biosae_utils.sae.sparse_ops import ChosenPreActs, Pattern, SparseSums, choose_latents, cpu_has_bf16, top_k
from biosae_utils.sae_options import Kind

_CANDIDATES = 8  # a latent that bf16 misplaces by more than this many ranks would be missed; none was seen


class TopKSAE(nn.Module):
    """TopK sparse autoencoder, sparse in and out.

    ``pre_acts = (x - b_dec) @ W_enc + b_enc``; the largest ones, cut at zero, are the code; ``values @ W_dec +
    b_dec`` is the reconstruction. The decoder starts with random rows of norm 1 and the encoder as its transpose.

    Parameters
    ----------
    d_in, d_sae, k : int
        Width of the input; number of latents; active latents a vector (on average for ``batchtopk``).
    kind : {"topk", "batchtopk", "matryoshka"}
    groups : sequence of int, optional
        ``matryoshka`` only: increasing prefix lengths, the last one `d_sae`. By default d_sae / 16, / 8, / 4, / 2
        and d_sae.
    seed : int

    Attributes
    ----------
    W_enc : Parameter (d_in, d_sae)
        Stored transposed (its memory is (d_sae, d_in)), so that one latent's weights are one row for the sparse
        products.
    b_enc : Parameter (d_sae,)
    W_dec : Parameter (d_sae, d_in)
        One row of norm 1 per latent.
    b_dec : Parameter (d_in,)
    threshold : Tensor (d_sae,)
        ``batchtopk`` only: smallest pre-activation that counts as active in evaluation mode.
    width : int
        Slots of a code: k, or at most 4 k for ``batchtopk``. Unused slots have value 0.

    Raises
    ------
    BiosaeError
        If the sizes or groups do not fit together.
    """

    threshold: Tensor

    def __init__(
        self,
        d_in: int,
        d_sae: int,
        k: int,
        *,
        kind: Kind = "topk",
        groups: Sequence[int] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not (d_in >= 1 and 1 <= k <= d_sae):
            raise BiosaeError(
                "Sizes of the SAE do not fit", where=f"d_in={d_in}, d_sae={d_sae}, k={k}", do="choose 1 <= k <= d_sae"
            )
        if kind not in get_args(Kind):
            raise BiosaeError(f"No SAE of kind {kind!r}", do=f"choose {', '.join(get_args(Kind))}")
        self.d_in, self.d_sae, self.k, self.kind = d_in, d_sae, k, kind
        self.width = min(4 * k, d_sae) if kind == "batchtopk" else k
        self.groups = _groups(d_sae, groups) if kind == "matryoshka" else ()
        directions = F.normalize(torch.randn(d_sae, d_in, generator=torch.Generator().manual_seed(seed)), dim=1)
        self.W_enc = nn.Parameter(directions.clone().t())
        self.b_enc = nn.Parameter(torch.zeros(d_sae))
        self.W_dec = nn.Parameter(directions)
        self.b_dec = nn.Parameter(torch.zeros(d_in))
        self.register_buffer("threshold", torch.zeros(d_sae))
        self.metadata: dict[str, Any] = {}

    def extra_repr(self) -> str:
        return f"d_in={self.d_in}, d_sae={self.d_sae}, k={self.k}, kind={self.kind!r}"

    # ---- encode ----------------------------------------------------------------------------------------------------

    def pre_acts(self, x: Tensor) -> Tensor:
        """Pre-activations of every latent, shape (n, d_sae)."""
        return torch.addmm(self.b_enc, self._centred(x), self.W_enc)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Sparse code of each vector.

        Parameters
        ----------
        x : Tensor of shape (n, d_in)

        Returns
        -------
        values : Tensor of shape (n, width)
            Not negative; 0 in unused slots.
        indices : Tensor of int64, shape (n, width)
            Distinct within a row, in no order.
        """
        if self.b_dec.device.type == "cpu":
            x = self._checked(x)
            xc = x.detach() - self.b_dec.detach()
            indices = self._choose(xc)
            pattern = Pattern.of(indices, self.d_sae)
            pre = ChosenPreActs.apply(x, self.b_dec, self.W_enc.t(), self.b_enc, xc, pattern)
        else:
            dense = torch.addmm(self.b_enc, self._centred(x), self.W_enc)
            indices = top_k(dense.detach(), self.width)
            pre = dense.gather(1, indices)
        values = pre.relu()
        if self.kind == "batchtopk":
            floor = self.batch_floor(values) if self.training else self.threshold[indices]
            values = values * (pre >= floor)
        return values, indices

    def batch_floor(self, values: Tensor) -> Tensor:
        """Smallest of the n * k largest values of a batch, a scalar (``batchtopk`` in training mode)."""
        return values.detach().flatten().topk(len(values) * self.k, sorted=False).values.min()

    def encode_dense(self, x: Tensor) -> Tensor:
        """Code as a dense matrix (n, d_sae); for analysis of few vectors only."""
        values, indices = self.encode(x)
        return values.new_zeros(len(values), self.d_sae).scatter_add(1, indices, values)

    # ---- decode ----------------------------------------------------------------------------------------------------

    def decode(self, values: Tensor, indices: Tensor) -> Tensor:
        """Reconstruction of a sparse code, shape (n, d_in)."""
        return self._sums(values, indices) + self.b_dec

    def decode_prefixes(self, values: Tensor, indices: Tensor) -> list[Tensor]:
        """One reconstruction per group: from the latents below ``groups[g]`` only, each of shape (n, d_in)."""
        out: list[Tensor] = []
        total: Tensor = self.b_dec
        start = 0
        for stop in self.groups or (self.d_sae,):
            total = total + self._sums(values * ((indices >= start) & (indices < stop)), indices)
            out.append(total)
            start = stop
        return out

    def forward(self, x: Tensor) -> Tensor:
        """Reconstruction of each vector, shape (n, d_in)."""
        return self.decode(*self.encode(x))

    @torch.no_grad()
    def _choose(self, xc: Tensor) -> Tensor:
        """Active latents of each row of ``x - b_dec`` on the CPU, (n, width).

        Training takes the choice as it is, be it made in bf16. Afterwards a few more candidates of such a choice are
        compared by their exact pre-activations, so that the code is that of the float32 product (and of every other
        implementation).
        """
        table = self.W_enc.t()
        if self.training or not cpu_has_bf16() or xc.dtype == torch.float64:
            return choose_latents(xc, table, self.b_enc, self.width)
        candidates = choose_latents(xc, table, self.b_enc, min(self.width + _CANDIDATES, self.d_sae))
        exact = Pattern(candidates, self.d_sae).dots(xc, table) + self.b_enc[candidates]
        return candidates.gather(1, exact.topk(self.width, dim=1, sorted=False).indices)

    # ---- upkeep ----------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def fold_scale(self, scale: float) -> TopKSAE:
        """Make an SAE that was trained on ``x * scale`` accept x itself, in place.

        TopK and ReLU commute with a positive factor, so only the biases change and decoder rows keep norm 1:
        codes of the folded SAE are those of the trained one divided by `scale`.
        """
        for tensor in (self.b_enc, self.b_dec, self.threshold):
            tensor /= scale
        return self

    def _centred(self, x: Tensor) -> Tensor:
        return self._checked(x) - self.b_dec

    def _checked(self, x: Tensor) -> Tensor:
        """Vectors in the precision of the weights."""
        if x.dim() != 2 or x.shape[1] != self.d_in:
            raise BiosaeError(
                f"The SAE takes vectors of width {self.d_in}, not {tuple(x.shape)}", do="pass a matrix (n, d_in)"
            )
        return x.to(self.b_dec.dtype)

    def _sums(self, values: Tensor, indices: Tensor) -> Tensor:
        values = values.to(self.W_dec.dtype)
        if values.device.type == "cpu":
            return SparseSums.apply(values, self.W_dec, Pattern.of(indices, self.d_sae))
        return values.new_zeros(len(values), self.d_sae).scatter_add(1, indices, values) @ self.W_dec


def _groups(d_sae: int, groups: Sequence[int] | None) -> tuple[int, ...]:
    sizes = tuple(groups) if groups else tuple(sorted({max(1, d_sae // share) for share in (16, 8, 4, 2, 1)}))
    if sizes[-1] != d_sae or any(b <= a for a, b in zip((0, *sizes), sizes, strict=False)):
        raise BiosaeError(
            "Matryoshka groups must be increasing prefix lengths that end at d_sae",
            where=f"groups={sizes}, d_sae={d_sae}",
        )
    return sizes
