"""One module a phase: its parameters, what it computes, and the declaration from which all else is derived."""
