"""Looking at what the passes did: stages, costs, numerics."""
