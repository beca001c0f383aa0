"""Tuning a denoiser so that its errors tell classes apart."""
