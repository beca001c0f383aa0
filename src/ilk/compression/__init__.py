"""Smaller networks: pruning, quantization to 8 bits, fusion, and their cost in accuracy."""
