"""What every family needs to load a checkpoint that somebody else wrote: devices, safe files, checked weights."""

from __future__ import annotations

import json
import pickle
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from biosae_utils.errors import BiosaeError

DEVICE_NAME = re.compile(r"(auto|cpu|mps|cuda(:\d+)?)")


def pick_device(device: str = "auto") -> torch.device:
    """The device to compute on: ``cuda`` before ``mps`` before ``cpu`` when asked for ``auto``.

    Raises
    ------
    BiosaeError
        The name is unknown, or the device is not there.
    """
    if not DEVICE_NAME.fullmatch(device):
        raise BiosaeError(f"Unknown device {device!r}", do="use auto, cpu, mps, cuda or cuda:N")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    picked = torch.device(device)
    present = {"cpu": 1, "mps": int(torch.backends.mps.is_available()), "cuda": torch.cuda.device_count()}
    if (picked.index or 0) >= present[picked.type]:
        raise BiosaeError(f"Device {device!r} is not available here", do="use device=auto")
    return picked


def pick_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """Parameter type: bfloat16 on CUDA, float32 elsewhere, unless named."""
    if dtype == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    try:
        return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[dtype]
    except KeyError:
        raise BiosaeError(f"Unknown dtype {dtype!r}", do="use auto, float32, bfloat16 or float16") from None


def read_settings(path: Path, required: tuple[str, ...] = ()) -> dict:
    """Read a JSON object from a checkpoint and check that it holds the `required` keys."""
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as e:
        raise BiosaeError("A file of the checkpoint is missing", where=str(path), do="fetch the model again") from e
    except ValueError as e:
        raise BiosaeError(f"A file of the checkpoint is not JSON ({e})", where=str(path), do="fetch it again") from e
    if not isinstance(settings, dict):
        raise BiosaeError("A JSON object was expected", where=str(path), do="fetch the model again")
    if missing := [key for key in required if key not in settings]:
        raise BiosaeError(f"Settings lack {', '.join(missing)}", where=str(path), do="fetch the model again")
    return settings


def read_weights(directory: Path, names: tuple[str, ...]) -> tuple[dict[str, Tensor], Path]:
    """Read the first of `names` that exists; returns its tensors and its path.

    Only tensors are read: safetensors, or ``torch.load`` with ``weights_only=True``. No code in the file can run.
    """
    path = next((directory / name for name in names if (directory / name).is_file()), None)
    if path is None:
        raise BiosaeError(
            f"No weights: none of {', '.join(names)} is there", where=str(directory), do="fetch the model"
        )
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path), path
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as e:
        reason = str(e).splitlines()[0]
        raise BiosaeError(f"The weights hold more than tensors and were refused ({reason})", where=str(path)) from e
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, zipfile.BadZipFile) as e:
        raise BiosaeError(
            f"The weights cannot be read ({e})", where=str(path), do="delete the file and fetch it"
        ) from e
    except Exception as e:  # safetensors raises its own class straight from Exception
        if type(e).__name__ != "SafetensorError":
            raise
        raise BiosaeError(
            f"The weights are truncated or damaged ({e})", where=str(path), do="fetch the file again"
        ) from e
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise BiosaeError("The weights file is not a plain state dict of tensors", where=str(path))
    return state, path


def check_weights(
    state: Mapping[str, Tensor], expected: Mapping[str, torch.Size], unneeded: tuple[str, ...], where: Path
) -> None:
    """Refuse a state dict unless it fits: every expected key, its shape, finite values, and no key without a name here.

    Parameters
    ----------
    state : mapping of str to Tensor
        What the file holds, after renaming.
    expected : mapping of str to torch.Size
        What the model needs.
    unneeded : tuple of str
        Prefixes of keys that may be there and are not used.
    where : Path
        File named in errors.
    """
    if missing := [key for key in expected if key not in state]:
        raise BiosaeError(
            f"The weights lack {some(missing)}", where=str(where), do="check that config and weights belong together"
        )
    if unknown := [key for key in state if key not in expected and not key.startswith(unneeded)]:
        raise BiosaeError(
            f"The weights hold unexpected {some(unknown)}", where=str(where), do="this is another architecture"
        )
    for key, shape in expected.items():
        if state[key].shape != shape:
            raise BiosaeError(
                f"{key} has shape {tuple(state[key].shape)}, but config and vocabulary ask for {tuple(shape)}",
                where=str(where),
                do="use the config, vocabulary and weights of one and the same model",
            )
        if not torch.isfinite(state[key]).all():
            raise BiosaeError(f"{key} holds NaN or infinite values", where=str(where), do="fetch the file again")


def some(names: list[str], limit: int = 4) -> str:
    """The first few names, and how many more there are."""
    rest = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {rest} more" if rest > 0 else "")


@contextmanager
def seeded_init(seed: int) -> Iterator[None]:
    """Initialise modules from `seed` without touching the caller's random state."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def freeze(net: nn.Module, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """Put a network on its device for inference: evaluation mode, no gradients for weights."""
    return net.to(device=device, dtype=dtype).eval().requires_grad_(False)
