"""Diffusion models on disk: weights, paths and the images they were trained on."""
