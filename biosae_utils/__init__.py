"""Small package under the book *What single-cell foundation models know*.

Five rooms, in the order in which data flows; imports point from later rooms to earlier ones, never back:

``cells`` -> ``models`` -> ``sae`` -> ``analysis`` -> ``book``
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("biosae-book")
except PackageNotFoundError:  # run from a bare checkout, as on a GPU machine without an install
    __version__ = "0.0.0+checkout"
