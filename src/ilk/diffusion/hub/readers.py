"""The text encoders of Stable Diffusion: CLIP's last states, or those of two CLIPs and a T5.

Robin Rombach and others, 2022, High-Resolution Image Synthesis with Latent Diffusion Models,
arXiv 2112.10752. Patrick Esser and others, 2024, Scaling Rectified Flow Transformers for
High-Resolution Image Synthesis, arXiv 2403.03206, section 4 and appendix B.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ilk.diffusion.hub.asked import Asked
from ilk.diffusion.hub.clip import Clip, padded, tokenizer
from ilk.diffusion.hub.families import Layout
from ilk.diffusion.hub.parts import network
from ilk.errors import InputError

T5_LENGTH = 256  # what the pipeline pads T5's texts to


@dataclass(frozen=True)
class Tokens:
    """Rows of `length * width` numbers: the states of one CLIP."""

    length: int
    width: int

    def unpack(self, rows: Tensor) -> dict[str, Tensor]:
        return {"encoder_hidden_states": rows.view(-1, self.length, self.width)}


@dataclass(frozen=True)
class Joint:
    """Rows of two CLIPs and perhaps a T5.

    Attributes:
        length: Tokens of a CLIP.
        width: Numbers a token that the network is told.
        sizes: Numbers a row of the CLIPs' states, of the pooled ones, and of T5's; 0 for no T5.
    """

    length: int
    width: int
    sizes: tuple[int, int, int]

    def unpack(self, rows: Tensor) -> dict[str, Tensor]:
        clip, pooled, t5 = torch.split(rows, list(self.sizes), 1)
        clip = clip.reshape(len(rows), self.length, -1)
        clip = functional.pad(clip, (0, self.width - clip.shape[2]))
        if not self.sizes[2]:
            t5 = rows.new_zeros(len(rows), T5_LENGTH * self.width)
        t5 = t5.reshape(-1, T5_LENGTH, self.width)
        return {"encoder_hidden_states": torch.cat([clip, t5], 1), "pooled_projections": pooled}


class One:
    """What a Stable Diffusion 1 or 2 is told: `[77, width]` of one CLIP."""

    def __init__(self, layout: Layout, asked: Asked) -> None:
        self.clip = Clip(layout, "", False, asked.device)
        self.name = f"prompts/{asked.name}"
        self.digest = layout.digest("text_encoder", "tokenizer")
        self.dim = self.clip.length * self.clip.width
        needs = layout.config("unet").get("cross_attention_dim", 1280)
        if needs != self.clip.width:
            raise InputError(
                f"{layout.folder}: the network is told {needs} numbers a token, the text encoder "
                f"gives {self.clip.width}; they are not of one pipeline"
            )

    def read(self, prompts: Sequence[str]) -> Tensor:
        return self.clip.states(prompts)[0].flatten(1)

    @property
    def form(self) -> Tokens:
        return Tokens(self.clip.length, self.clip.width)


class Three:
    """What a Stable Diffusion 3 is told: tokens of two CLIPs side by side, T5's after them.

    A row is the CLIPs' states, their pooled projections, and T5's states where there is a T5; where
    `model_index.json` says there is none, its place is filled with zeros, as the pipeline does.
    """

    def __init__(self, layout: Layout, asked: Asked) -> None:
        self.layout, self.device = layout, asked.device
        self.clips = [Clip(layout, suffix, True, asked.device) for suffix in ("", "_2")]
        self.name = f"prompts/{asked.name}"
        encoders = [p for p in layout.networks if p.startswith("text")]
        self.digest = layout.digest(*encoders, *layout.tokenizers)
        config = layout.config("transformer")
        self.joint = int(config.get("joint_attention_dim", 4096))
        self.length = self.clips[0].length
        self.sizes = (
            self.length * sum(c.width for c in self.clips),
            sum(c.pooled for c in self.clips),
            T5_LENGTH * self.joint if layout.third else 0,
        )
        self.dim = sum(self.sizes)
        self._match(layout, int(config.get("pooled_projection_dim", 2048)))

    def _match(self, layout: Layout, pooled: int) -> None:
        width = sum(c.width for c in self.clips)
        same = self.clips[0].length == self.clips[1].length
        if width > self.joint or self.sizes[1] != pooled or not same:
            raise InputError(
                f"{layout.folder}: the network is told {self.joint} numbers a token and {pooled} "
                f"for all, the text encoders give {width} and {self.sizes[1]}; they are not of one "
                "pipeline"
            )

    @cached_property
    def t5(self) -> tuple[Any, Any]:
        model = network(self.layout, "text_encoder_3", ("T5EncoderModel",), "float32", self.device)
        return model, tokenizer(self.layout, "tokenizer_3")

    def read(self, prompts: Sequence[str]) -> Tensor:
        first, second = (clip.states(prompts) for clip in self.clips)
        rows = [torch.cat([first[0], second[0]], 2).flatten(1), first[1], second[1]]
        if self.layout.third:
            model, cut = self.t5
            ids = padded(cut, prompts, T5_LENGTH).to(self.device)
            with torch.no_grad():
                rows.append(model(ids)[0].float().cpu().flatten(1))
        return torch.cat(rows, 1)

    @property
    def form(self) -> Joint:
        return Joint(self.length, self.joint, self.sizes)
