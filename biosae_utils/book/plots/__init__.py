"""A small grammar of figures: a tidy table and the names of its columns in, a Plotly figure in the house's style out.

Every function takes, beside its own arguments, the options of `Look`: colours and names of values, titles, scales,
reference lines. `facet` gives each value of a column a panel of its own, `choice` a button. A figure is one call.
"""

from biosae_utils.book.plots.bars import bars
from biosae_utils.book.plots.canvas import Look
from biosae_utils.book.plots.distributions import boxes, histogram, violins
from biosae_utils.book.plots.forest import forest
from biosae_utils.book.plots.grids import heatmap
from biosae_utils.book.plots.lines import lines, points

__all__ = ["Look", "bars", "boxes", "forest", "heatmap", "histogram", "lines", "points", "violins"]
