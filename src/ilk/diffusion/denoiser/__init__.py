"""The denoiser protocol and the networks wrapped to satisfy it."""
