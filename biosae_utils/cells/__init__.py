"""Cells in: checked counts, cohorts, splits, downloads, planted data."""
