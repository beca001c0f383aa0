"""Sampling images, and evaluations that use generated images."""
