"""A tiny diffusion model of ilk with random weights."""

import torch

from ilk.diffusion.checkpoint import checkpoint


def save_model(folder):
    """Save the model; the classes are `a` and `b`, the images grey and 8 x 8."""
    spec = checkpoint.DenoiserSpec((1, 8, 8), ("a", "b"), 0.6, (0.05, 20.0), options={"width": 8})
    torch.manual_seed(0)
    denoiser = spec.build()
    with torch.no_grad():
        for weight in denoiser.parameters():
            weight += 0.1 * torch.randn_like(weight)
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint.save(denoiser, spec, folder)
    return folder


def make(folder, monkeypatch):
    return f"diffusion:{save_model(folder / 'model')}"
