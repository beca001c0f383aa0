"""Pretraining a diffusion model on a folder of images."""
