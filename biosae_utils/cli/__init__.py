"""The `biosae` command: thin doors to the rooms. Heavy packages are imported by the command that needs them."""

from biosae_utils.cli import book, data, saes, sweep  # noqa: F401 (each adds its commands to `app`)
from biosae_utils.cli.app import app

__all__ = ["app"]
