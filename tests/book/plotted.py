"""Tables that tests of figures draw, and how they find what was drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

GROUPS = pd.DataFrame(
    {
        "layer": ["layer 0", "layer 0", "layer 1", "layer 1"],
        "which": ["real", "chance", "real", "chance"],
        "share": [0.6, 0.2, 0.5, 0.1],
        "low": [0.5, np.nan, 0.4, np.nan],
        "high": [0.7, np.nan, 0.7, np.nan],
        "matched": [0.3, np.nan, 0.3, np.nan],
    }
)
CURVES = pd.DataFrame(
    {
        "x": np.tile([1.0, 10.0, 100.0], 4),
        "y": np.linspace(0.1, 0.9, 12),
        "kind": np.repeat(["a", "b"], 6),
        "layer": np.tile(np.repeat([0, 1], 3), 2),
    }
)


def traces(fig: Any, name: str) -> list[Any]:
    """Traces of that name."""
    return [t for t in fig.data if t.name == name]
