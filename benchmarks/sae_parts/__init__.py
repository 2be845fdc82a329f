"""Parts of ``benchmarks.sae``: data with known directions, the published trainer, the peers, the GPU run."""
