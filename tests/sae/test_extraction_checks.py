"""The checks before an extraction is trusted, and that they can fail."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from biosae_utils.sae.extraction_checks import layer_checks, masked_loss, zero_edit_gap

CELLS = np.array([0, 1, 2, 3])


def test_resuming_unedited_changes_nothing_and_an_edit_is_seen(tiny_model, tiny_tokens):
    assert zero_edit_gap(tiny_model, tiny_tokens, CELLS, [0, 1, 2]) == {0: 0.0, 1: 0.0, 2: 0.0}
    edited = zero_edit_gap(tiny_model, tiny_tokens, CELLS, [0, 1, 2], edit=0.01)
    assert min(edited.values()) > 1e-5


def test_a_resume_that_skips_a_block_is_caught(tiny_model, tiny_tokens, monkeypatch):
    resume = tiny_model.resume
    monkeypatch.setattr(tiny_model, "resume", lambda h, layer, batch: resume(h, min(layer + 1, 2), batch))
    gaps = zero_edit_gap(tiny_model, tiny_tokens, CELLS, [0, 1, 2])
    assert gaps[0] > 1e-3 and gaps[1] > 1e-3 and gaps[2] == 0


def test_layer_checks_hold_for_a_right_model(tiny_model, tiny_tokens):
    table = layer_checks(tiny_model, tiny_tokens, CELLS)
    assert (table.resumed == 0).all() and (table.stopped == 0).all()
    assert (table.edited > 1e-5).all() and (table.alone < 1e-5).all()


def test_attention_to_padding_is_caught(tiny_model, tiny_tokens, monkeypatch):
    block = tiny_model.block
    monkeypatch.setattr(tiny_model, "block", lambda layer, state, attend: block(layer, state, None))
    assert layer_checks(tiny_model, tiny_tokens, CELLS).alone.max() > 1e-3


def test_masked_loss_equals_a_loop_over_cells(tiny_model, tiny_tokens):
    cells = np.array([9, 0, 3, 7])  # 7 is empty: nothing can be hidden
    got = masked_loss(tiny_model, tiny_tokens, cells, rate=0.3, seed=2)
    assert np.isnan(got[3])
    for cell, value in zip(cells[:3], got[:3], strict=True):
        batch, where = tiny_model.mask(tiny_model.collate(tiny_tokens, [cell]), 0.3, seed=2)
        with torch.inference_mode():
            final = tiny_model.hidden(batch, [2])[2]
            assert float(tiny_model.loss(final, batch, where).mean()) == pytest.approx(value, abs=1e-4)
