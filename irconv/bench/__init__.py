"""Measuring: our engines and others in one run of one process, and the memory each holds."""
