"""The size of the work is read from the checkpoint's own configuration, without loading it."""

from __future__ import annotations

import json
from pathlib import Path

from biosae_utils.phases.size import size_of


def test_both_families_and_what_is_not_there(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    numbers = {"cells": 100, "layers": 3, "expansion": 4, "k": 32}
    Path("bert").mkdir()
    Path("bert/config.json").write_text(json.dumps({"hidden_size": 1152, "max_position_embeddings": 4096}))
    size = size_of("bert", **numbers)
    assert (size.positions, size.d_model, size.d_sae, size.layers) == (409_600, 1152, 4608, 3)
    folder = Path("data/fetched/scgpt-human")
    folder.mkdir(parents=True)
    (folder / "args.json").write_text(json.dumps({"embsize": 512, "max_seq_len": 1200}))
    assert size_of("scgpt-human", **numbers).d_model == 512
    assert size_of("not-here", **numbers).positions == 0
    Path("bert/config.json").write_text("{")
    assert size_of("bert", **numbers).d_model == 0
