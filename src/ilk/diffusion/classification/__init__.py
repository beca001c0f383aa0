"""Strategies that turn denoising errors into a class."""
