"""Extraction against the published loop: one cell at a time, float32, eager attention, every layer copied to the host.

``python -m benchmarks.extract`` on a GPU takes the shape of Geneformer V2-316M with random weights (the time does not
depend on the weights); ``--device cpu`` takes the mini models of the demo. Both loops run in the same process, on the
same tokens.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
from pathlib import Path

import numpy as np
import torch

from benchmarks.common import Row, Timing, measure, print_rows, row, write_results
from biosae_utils.models.base import FoundationModel, ModelInfo, Tokens
from biosae_utils.models.geneformer import GeneDictionaries, Geneformer, random_bert
from biosae_utils.models.loading import freeze, pick_device, pick_dtype
from biosae_utils.sae.extract import sample_activations, stream_codes
from biosae_utils.sae.loop import Budget, device_report, map_batches
from biosae_utils.sae.positions import Layout
from biosae_utils.sae.topk import TopKSAE

# V2-316M as in its config.json
SHAPE = {
    "hidden_size": 1152,
    "num_hidden_layers": 18,
    "num_attention_heads": 18,
    "intermediate_size": 4608,
    "vocab_size": 20_275,
}
TINY = {
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 128,
    "vocab_size": 500,
}
TFLOPS = 790  # bf16 that an H100 SXM reaches in large products; the bound of 1.93 ms a cell comes from it
N_SAMPLE = 100_000


def random_geneformer(shape: dict[str, int], device: torch.device, dtype: torch.dtype) -> Geneformer:
    """The package's own Geneformer around random weights, with a vocabulary of numbered genes."""
    from transformers import BertConfig

    config = BertConfig(**shape, max_position_embeddings=4096, hidden_act="relu", attn_implementation="sdpa")
    special = ["<pad>", "<mask>", "<cls>", "<eos>"]
    names = np.array([*special, *(f"G{i}" for i in range(shape["vocab_size"] - len(special)))])
    dictionaries = GeneDictionaries({name: i for i, name in enumerate(names)}, {}, {}, {}, Path())
    layers, width = shape["num_hidden_layers"], shape["hidden_size"]
    info = ModelInfo("random", "geneformer", "random-weights", layers, width, 4096, names, names, (0, 1, 2, 3))
    return Geneformer(freeze(random_bert(config, 0)[0], device, dtype), info, dictionaries)


def random_tokens(n_cells: int, length: int, n_vocab: int) -> Tokens:
    """Cells of equal length, ``<cls>`` and ``<eos>`` included."""
    ids = np.random.default_rng(0).integers(4, n_vocab, (n_cells, length), dtype=np.int32)
    ids[:, 0], ids[:, -1] = 2, 3
    return Tokens(ids.ravel(), None, np.arange(n_cells + 1, dtype=np.int64) * length)


def flops_per_cell(shape: dict[str, int], length: int) -> float:
    """Multiply-adds, counted twice, of all blocks: projections and feed-forward, then the two attention products."""
    d, ffn, layers = shape["hidden_size"], shape["intermediate_size"], shape["num_hidden_layers"]
    return layers * (2 * length * (4 * d * d + 2 * d * ffn) + 4 * length * length * d)


def ceiling(device: torch.device, n: int = 8192) -> float:
    """TFLOP/s of a large bf16 product on this device, now."""
    a, b = (torch.randn(n, n, device=device, dtype=torch.bfloat16) for _ in range(2))
    return 2 * n**3 * 10 / measure(lambda: [a @ b for _ in range(10)], 3, device=device).median / 1e12


def naive_bert(net: torch.nn.Module, tokens: Tokens, cells: range, device: torch.device) -> list[np.ndarray]:
    """The published loop: a full forward pass a cell, head included, and all layers to the host."""
    kept = []
    for cell in cells:
        ids = torch.from_numpy(tokens.ids[tokens.offsets[cell] : tokens.offsets[cell + 1]].astype(np.int64))[None].to(
            device
        )
        with torch.no_grad():
            out = net(input_ids=ids, attention_mask=torch.ones_like(ids), output_hidden_states=True)
        kept = [state[0, 1:-1].cpu().numpy() for state in out.hidden_states[1:]]
    return kept


def naive_blocks(model: FoundationModel, tokens: Tokens, cells: range) -> list[np.ndarray]:
    """The same loop for a model that transformers does not have."""
    kept = []
    for cell in cells:
        with torch.no_grad():
            kept = [state[0].cpu().numpy() for state in model.hidden(model.collate(tokens, [cell])).values()]
    return kept


def time_naive(model: FoundationModel, tokens: Tokens, n_cells: int, runs: int, device: torch.device) -> Timing:
    """The published loop over the first cells, in float32, with eager attention where transformers has the model."""
    if not isinstance(model, Geneformer):
        return measure(lambda: naive_blocks(model, tokens, range(n_cells)), runs, device=device)
    net = copy.deepcopy(model.net).to(device, torch.float32)
    net.set_attn_implementation("eager")
    return measure(lambda: naive_bert(net, tokens, range(n_cells), device), runs, device=device)


