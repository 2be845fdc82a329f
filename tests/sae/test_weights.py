"""Weights from elsewhere are checked one by one, and conventions are turned into ours without changing the output."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from biosae_utils.errors import BiosaeError
from biosae_utils.sae import weights

WHERE = Path("sae.safetensors")


def tensors() -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    shapes = {"W_enc": (4, 6), "b_enc": (6,), "W_dec": (6, 4), "b_dec": (4,)}
    return {name: torch.randn(shape, generator=g) for name, shape in shapes.items()}


SHAPES = {name: tuple(value.shape) for name, value in tensors().items()}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t.pop("b_dec"), "b_dec"),
        (lambda t: t.update(W_enc=torch.zeros(4, 5)), "W_enc"),
        (lambda t: t.update(b_enc=torch.full((6,), float("nan"))), "b_enc"),
        (lambda t: t.update(W_skip=torch.zeros(4, 4)), "W_skip"),
    ],
)
def test_what_is_missing_misshapen_infinite_or_extra_is_named(change, says):
    wrong = tensors()
    change(wrong)
    with pytest.raises(BiosaeError, match=says):
        weights.checked(wrong, SHAPES, WHERE)
    assert set(weights.checked(tensors(), SHAPES, WHERE)) == set(SHAPES)


def test_damaged_and_missing_files_are_one_sentence(tmp_path):
    (tmp_path / "x").write_bytes(b"no tensors")
    for read in (weights.read_safetensors, weights.read_torch):
        with pytest.raises(BiosaeError, match="damaged"):
            read(tmp_path / "x")
        with pytest.raises(BiosaeError, match=r"missing|no such checkpoint"):
            read(tmp_path / "absent")


def test_unit_rows_and_centring_keep_the_reconstruction():
    ours, x = tensors(), torch.randn(10, 4, generator=torch.Generator().manual_seed(1))
    pre = x @ ours["W_enc"] + ours["b_enc"]
    centred = weights.with_centring(ours)
    torch.testing.assert_close((x - centred["b_dec"]) @ centred["W_enc"] + centred["b_enc"], pre)
    unit = weights.with_unit_rows(ours)
    torch.testing.assert_close(unit["W_dec"].norm(dim=1), torch.ones(6))
    codes = torch.relu(x @ unit["W_enc"] + unit["b_enc"])
    torch.testing.assert_close(codes @ unit["W_dec"], torch.relu(pre) @ ours["W_dec"])


def test_a_threshold_that_must_be_passed_is_not_reached_by_itself():
    edge = torch.tensor([0.5, -1.0])
    above = weights.strictly_above(edge)
    assert (above > edge).all() and not (edge >= above).any()


def test_shapes_are_read_from_matrices_only():
    assert weights.shape_of(tensors(), "W_dec", WHERE) == (6, 4)
    with pytest.raises(BiosaeError, match="W_none is missing"):
        weights.shape_of(tensors(), "W_none", WHERE)
