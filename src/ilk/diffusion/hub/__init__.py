"""Checkpoints in the format of the diffusers library, each opened as a `Denoises`.

diffusers and transformers are imported when a checkpoint is opened, never before.
"""

from ilk.diffusion.hub.latents import Latents
from ilk.diffusion.hub.open import Opened, fetched, open_folder, open_repo

__all__ = ["Latents", "Opened", "fetched", "open_folder", "open_repo"]
