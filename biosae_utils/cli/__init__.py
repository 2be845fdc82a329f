"""The `biosae` command: thin doors to the rooms. Heavy packages are imported by the command that needs them."""

import warnings

warnings.simplefilter(
    "ignore"
)  # PYTHONWARNINGS=error is a setting for a user's own code; here it would end in tracebacks

from biosae_utils.cli import book, data, saes, sweep  # noqa: E402, F401 (each adds its commands to `app`)
from biosae_utils.cli.app import app  # noqa: E402

__all__ = ["app"]
