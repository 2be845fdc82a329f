"""Training of SAEs: one layer on a CPU, or all layers stacked on a GPU."""
