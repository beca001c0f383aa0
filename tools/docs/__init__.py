"""Generators of the documentation: pages, plots and the picture of the architecture."""
