"""Class-conditional diffusion transformers on latents.

William Peebles and Saining Xie, 2023, Scalable Diffusion Models with Transformers,
arXiv 2212.09748. The second half of the output channels is a learned variance and is ignored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ilk.core.errors import InputError
from ilk.diffusion.denoiser.external import ExternalDenoiser
from ilk.diffusion.diffusers import class_names
from ilk.diffusion.diffusers.families import INDEX, CheckpointLayout
from ilk.diffusion.diffusers.latents import LatentEncoder
from ilk.diffusion.diffusers.load_options import LoadOptions
from ilk.diffusion.diffusers.parts import check_shape, load_network, read_square_size
from ilk.diffusion.diffusers.schedules import read_parameterization


@dataclass(frozen=True, eq=False)
class DiTAdapter:
    """A `DiTTransformer2DModel`: `(scaled [b, c, h, w], step [b], embedding [b])`."""

    model: Any
    shape: tuple[int, int, int]

    def __call__(self, scaled: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        check_shape(scaled, self.shape)
        out: Tensor = self.model(
            scaled.to(self.model.dtype),
            timestep=time,
            class_labels=condition.to(scaled.device),
            return_dict=False,
        )[0]
        return out


def build(layout: CheckpointLayout, options: LoadOptions) -> tuple[ExternalDenoiser, LatentEncoder]:
    """Build the transformer of `layout`; the embedding after the last class is the null class.

    Raises:
        InputError: Names and embeddings do not match, or the network is of an unsupported kind.
    """
    config, where = layout.read_config("transformer"), layout.get_folder("transformer")
    channels = config.get("in_channels", 4)
    out_channels = config.get("out_channels") or channels
    if out_channels not in (channels, 2 * channels):
        raise InputError(
            f"{where} takes {channels} channels and gives {out_channels}; only {channels} or, with "
            f"a learned variance, {2 * channels} are supported"
        )
    side = read_square_size(config, where, config.get("patch_size") or 2)
    count = config.get("num_embeds_ada_norm") or 1000
    label_names = class_names.read_labels(layout.index, layout.folder / INDEX)
    known_classes, indices = class_names.match_embeddings(
        options.classes, label_names, count, where
    )
    shape = (channels, side, side)
    latents = LatentEncoder(layout, shape, f"latents/{options.name}", options.device)
    # The authors' checkpoints use the older name Transformer2DModel.
    kinds = ("DiTTransformer2DModel", "Transformer2DModel")
    model = load_network(layout, "transformer", kinds, options.precision, options.device)
    conditions = torch.tensor([*indices, count])
    return ExternalDenoiser(
        DiTAdapter(model, shape), read_parameterization(layout), shape, known_classes, conditions
    ), latents
