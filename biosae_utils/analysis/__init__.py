"""One analysis a file; every control lives in ``nulls``."""
