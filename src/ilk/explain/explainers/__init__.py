"""Explainers, one file each, found by file; see `ilk.explain.contract`."""
