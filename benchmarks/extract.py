"""Extraction against the published loop: one cell at a time, float32, eager attention, every layer copied to the host.

``python -m benchmarks.extract`` on a GPU takes the shape of Geneformer V2-316M with random weights (the time does not
depend on the weights); ``--device cpu`` takes the mini models of the demo. Both loops run in the same process, on the
same tokens.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.common import Row, measure, print_rows, row, write_results
from biosae_utils.models.base import FoundationModel, ModelInfo, Tokens
from biosae_utils.models.geneformer import GeneDictionaries, Geneformer, random_bert
from biosae_utils.models.loading import freeze, pick_device, pick_dtype
from biosae_utils.models.scgpt import ScGPT
from biosae_utils.sae.batching import Budget, device_report, map_batches
from biosae_utils.sae.extract import sample_activations, stream_codes
from biosae_utils.sae.positions import Layout
from biosae_utils.sae.sparse_ops import cpu_has_bf16
from biosae_utils.sae.topk import TopKSAE
from biosae_utils.sae.training.run import TrainConfig, train_stacked

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
PUBLISHED = {
    "geneformer": "published loop: a cell at a time, fp32, eager attention, all layers to host",
    "scgpt": "published loop: a cell at a time, padded to the longest, fp32, all layers to host",
}


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


def chain(model: Geneformer, tokens: Tokens, args: argparse.Namespace, device: torch.device) -> list[Row]:
    """Once from tokens to trained SAEs to the codes of all positions on disk, all layers, and what it wrote."""
    layers, d = list(range(model.info.n_layers)), model.info.d_model
    n = len(Layout(tokens, model.info))
    wanted = np.sort(np.random.default_rng(1).choice(n, min(args.train_rows, n), replace=False))
    config = TrainConfig(expansion=4, k=32, steps=20 if args.tiny else 1221, batch_size=4096)
    seconds: dict[str, float] = {}

    @contextmanager
    def part(name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds[name] = time.perf_counter() - start

    with part(f"{len(wanted):,} positions"):
        sample = sample_activations(model, tokens, wanted)
    with part("  kernels compiled, once a machine, not counted"):
        some = {layer: x[: config.batch_size] for layer, x in sample.items()}
        train_stacked(some, replace(config, steps=20, dead_after=1), device=device)
    with part(f"{len(layers)} SAEs, {config.steps} steps of {config.batch_size:,}"):
        trained = train_stacked(sample, config, device=device)
    del sample
    saes = {layer: results[0].sae for layer, results in trained.items()}
    with tempfile.TemporaryDirectory() as folder:
        with part(f"codes of {n:,} positions"):
            stream_codes(model, saes, tokens, {layer: Path(folder) / str(layer) for layer in layers})
        written = sum(f.stat().st_size for f in Path(folder).rglob("*") if f.is_file())
    whole = f"tokens to SAEs to codes, {tokens.n_cells:,} cells, {len(layers)} layers, d_sae {4 * d}"
    counted = sum(value for name, value in seconds.items() if "not counted" not in name)
    rows = [Row(whole, counted, None, "", None, None, "s", 1, 0.0)]
    rows += [Row(f"  {name}", value, None, "", None, None, "s", 1, 0.0) for name, value in seconds.items()]
    return [*rows, Row("  written", written / 1e9, None, "", None, None, "GB", 1, 0.0)]


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


def naive_scgpt(model: ScGPT, encoder: nn.TransformerEncoder, tokens: Tokens, cells: range) -> list[np.ndarray]:
    """The published loop for scGPT: each cell padded to the longest length, PyTorch's own encoder, a hook a layer."""
    kept: list[np.ndarray] = []
    hooks = [layer.register_forward_hook(lambda _, __, out: kept.append(out[0].numpy())) for layer in encoder.layers]
    for cell in cells:
        kept.clear()
        batch = model.collate(tokens, [cell])
        fill = (0, model.info.max_len - batch.ids.shape[1])
        ids = nn.functional.pad(batch.ids, fill, value=model.pad_id)
        values = nn.functional.pad(batch.values, fill, value=model.pad_value)
        with torch.no_grad():
            final = encoder(
                model.embed(replace(batch, ids=ids, values=values)), src_key_padding_mask=ids == model.pad_id
            )
            model.net.decoder.fc(final)
    for hook in hooks:
        hook.remove()
    return kept


