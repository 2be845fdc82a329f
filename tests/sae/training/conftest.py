"""Planted directions to learn, and inputs of every product of a stacked step."""

import importlib.util
import os

import pytest
import torch

D = 64


class Planted:
    """Sums of few known directions with a heavy-tailed frequency, beside a dense low-rank part, an offset and noise."""

    def __init__(self, seed: int = 11, n_atoms: int = 128, active: float = 6.0, rank: int = 4) -> None:
        self.generator = g = torch.Generator().manual_seed(seed)
        self.atoms = torch.nn.functional.normalize(torch.randn(n_atoms, D, generator=g), dim=1)
        self.dense = torch.linalg.qr(torch.randn(D, rank, generator=g))[0].T
        odds = 1.0 / torch.arange(10, 10 + n_atoms)
        self.odds = (odds / odds.sum() * active).clamp(max=0.5)
        offset = torch.randn(D, generator=g)
        self.offset = 5 * offset / offset.norm()

    def draw(self, n: int) -> torch.Tensor:
        g = self.generator
        on = (torch.rand(n, len(self.atoms), generator=g) < self.odds).float()
        size = 0.5 + torch.empty(n, len(self.atoms)).exponential_(2.0, generator=g)
        common = torch.randn(n, len(self.dense), generator=g) @ self.dense
        return (on * size) @ self.atoms + common + self.offset + 0.05 * torch.randn(n, D, generator=g)

    def recovery(self, directions: torch.Tensor) -> float:
        """Mean over planted atoms of the largest cosine with any direction."""
        return (self.atoms @ directions.T).amax(1).mean().item()


@pytest.fixture(scope="module")
def planted() -> Planted:
    return Planted()


@pytest.fixture(scope="module")
def sample(planted) -> torch.Tensor:
    return planted.draw(24_000)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# ---- kernels -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kernels():
    if importlib.util.find_spec("triton") is None:
        pytest.skip("Triton is not installed (it comes with the CUDA builds of PyTorch)")
    if not torch.cuda.is_available() and os.environ.get("TRITON_INTERPRET") != "1":
        pytest.skip("no GPU; on a CPU set TRITON_INTERPRET=1 before Python starts")
    from biosae_utils.sae.training import kernels

    return kernels


@pytest.fixture(params=[(2, 4, 40, 96, 5), (1, 3, 24, 64, 8), (2, 2, 130, 150, 3)], ids=str)
def case(request):
    """Inputs of every product: S, B, d, F, k."""
    S, B, d, F, k = request.param
    g = torch.Generator().manual_seed(0)
    on = "cuda" if torch.cuda.is_available() else "cpu"

    def rand(*shape):
        return torch.randn(*shape, generator=g).to(on)

    W = torch.nn.functional.normalize(rand(S, F, d), dim=2)
    return {
        "shape": (S, B, d, F, k),
        "W": W,
        "low": W.bfloat16(),
        "xc": rand(S, B, d).bfloat16(),
        "pre": rand(S, B, F).bfloat16(),
        "bias": 0.1 * rand(S, F),
        "rand": rand,
        "on": on,
    }


@pytest.fixture
def outputs(case):
    """Empty outputs of a product by their names."""
    S, B, d, _, k = case["shape"]
    shapes = {"values": (S, B, k), "indices": (S, B, k), "error": (S, B, d), "to_values": (S, B, k), "squares": (S, B)}
    kinds = {"indices": torch.int32, "error": torch.bfloat16}

    def make(*names: str) -> list[torch.Tensor]:
        return [torch.zeros(shapes[n], dtype=kinds.get(n, torch.float32), device=case["on"]) for n in names]

    return make
