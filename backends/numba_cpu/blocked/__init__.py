"""Kernels on tensors whose channels lie in blocks of one vector, with zeros around each image."""