def gpu(args: argparse.Namespace, device: torch.device) -> list[Row]:
    """The 316 M shape: a sample, all layers without a sink, and the codes of all positions."""
    shape = TINY if args.tiny else SHAPE
    model = random_geneformer(shape, device, pick_dtype("auto", device))
    tokens = random_tokens(args.cells, args.length, shape["vocab_size"])
    layout, layers = Layout(tokens, model.info), list(range(model.info.n_layers))
    tera = ceiling(device, 512 if args.tiny else 8192)
    flops = flops_per_cell(shape, args.length)
    bound = flops / TFLOPS / 1e9
    print(f"{flops / 1e12:.2f} TFLOP a cell, {bound:.2f} ms at {TFLOPS} TFLOP/s; now this device reaches {tera:.0f}")

    naive = time_naive(model, tokens, args.naive_cells, args.runs, device)
    name = "one cell at a time, fp32, eager, all layers to host"
    against = {"reference": naive, "reference_name": name, "reference_per": args.naive_cells, "unit": "ms a cell"}
    memory = peak(device, "the published loop beside the model")

    def forward(tokens: Tokens = tokens) -> None:
        budget = Budget(model.info, device, args.max_tokens)
        for _ in map_batches(model, tokens, np.arange(tokens.n_cells), lambda b: model.hidden(b, layers), budget):
            pass

    def sample() -> None:
        sample_activations(model, tokens, wanted, max_tokens=args.max_tokens)

    wanted = np.sort(np.random.default_rng(0).choice(len(layout), min(N_SAMPLE, len(layout) // 2), replace=False))
    some = tokens_head(tokens, args.code_cells)
    forward(some)
    plain, kept = (measure(work, args.runs, warm=0, device=device) for work in (forward, sample))
    rows = [
        row("forward, all layers, nothing kept", plain, **against, per=args.cells, bound=bound),
        row(f"forward, {len(wanted):,} positions of all layers kept", kept, **against, per=args.cells, bound=bound),
    ]
    memory += peak(device, "forward and sample")
    d = model.info.d_model
    saes = {layer: TopKSAE(d, 4 * d, 32, seed=layer).requires_grad_(False).to(device) for layer in layers}

    def codes() -> None:
        with tempfile.TemporaryDirectory() as folder:
            stream_codes(
                model, saes, some, {layer: Path(folder) / str(layer) for layer in layers}, max_tokens=args.max_tokens
            )

    done = measure(codes, args.runs, warm=0, device=device)
    case = f"codes of all positions, {len(layers)} SAEs d -> 4 d, k 32, on disk"
    rows.append(row(case, done, None, "", per=args.code_cells, unit="ms a cell"))
    memory += peak(device, "codes")
    for tokens_a_batch in args.sweep:
        args.max_tokens = tokens_a_batch
        timing = measure(forward, 1, device=device)
        print(f"batch of {tokens_a_batch:,} tokens: {timing.median / args.cells * 1e3:.2f} ms a cell")
    product = Row("large bf16 product, for comparison", tera, None, "", None, None, "TFLOP/s", 3, 0.0)
    return [*rows, *memory, product]


def cpu(args: argparse.Namespace, device: torch.device) -> list[Row]:
    """The demo's models on its own cells."""
    from biosae_utils.cells.data import open_cells
    from biosae_utils.models.registry import load_model
    from biosae_utils.sae.positions import tokenise

    rows = []
    for directory in sorted(Path(args.models).iterdir()):
        model = load_model(directory, device="cpu")
        cells = open_cells(args.data)
        tokens = tokenise(cells, np.random.default_rng(0).choice(cells.n_cells, args.cells, replace=False), model)
        layout = Layout(tokens, model.info)
        wanted = np.sort(np.random.default_rng(0).choice(len(layout), len(layout) // 10, replace=False))
        ours = measure(lambda: sample_activations(model, tokens, wanted), args.runs)  # noqa: B023
        naive = time_naive(model, tokens, args.naive_cells, args.runs, device)
        rows.append(
            row(
                f"{model.info.name}, a tenth of the positions of all layers kept",
                ours,
                naive,
                "one cell at a time, all layers copied",
                per=float(tokens.offsets[-1]) / 1e3,
                reference_per=float(tokens.offsets[args.naive_cells]) / 1e3,
                unit="ms per 1,000 tokens",
            )
        )
    return rows


def tokens_head(tokens: Tokens, n: int) -> Tokens:
    """The first n cells."""
    stop = tokens.offsets[min(n, tokens.n_cells)]
    return Tokens(tokens.ids[:stop], None, tokens.offsets[: min(n, tokens.n_cells) + 1])


def peak(device: torch.device, what: str) -> list[Row]:
    """A row with the most memory allocated since the last call; none on a CPU."""
    if device.type != "cuda":
        return []
    gib = torch.cuda.max_memory_allocated(device) / 2**30
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    return [Row(f"peak memory, {what}", gib, None, "", None, None, "GiB", 1, 0.0)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--cells", type=int, help="cells for our loop (2,000 on a GPU, 100 on a CPU)")
    parser.add_argument("--code-cells", type=int, default=512, help="cells whose codes are written")
    parser.add_argument("--naive-cells", type=int, default=10, help="cells for the published loop")
    parser.add_argument("--length", type=int, default=2048, help="tokens a cell (GPU)")
    parser.add_argument("--max-tokens", type=int, help="padded tokens a batch; found from free memory by default")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--sweep", type=int, nargs="*", default=[], help="also time these batch sizes in tokens")
    parser.add_argument("--random", action="store_true", help="the GPU's benchmark whatever the device is")
    parser.add_argument("--tiny", action="store_true", help="a tiny shape: does it run? (implies --random)")
    parser.add_argument("--models", default="data/demo/models", help="folder of models (CPU)")
    parser.add_argument("--data", default="data/demo/pbmc_ifnb.h5ad", help="cells (CPU)")
    args = parser.parse_args()
    device = pick_device(args.device)
    args.random |= args.tiny
    random = args.random or device.type == "cuda"
    args.cells = args.cells or (2000 if random else 100)
    print(device_report(device))
    rows = gpu(args, device) if random else cpu(args, device)
    print_rows(device, rows)
    if not args.tiny:
        write_results("extract", device, rows)


if __name__ == "__main__":
    main()