def naive_loop(model: FoundationModel, tokens: Tokens, n_cells: int, device: torch.device) -> Callable[[], object]:
    """The published loop of the model's family over the first cells, in float32."""
    if isinstance(model, Geneformer):
        net = copy.deepcopy(model.net).to(device, torch.float32)
        net.set_attn_implementation("eager")
        return lambda: naive_bert(net, tokens, range(n_cells), device)
    block = model.net.transformer_encoder.layers[0]
    layer = nn.TransformerEncoderLayer(
        model.info.d_model, block.self_attn.n_heads, block.linear1.out_features, batch_first=True
    )
    encoder = nn.TransformerEncoder(layer, model.info.n_layers, enable_nested_tensor=False).eval()
    encoder.load_state_dict(model.net.transformer_encoder.state_dict())
    return lambda: naive_scgpt(model, encoder, tokens, range(n_cells))


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

    naive = measure(naive_loop(model, tokens, args.naive_cells, device), args.runs, device=device)
    name = PUBLISHED[model.info.family]
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
    rows += chain(model, tokens, args, device)
    memory += peak(device, "the whole chain")
    for tokens_a_batch in args.sweep:
        args.max_tokens = tokens_a_batch
        timing = measure(forward, 1, device=device)
        print(f"batch of {tokens_a_batch:,} tokens: {timing.median / args.cells * 1e3:.2f} ms a cell")
    product = Row("large bf16 product, for comparison", tera, None, "", None, None, "TFLOP/s", 3, 0.0)
    return [*rows, *memory, product]


def cpu(args: argparse.Namespace, device: torch.device) -> list[Row]:
    """The demo's models on its own cells: in float32, and in bfloat16 where the CPU multiplies that in hardware."""
    from biosae_utils.cells.data import open_cells
    from biosae_utils.models.registry import load_model
    from biosae_utils.sae.positions import tokenise

    rows, cells = [], open_cells(args.data)
    chosen = np.random.default_rng(0).choice(cells.n_cells, args.cells, replace=False)
    for directory in sorted(Path(args.models).iterdir()):
        models = {dtype: load_model(directory, device="cpu", dtype=dtype) for dtype in ("float32", "bfloat16")}
        model = models["float32"]
        tokens = tokenise(cells, chosen, model)
        layout = Layout(tokens, model.info)
        wanted = np.sort(np.random.default_rng(0).choice(len(layout), len(layout) // 10, replace=False))
        naive = measure(naive_loop(model, tokens, args.naive_cells, device), args.runs)
        kept: dict[str, dict[int, np.ndarray]] = {}
        for dtype, ours in models.items():
            if dtype == "bfloat16" and not cpu_has_bf16():
                continue

            def work(dtype: str = dtype, ours: FoundationModel = ours) -> None:
                kept[dtype] = sample_activations(ours, tokens, wanted)  # noqa: B023

            seconds = measure(work, args.runs)
            rows.append(
                row(
                    f"{model.info.name}, {dtype}, a tenth of the positions of all layers kept",
                    seconds,
                    naive,
                    PUBLISHED[model.info.family],
                    per=float(tokens.offsets[-1]) / 1e3,
                    reference_per=float(tokens.offsets[args.naive_cells]) / 1e3,
                    unit="ms per 1,000 tokens",
                )
            )
        if "bfloat16" in kept:
            worst = max(difference(kept["bfloat16"][layer], kept["float32"][layer]) for layer in kept["float32"])
            case = f"{model.info.name}, bfloat16 against float32, relative difference of the worst layer"
            rows.append(Row(case, 100 * worst, None, "", None, None, "%", 1, 0.0))
    return rows


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """Norm of the difference over the norm of b's spread about its mean."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    return float(np.linalg.norm(a - b) / np.linalg.norm(b - b.mean(axis=0)))


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
    parser.add_argument("--train-rows", type=int, default=300_000, help="positions that the SAEs are trained on (GPU)")
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
