"""Pixel-space U-Nets, unconditional or with a class embedding added to the time embedding.

Jonathan Ho and others, 2020, Denoising Diffusion Probabilistic Models, arXiv 2006.11239.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ilk.core.errors import InputError
from ilk.diffusion.denoiser.external import ExternalDenoiser
from ilk.diffusion.diffusers import class_names
from ilk.diffusion.diffusers.families import INDEX, CheckpointLayout
from ilk.diffusion.diffusers.load_options import LoadOptions
from ilk.diffusion.diffusers.parts import check_shape, load_network, read_square_size
from ilk.diffusion.diffusers.schedules import read_parameterization

NO_NULL_CLASS = -1  # condition of an unconditional call to a network without a null class


@dataclass(frozen=True, eq=False)
class UNetAdapter:
    """A `UNet2DModel`: `(scaled [b, c, h, w], step [b], embedding [b]) -> [b, c or 2c, h, w]`."""

    model: Any
    shape: tuple[int, int, int]

    def __call__(self, scaled: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        check_shape(scaled, self.shape)
        labels = None
        if self.model.class_embedding is not None:
            labels = condition.to(scaled.device)
            if bool((labels == NO_NULL_CLASS).any()):
                raise InputError(
                    "this network was trained without a null class, so it cannot denoise "
                    "unconditionally; give a class, or a network with a null class"
                )
        out: Tensor = self.model(
            scaled.to(self.model.dtype), time, class_labels=labels, return_dict=False
        )[0]
        return out


def build(layout: CheckpointLayout, options: LoadOptions) -> tuple[ExternalDenoiser, None]:
    """Build the U-Net of `layout`.

    The embeddings correspond to the classes in order. If there is one embedding more than names (in
    `classes`, or in `id2label` of `model_index.json`), the last one is the null class used for
    unconditional denoising. Otherwise there is no null class, and unconditional calls are refused.

    Raises:
        InputError: Names and embeddings do not match, or the network is of an unsupported kind.
    """
    config, where = layout.read_config("unet"), layout.get_folder("unet")
    if config.get("time_embedding_type", "positional") == "fourier":
        raise InputError(
            f"{where} embeds noise levels by Fourier features, which are not supported"
        )
    if config.get("class_embed_type") is not None:
        raise InputError(
            f"{where} embeds classes as {config['class_embed_type']}; only a table is supported"
        )
    channels = config.get("in_channels", 3)
    out_channels = config.get("out_channels", 3)
    if out_channels not in (channels, 2 * channels):
        raise InputError(
            f"{where} takes {channels} channels and gives {out_channels}, so it is not a denoiser"
        )
    side = read_square_size(config, where, 2 ** (len(config.get("block_out_channels", ())) - 1))
    count = config.get("num_class_embeds")
    known_classes, conditions = make_conditions(layout, options.classes, count)
    model = load_network(layout, "unet", ("UNet2DModel",), options.precision, options.device)
    integer_steps = config.get("time_embedding_type") == "learned"
    shape = (channels, side, side)
    return ExternalDenoiser(
        UNetAdapter(model, shape),
        read_parameterization(layout, integer_steps),
        shape,
        known_classes,
        conditions,
    ), None


def make_conditions(
    layout: CheckpointLayout, classes: Sequence[str] | None, count: int | None
) -> tuple[tuple[str, ...], Tensor]:
    """Return the class names and their embedding indices `[k + 1]`, the null class last.

    Raises:
        InputError: Names and embeddings do not match.
    """
    if count is None:
        if classes:
            raise InputError(
                f"{len(classes)} classes are given, but {layout.folder} was trained without "
                "classes; omit them, or choose a class-conditional checkpoint"
            )
        return (), torch.zeros(1, dtype=torch.int64)
    label_names = class_names.read_labels(layout.index, layout.folder / INDEX)
    n_classes = len(label_names) or (len(classes) if classes is not None else count)
    has_null_class = n_classes == count - 1
    if not label_names and n_classes not in (count, count - 1):
        raise InputError(
            f"{n_classes} classes are given, but {layout.folder} has {count} embeddings and does "
            f"not name them; give {count} names in its order, or {count - 1} if its last "
            "embedding is the null class"
        )
    known_classes, indices = class_names.match_embeddings(
        classes, label_names, count - 1 if has_null_class else count, layout.get_folder("unet")
    )
    return known_classes, torch.tensor([*indices, count - 1 if has_null_class else NO_NULL_CLASS])
