"""Expressions that write ONNX nodes, formulas and geometry made of them, and who writes what."""
