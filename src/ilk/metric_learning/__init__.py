"""Embeddings that are learned from labels, and judged on classes that were held out."""
