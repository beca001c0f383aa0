"""Text-to-image networks on latents as classifiers: each class is described by its prompts.

No guidance is used: the network is called as it was trained (Alexander C. Li and others, 2023, Your
Diffusion Model is Secretly a Zero-Shot Classifier, arXiv 2303.16203). The predictions of several
prompts are averaged, one call per prompt; averaging text embeddings instead would mix tokens at
unrelated positions, which the network never saw in training.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ilk.core.errors import InputError
from ilk.diffusion.denoiser.external import ExternalDenoiser
from ilk.diffusion.diffusers import class_names
from ilk.diffusion.diffusers.families import SD3, CheckpointLayout
from ilk.diffusion.diffusers.latents import LatentEncoder
from ilk.diffusion.diffusers.load_options import LoadOptions
from ilk.diffusion.diffusers.parts import check_shape, load_network, read_square_size
from ilk.diffusion.diffusers.schedules import read_parameterization
from ilk.diffusion.diffusers.text import EncodedPrompts, TextEncoder, encode_prompts, format_prompts
from ilk.diffusion.diffusers.text_encoders import SD3TextEncoder, SDTextEncoder

UNSUPPORTED_CONDITIONS = (
    "addition_embed_type",
    "class_embed_type",
    "num_class_embeds",
    "encoder_hid_dim_type",
)


@dataclass(frozen=True, eq=False)
class TextToImageAdapter:
    """A network with its prompts: `(scaled [b, c, h, w], time [b], class index [b])`.

    Conditions are class indices; the prompt embeddings are fetched per batch.
    """

    model: Any
    shape: tuple[int, int, int]
    texts: EncodedPrompts

    def __call__(self, scaled: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        check_shape(scaled, self.shape)
        x = scaled.to(self.model.dtype)
        total = torch.zeros_like(scaled, dtype=torch.float32)
        for prompt in range(self.texts.n_prompts):
            arguments = self.texts.get_arguments(condition, prompt, x)
            total += self.model(x, timestep=time, return_dict=False, **arguments)[0].float()
        return total / self.texts.n_prompts


def build(layout: CheckpointLayout, options: LoadOptions) -> tuple[ExternalDenoiser, LatentEncoder]:
    """Build the network of `layout`, conditioned on the prompts of the classes.

    Raises:
        InputError: Classes or prompts are missing, or the network is of an unsupported kind.
    """
    known_classes = class_names.check_distinct(options.classes or ())
    prompts = format_prompts(known_classes, options.prompts)
    part, kind = ("transformer", "SD3Transformer2DModel") if layout.family == SD3 else (
        "unet", "UNet2DConditionModel"
    )  # fmt: skip
    shape = _read_shape(layout, part)
    latents = LatentEncoder(layout, shape, f"latents/{options.name}", options.device)
    encoder: TextEncoder = (
        SD3TextEncoder(layout, options) if layout.family == SD3 else SDTextEncoder(layout, options)
    )
    encoded = encode_prompts(encoder, prompts, options.store)
    model = load_network(layout, part, (kind,), options.precision, options.device)
    index = torch.arange(len(known_classes) + 1)
    adapter = TextToImageAdapter(model, shape, encoded)
    return ExternalDenoiser(
        adapter, read_parameterization(layout), shape, known_classes, index
    ), latents


def _read_shape(layout: CheckpointLayout, part: str) -> tuple[int, int, int]:
    """Return the shape that the network takes, checking that text is its only condition."""
    config, where = layout.read_config(part), layout.get_folder(part)
    for name in UNSUPPORTED_CONDITIONS:
        if config.get(name) is not None:
            raise InputError(
                f"{where} is conditioned on more than text ({name}), which is not supported"
            )
    channels = config.get("in_channels", 16 if layout.family == SD3 else 4)
    side = read_square_size(config, where, config.get("patch_size") or 1)
    if side // (config.get("patch_size") or 1) > config.get("pos_embed_max_size", side):
        raise InputError(
            f"{where} has position embeddings for {config['pos_embed_max_size']} patches per side, "
            f"but images of size {side} have more; correct sample_size in its config.json"
        )
    return channels, side, side
