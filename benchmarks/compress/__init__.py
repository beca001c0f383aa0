"""Compression of a saved classifier: 8 bits and pruned channels."""
