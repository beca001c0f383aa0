"""DifFeed: maps of the decoder are fed back into the encoder of a second pass.

Soumik Mukhopadhyay and others, 2024, arXiv 2311.17921: a first pass, without gradients, collects
maps of the decoder. A 1 x 1 convolution (no bias), batch normalisation and ReLU convert each to the
shape of its mirror block in the encoder (38 - b of 37 blocks), where it is added in a second pass
on the same noisy image. An attention head takes one block of the second pass. Only the head and the
feedback are trained, with gradients through the frozen network.

Departures from the paper: each feedback has a gain initialised to 0, so that training starts from
the unmodified network, and the noise is the fixed noise of `ilk.diffusion.features.extract`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from ilk.core.errors import InputError
from ilk.diffusion.denoiser.protocol import normalize_images
from ilk.diffusion.features.extract import check_images, draw_noise
from ilk.diffusion.features.feature_point import FeaturePoint
from ilk.diffusion.features.hooks import Hook, Hooks
from ilk.diffusion.heads.attention import AttentionHead
from ilk.diffusion.heads.head import Head


class Feedback(nn.Module):
    """Convert a map of the decoder to the shape of the encoder's; zero at initialisation."""

    def __init__(self, source: Hook, target: Hook) -> None:
        super().__init__()
        self.project = nn.Conv2d(source.channels, target.channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(target.channels)
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        feedback = self.gain * functional.relu(self.norm(self.project(x)))
        if feedback.shape[2:] != target.shape[2:]:
            feedback = functional.interpolate(feedback, target.shape[2:], mode="bilinear")
        return feedback.to(target.dtype)


class DifFeed(Head):
    """`(images [n, c, h, w], 8-bit or in [-1, 1]) -> logits [n, k]`; train it with `fit.fit`.

    Args:
        hooks: Hooks of the network, which is frozen; must be on the training device.
        point: Input of the head: block, noise level, and tokens per side (pool; 0: up to 16).
        classes: Number of classes k.
        feedback: Decoder blocks to feed back; empty for the last block of each map size except
            the very last block: 21, 24, ..., 36 of 37.
        width: Width of the head's tokens.
        seed: Seed of the noise.

    Raises:
        InputError: There is no such block or level, or a feedback block is not in the decoder.
    """

    def __init__(
        self,
        hooks: Hooks,
        point: FeaturePoint,
        classes: int,
        feedback: Sequence[int] = (),
        width: int = 128,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.hooks, self.point = hooks, point
        hooks.backbone.requires_grad_(False).eval()
        hook = point.check(hooks)
        sources = [hooks.get_block(b) for b in feedback or choose_feedback_blocks(hooks)]
        for source in sources:
            if not 1 <= hooks.mirror_index(source.index) < hooks.middle:
                raise InputError(
                    f"block {source.index} cannot be fed back: it is not in the decoder, "
                    f"{hooks.middle + 1} to {2 * hooks.middle - 1}"
                )
        self.feedback = nn.ModuleDict(
            {
                str(s.index): Feedback(s, hooks.get_block(hooks.mirror_index(s.index)))
                for s in sources
            }
        )
        self.head = AttentionHead(
            (hook.channels, hook.side, hook.side), classes, width, pool=point.pool or 16
        )
        self.noise = draw_noise(hooks.network.shape, point.sigma, seed)

    def forward(self, x: Tensor) -> Tensor:
        check_images(self.hooks.network, x)
        noisy = normalize_images(x) + self.point.sigma * self.noise.to(x.device)
        sigma = torch.full((len(x),), self.point.sigma, device=x.device)
        return cast(
            Tensor,
            self.head(
                self.run_second_pass(noisy, sigma, self.run_first_pass(noisy, sigma)).float()
            ),
        )

    @torch.no_grad()
    def run_first_pass(self, noisy: Tensor, sigma: Tensor) -> dict[int, Tensor]:
        """Return maps `[n, c, h, w]` of the decoder by the block they are fed back to."""
        maps: dict[int, Tensor] = {}

        def collect(index: int, block_map: Tensor) -> None:
            if str(index) in self.feedback:
                maps[self.hooks.mirror_index(index)] = block_map

        self.hooks.run_pass(noisy, sigma, collect, max(map(int, self.feedback)))
        return maps

    def run_second_pass(
        self, noisy: Tensor, sigma: Tensor, decoder_maps: dict[int, Tensor]
    ) -> Tensor:
        """Return the map `[n, c, h, w]` for the head, with `decoder_maps` fed back."""
        collected: list[Tensor] = []

        def feed(index: int, block_map: Tensor) -> Tensor | None:
            updated = None
            if index in decoder_maps:
                layer = self.feedback[str(self.hooks.mirror_index(index))]
                updated = block_map + layer(decoder_maps[index], block_map)
            if index == self.point.block:
                collected.append(block_map if updated is None else updated)
            return updated

        self.hooks.run_pass(noisy, sigma, feed, self.point.block)
        return collected[0]


def choose_feedback_blocks(hooks: Hooks) -> list[int]:
    """Return the last decoder block of each map size, except the very last block."""
    decoder = [hook for hook in hooks.blocks if hook.index > hooks.middle]
    decoder = decoder[:-1] or decoder
    return sorted({tap.side: tap.index for tap in decoder}.values())
