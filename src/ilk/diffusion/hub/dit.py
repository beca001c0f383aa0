"""Diffusion transformers on latents, told a class.

William Peebles and Saining Xie, 2023, Scalable Diffusion Models with Transformers,
arXiv 2212.09748. The second half of the output channels is a learned variance and is left aside.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ilk.diffusion.foreign import Converted
from ilk.diffusion.hub import names
from ilk.diffusion.hub.asked import Asked
from ilk.diffusion.hub.families import INDEX, Layout
from ilk.diffusion.hub.latents import Latents
from ilk.diffusion.hub.parts import fits, network, square
from ilk.diffusion.hub.schedules import convention
from ilk.errors import InputError


@dataclass(frozen=True, eq=False)
class DiT:
    """A `DiTTransformer2DModel`: `(scaled [b, c, h, w], step [b], embedding [b])`."""

    model: Any
    shape: tuple[int, int, int]

    def __call__(self, scaled: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        fits(scaled, self.shape)
        out: Tensor = self.model(
            scaled.to(self.model.dtype),
            timestep=time,
            class_labels=condition.to(scaled.device),
            return_dict=False,
        )[0]
        return out


def build(layout: Layout, asked: Asked) -> tuple[Converted, Latents]:
    """The transformer of `layout`; the embedding after the last class stands for "not told".

    Raises:
        InputError: Names and embeddings do not match, or the network is of a kind not read.
    """
    config, where = layout.config("transformer"), layout.part("transformer")
    channels = config.get("in_channels", 4)
    gives = config.get("out_channels") or channels
    if gives not in (channels, 2 * channels):
        raise InputError(
            f"{where} takes {channels} channels and gives {gives}; {channels} or, with a learned "
            f"variance, {2 * channels} are read"
        )
    side = square(config, where, config.get("patch_size") or 2)
    count = config.get("num_embeds_ada_norm") or 1000
    named = names.labels(layout.index, layout.folder / INDEX)
    known, at = names.embeddings(asked.classes, named, count, where)
    shape = (channels, side, side)
    latents = Latents(layout, shape, f"latents/{asked.name}", asked.device)
    # Transformer2DModel is what the authors' own checkpoints still call it.
    kinds = ("DiTTransformer2DModel", "Transformer2DModel")
    made = network(layout, "transformer", kinds, asked.precision, asked.device)
    told = torch.tensor([*at, count])
    return Converted(DiT(made, shape), convention(layout), shape, known, told), latents
