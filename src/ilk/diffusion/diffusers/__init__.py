"""Checkpoints in the format of the diffusers library, each opened as a `Denoises`.

diffusers and transformers are imported only when a checkpoint is opened.
"""

from ilk.diffusion.diffusers.latents import LatentEncoder
from ilk.diffusion.diffusers.load import LoadedCheckpoint, fetch_checkpoint, open_checkpoint

__all__ = ["LatentEncoder", "LoadedCheckpoint", "fetch_checkpoint", "open_checkpoint"]
