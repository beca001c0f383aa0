"""The text encoders of Stable Diffusion: one CLIP, or two CLIPs and a T5.

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

from ilk.core.errors import InputError
from ilk.diffusion.diffusers.clip import CLIPTextEncoder, load_tokenizer, tokenize
from ilk.diffusion.diffusers.families import CheckpointLayout
from ilk.diffusion.diffusers.load_options import LoadOptions
from ilk.diffusion.diffusers.parts import load_network

T5_LENGTH = 256  # tokens, to which the pipeline pads the prompts of the T5


@dataclass(frozen=True)
class SDRowFormat:
    """Rows of `length * width` numbers: the token states of one CLIP."""

    length: int
    width: int

    def unpack(self, rows: Tensor) -> dict[str, Tensor]:
        """Return the network's arguments for rows `[b, length * width]`."""
        return {"encoder_hidden_states": rows.view(-1, self.length, self.width)}


@dataclass(frozen=True)
class SD3RowFormat:
    """Rows of two CLIPs and optionally a T5.

    Attributes:
        length: Tokens of a CLIP.
        width: Width of a token that the network takes.
        sizes: Sizes of the three parts of a row: states of the CLIPs, pooled states of the CLIPs,
            states of the T5 (0 without a T5).
    """

    length: int
    width: int
    sizes: tuple[int, int, int]

    def unpack(self, rows: Tensor) -> dict[str, Tensor]:
        """Return the network's arguments for rows `[b, dim]`."""
        clip, pooled, t5 = torch.split(rows, list(self.sizes), 1)
        clip = clip.reshape(len(rows), self.length, -1)
        clip = functional.pad(clip, (0, self.width - clip.shape[2]))
        if not self.sizes[2]:
            t5 = rows.new_zeros(len(rows), T5_LENGTH * self.width)
        t5 = t5.reshape(-1, T5_LENGTH, self.width)
        return {"encoder_hidden_states": torch.cat([clip, t5], 1), "pooled_projections": pooled}


class SDTextEncoder:
    """The text condition of Stable Diffusion 1 and 2: the states `[77, width]` of one CLIP.

    Raises:
        InputError: The width of the text encoder is not that of the network.
    """

    def __init__(self, layout: CheckpointLayout, options: LoadOptions) -> None:
        self.clip = CLIPTextEncoder(layout, "", False, options.device)
        self.name = f"prompts/{options.name}"
        self.digest = layout.compute_digest("text_encoder", "tokenizer")
        self.dim = self.clip.length * self.clip.width
        expected_width = layout.read_config("unet").get("cross_attention_dim", 1280)
        if expected_width != self.clip.width:
            raise InputError(
                f"{layout.folder}: the network takes tokens of width {expected_width}, the text "
                f"encoder gives {self.clip.width}; they belong to different pipelines"
            )

    def encode(self, prompts: Sequence[str]) -> Tensor:
        """Return the embeddings `[n, dim]` of the prompts, float32 on the CPU."""
        return self.clip.encode(prompts)[0].flatten(1)

    @property
    def row_format(self) -> SDRowFormat:
        return SDRowFormat(self.clip.length, self.clip.width)


class SD3TextEncoder:
    """The text condition of Stable Diffusion 3: the tokens of two CLIPs, followed by those of a T5.

    A row holds the states of the CLIPs, their pooled projections, and the states of the T5. If
    `model_index.json` lists no T5, zeros take its place, as in the pipeline of diffusers.

    Raises:
        InputError: The widths of the text encoders are not those of the network.
    """

    def __init__(self, layout: CheckpointLayout, options: LoadOptions) -> None:
        self.layout, self.device = layout, options.device
        self.clips = [
            CLIPTextEncoder(layout, suffix, True, options.device) for suffix in ("", "_2")
        ]
        self.name = f"prompts/{options.name}"
        encoders = [p for p in layout.networks if p.startswith("text")]
        self.digest = layout.compute_digest(*encoders, *layout.tokenizers)
        config = layout.read_config("transformer")
        self.joint_width = int(config.get("joint_attention_dim", 4096))
        self.length = self.clips[0].length
        self.sizes = (
            self.length * sum(c.width for c in self.clips),
            sum(c.pooled_width for c in self.clips),
            T5_LENGTH * self.joint_width if layout.has_third_encoder else 0,
        )
        self.dim = sum(self.sizes)
        self._check_widths(layout, int(config.get("pooled_projection_dim", 2048)))

    def _check_widths(self, layout: CheckpointLayout, pooled: int) -> None:
        width = sum(c.width for c in self.clips)
        is_same_length = self.clips[0].length == self.clips[1].length
        if width > self.joint_width or self.sizes[1] != pooled or not is_same_length:
            raise InputError(
                f"{layout.folder}: the network takes tokens of width {self.joint_width} and pooled "
                f"states of width {pooled}, the text encoders give {width} and {self.sizes[1]}; "
                "they belong to different pipelines"
            )

    @cached_property
    def t5(self) -> tuple[Any, Any]:
        model = load_network(
            self.layout, "text_encoder_3", ("T5EncoderModel",), "float32", self.device
        )
        return model, load_tokenizer(self.layout, "tokenizer_3")

    def encode(self, prompts: Sequence[str]) -> Tensor:
        """Return the embeddings `[n, dim]` of the prompts, float32 on the CPU."""
        first, second = (clip.encode(prompts) for clip in self.clips)
        rows = [torch.cat([first[0], second[0]], 2).flatten(1), first[1], second[1]]
        if self.layout.has_third_encoder:
            model, tokenizer = self.t5
            ids = tokenize(tokenizer, prompts, T5_LENGTH).to(self.device)
            with torch.no_grad():
                rows.append(model(ids)[0].float().cpu().flatten(1))
        return torch.cat(rows, 1)

    @property
    def row_format(self) -> SD3RowFormat:
        return SD3RowFormat(self.length, self.joint_width, self.sizes)
