"""Denoising networks: a U-Net and a diffusion transformer."""
