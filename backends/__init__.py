"""The backends: one folder each, found by its name."""
