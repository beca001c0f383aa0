"""A tiny diffusion model of ilk with random weights, as a classifier."""

from helpers.encoder_examples.diffusion import save_model


def make(folder, monkeypatch):
    return f"diffusion-classifier:{save_model(folder / 'model')}@strategy=naive,levels=2"
