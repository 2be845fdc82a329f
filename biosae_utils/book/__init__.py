"""From a phase to a page: runner, page helpers, figures, rendering."""
