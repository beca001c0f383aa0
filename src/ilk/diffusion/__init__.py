"""Diffusion networks: denoisers, pretraining, sampling and the diffusion classifier.

Nothing is imported here, because importing torch takes seconds.
"""
