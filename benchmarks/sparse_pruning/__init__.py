"""Penalties before pruning a vision transformer."""
