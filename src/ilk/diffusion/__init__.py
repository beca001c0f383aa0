"""Diffusion networks: one convention, pretraining, sampling and the diffusion classifier.

Nothing is imported here: torch takes seconds, so each part is asked for by its own name.
"""
