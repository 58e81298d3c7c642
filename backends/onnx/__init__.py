"""Exports a graph in any form as an ONNX file, and runs it with onnxruntime."""

from __future__ import annotations

from irconv.backends.onnx.program import Onnx

__all__ = ["Onnx"]
