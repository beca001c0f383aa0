"""Smaller networks: pruning, 8 bits, fusion, and what each costs."""
