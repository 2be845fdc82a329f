"""The one exception that users are meant to read."""

from __future__ import annotations


class BiosaeError(ValueError):
    """Bad input, said in one message: what is wrong, where, and what to do.

    Parameters
    ----------
    what : str
        What is wrong, in one sentence.
    where : str, optional
        File, column, parameter or layer in which it was found.
    do : str, optional
        What the user can do about it.
    """

    def __init__(self, what: str, *, where: str = "", do: str = "") -> None:
        self.what, self.where, self.do = what, str(where), do
        parts = [what if what.endswith("?") else what.rstrip(".") + "."]
        if where:
            parts.append(f"Where: {where}.")
        if do:
            parts.append(f"What to do: {do.rstrip('.')}.")
        super().__init__(" ".join(parts))
