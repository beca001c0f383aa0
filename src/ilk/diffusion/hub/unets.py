"""U-Nets on pixels: unconditional, or told a class by an embedding that is added to the time's.

Jonathan Ho and others, 2020, Denoising Diffusion Probabilistic Models, arXiv 2006.11239.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ilk.diffusion.foreign import Converted
from ilk.diffusion.hub import names
from ilk.diffusion.hub.asked import Asked
from ilk.diffusion.hub.families import INDEX, Layout
from ilk.diffusion.hub.parts import fits, network, square
from ilk.diffusion.hub.schedules import convention
from ilk.errors import InputError

UNTELLABLE = -1  # stands for "not told" where the network was never trained without a class


@dataclass(frozen=True, eq=False)
class UNet:
    """A `UNet2DModel`: `(scaled [b, c, h, w], step [b], embedding [b]) -> [b, c or 2c, h, w]`."""

    model: Any
    shape: tuple[int, int, int]

    def __call__(self, scaled: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        fits(scaled, self.shape)
        told = None
        if self.model.class_embedding is not None:
            told = condition.to(scaled.device)
            if bool((told == UNTELLABLE).any()):
                raise InputError(
                    "this network was always told a class in training, so it cannot denoise "
                    "without one; give a class, or a network with a dropped class"
                )
        out: Tensor = self.model(
            scaled.to(self.model.dtype), time, class_labels=told, return_dict=False
        )[0]
        return out


def build(layout: Layout, asked: Asked) -> tuple[Converted, None]:
    """The U-Net of `layout`.

    Its embeddings are of the classes in order. If there is one embedding more than names (given
    in `classes`, else by `id2label` in `model_index.json`), the last one is the dropped class, that
    is, what the network is told for "not told". With as many embeddings as names, or no names at
    all, there is no dropped class, and asking for it is refused.

    Raises:
        InputError: Names and embeddings do not match, or the network is of a kind not read.
    """
    config, where = layout.config("unet"), layout.part("unet")
    if config.get("time_embedding_type", "positional") == "fourier":
        raise InputError(f"{where} is told noise levels by Fourier features, which are not read")
    if config.get("class_embed_type") is not None:
        raise InputError(
            f"{where} is told classes as {config['class_embed_type']}; embeddings are read only"
        )
    channels = config.get("in_channels", 3)
    gives = config.get("out_channels", 3)
    if gives not in (channels, 2 * channels):
        raise InputError(f"{where} takes {channels} channels and gives {gives}: no denoiser")
    side = square(config, where, 2 ** (len(config.get("block_out_channels", ())) - 1))
    count = config.get("num_class_embeds")
    known, told = conditions(layout, asked.classes, count)
    made = network(layout, "unet", ("UNet2DModel",), asked.precision, asked.device)
    whole = config.get("time_embedding_type") == "learned"
    shape = (channels, side, side)
    return Converted(UNet(made, shape), convention(layout, whole), shape, known, told), None


def conditions(
    layout: Layout, classes: Sequence[str] | None, count: int | None
) -> tuple[tuple[str, ...], Tensor]:
    """Class names, and the embedding of each with that of "not told" last, `[k + 1]`.

    Raises:
        InputError: They do not match.
    """
    if count is None:
        if classes:
            raise InputError(
                f"{len(classes)} classes are given, but {layout.folder} was trained without "
                "classes; leave them out, or take a class-conditional checkpoint"
            )
        return (), torch.zeros(1, dtype=torch.int64)
    named = names.labels(layout.index, layout.folder / INDEX)
    given = len(named) or (len(classes) if classes is not None else count)
    dropped = given == count - 1
    if not named and given not in (count, count - 1):
        raise InputError(
            f"{given} classes are given, but {layout.folder} has {count} embeddings and does not "
            f"name them; give {count} names in its order, or {count - 1} if its last embedding "
            "stands for a class not told"
        )
    known, at = names.embeddings(
        classes, named, count - 1 if dropped else count, layout.part("unet")
    )
    return known, torch.tensor([*at, count - 1 if dropped else UNTELLABLE])
