"""Denoising errors per image, class and noise level."""
