"""Encoders as ONNX operators: one file per family, found by the class of the encoder."""
