"""Subsets that stand for a data set: images selected by use, and condensed images."""
