"""The parts of the ONNX importer: wire format, validation, raising, re-batching."""
