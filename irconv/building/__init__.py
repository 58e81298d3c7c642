"""The parts of the builder: handles, layers, shared weights, initial weights."""
