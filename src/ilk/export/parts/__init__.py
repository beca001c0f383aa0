"""Saved parts as ONNX operators: one file per family of parts, found by their `kind`."""
