"""Text-to-image networks on latents as classifiers: a class is what its prompts say.

No guidance is used: the network is asked as it was trained (Alexander C. Li and others, 2023, Your
Diffusion Model is Secretly a Zero-Shot Classifier, arXiv 2303.16203). Several prompts are averaged
over the network's predictions, each prompt being one call: a mean of text embeddings whose tokens
stand for different words is nothing that the network was ever told.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ilk.diffusion.foreign import Converted
from ilk.diffusion.hub import names
from ilk.diffusion.hub.asked import Asked
from ilk.diffusion.hub.families import SD3, Layout
from ilk.diffusion.hub.latents import Latents
from ilk.diffusion.hub.parts import fits, network, square
from ilk.diffusion.hub.readers import One, Three
from ilk.diffusion.hub.schedules import convention
from ilk.diffusion.hub.text import Reads, Texts, sentences, texts
from ilk.errors import InputError

OTHERS = ("addition_embed_type", "class_embed_type", "num_class_embeds", "encoder_hid_dim_type")


@dataclass(frozen=True, eq=False)
class TextGuided:
    """A network and what it is told: `(scaled [b, c, h, w], time [b], class index [b])`.

    Conditions are class indices; the texts behind them are fetched for each batch.
    """

    model: Any
    shape: tuple[int, int, int]
    texts: Texts

    def __call__(self, scaled: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        fits(scaled, self.shape)
        x = scaled.to(self.model.dtype)
        total = torch.zeros_like(scaled, dtype=torch.float32)
        for prompt in range(self.texts.prompts):
            told = self.texts.take(condition, prompt, x)
            total += self.model(x, timestep=time, return_dict=False, **told)[0].float()
        return total / self.texts.prompts


def build(layout: Layout, asked: Asked) -> tuple[Converted, Latents]:
    """The network of `layout`, told the classes by their prompts.

    Raises:
        InputError: Classes or prompts are missing, or the network is of a kind not read.
    """
    known = names.distinct(asked.classes or ())
    wanted = sentences(known, asked.prompts)
    part, kind = ("transformer", "SD3Transformer2DModel") if layout.family == SD3 else (
        "unet", "UNet2DConditionModel"
    )  # fmt: skip
    shape = _shape(layout, part)
    latents = Latents(layout, shape, f"latents/{asked.name}", asked.device)
    reader: Reads = Three(layout, asked) if layout.family == SD3 else One(layout, asked)
    told = texts(reader, wanted, asked.store)
    made = network(layout, part, (kind,), asked.precision, asked.device)
    index = torch.arange(len(known) + 1)
    guided = TextGuided(made, shape, told)
    return Converted(guided, convention(layout), shape, known, index), latents


def _shape(layout: Layout, part: str) -> tuple[int, int, int]:
    """What the network takes, once it is known to be one that is told nothing but texts."""
    config, where = layout.config(part), layout.part(part)
    for name in OTHERS:
        if config.get(name) is not None:
            raise InputError(f"{where} is told more than texts ({name}); it is of another family")
    channels = config.get("in_channels", 16 if layout.family == SD3 else 4)
    side = square(config, where, config.get("patch_size") or 1)
    if side // (config.get("patch_size") or 1) > config.get("pos_embed_max_size", side):
        raise InputError(
            f"{where} has places for {config['pos_embed_max_size']} patches a side, but images of "
            f"{side} have more; correct sample_size in its config.json"
        )
    return channels, side, side
