"""DifFeed: what the decoder saw goes back into the encoder, and the network looks again.

Soumik Mukhopadhyay and others, 2024, arXiv 2311.17921: a first pass, without gradients, collects
maps of the decoder. A 1 x 1 convolution (no bias), batch normalisation and ReLU turn each into the
shape of its mirror in the encoder (38 - b of 37 blocks), where it is added in a second pass on the
same noisy image. An attention head reads one block of the second pass. Only head and feedback
learn, though gradients run through the frozen network.

Two things are ours: each feedback has a gain that starts at 0, so that training starts from what
the network was pretrained to see (the paper's starts from a disturbed one), and the noise is the
fixed noise of `ilk.diffusion.features`, in training as in use.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from ilk.diffusion.contract import unit
from ilk.diffusion.features import fits, noise
from ilk.diffusion.heads.attention import AttentionHead
from ilk.diffusion.heads.head import Head
from ilk.diffusion.reading import Point
from ilk.diffusion.taps import Tap, Taps
from ilk.errors import InputError


class Feedback(nn.Module):
    """A map of the decoder as one of the encoder's shape; nothing at first."""

    def __init__(self, source: Tap, goal: Tap) -> None:
        super().__init__()
        self.project = nn.Conv2d(source.channels, goal.channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(goal.channels)
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, seen: Tensor, like: Tensor) -> Tensor:
        back = self.gain * functional.relu(self.norm(self.project(seen)))
        if back.shape[2:] != like.shape[2:]:
            back = functional.interpolate(back, like.shape[2:], mode="bilinear")
        return back.to(like.dtype)


class DifFeed(Head):
    """`(images [n, c, h, w], 8-bit or in [-1, 1]) -> logits [n, k]`; train it with `fit.fit`.

    Args:
        taps: Of the network, which is frozen by this; it must lie where training runs.
        point: What the head reads: block, noise level, and pool (0: up to 16) tokens a side.
        classes: k.
        feedback: Blocks of the decoder that are fed back; none takes, of each map size, the last
            (of the network's very last block's size, the one before it): 21, 24, …, 36 of 37.
        width: Of the head's tokens.
        seed: Of the noise.

    Raises:
        InputError: There is no such block or level, or a feedback comes from no decoder block.
    """

    def __init__(
        self,
        taps: Taps,
        point: Point,
        classes: int,
        feedback: Sequence[int] = (),
        width: int = 128,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.taps, self.point = taps, point
        taps.trunk.requires_grad_(False).eval()
        read = point.check(taps)
        sources = [taps.check(b) for b in feedback or ladder(taps)]
        for source in sources:
            if not 1 <= taps.mirror(source.index) < taps.middle:
                raise InputError(
                    f"block {source.index} cannot be fed back: it is none of the decoder's, "
                    f"{taps.middle + 1} to {2 * taps.middle - 1}"
                )
        self.feedback = nn.ModuleDict(
            {str(s.index): Feedback(s, taps.check(taps.mirror(s.index))) for s in sources}
        )
        self.head = AttentionHead(
            (read.channels, read.side, read.side), classes, width, pool=point.pool or 16
        )
        self.noise = noise(taps.network.shape, point.sigma, seed)

    def forward(self, x: Tensor) -> Tensor:
        fits(self.taps.network, x)
        noisy = unit(x) + self.point.sigma * self.noise.to(x.device)
        sigma = torch.full((len(x),), self.point.sigma, device=x.device)
        return cast(Tensor, self.head(self.second(noisy, sigma, self.first(noisy, sigma)).float()))

    @torch.no_grad()
    def first(self, noisy: Tensor, sigma: Tensor) -> dict[int, Tensor]:
        """Maps of the decoder by the number of the block that they will be fed back to."""
        found: dict[int, Tensor] = {}

        def keep(index: int, seen: Tensor) -> None:
            if str(index) in self.feedback:
                found[self.taps.mirror(index)] = seen

        self.taps.run(noisy, sigma, keep, max(map(int, self.feedback)))
        return found

    def second(self, noisy: Tensor, sigma: Tensor, back: dict[int, Tensor]) -> Tensor:
        """The map that is read, with `back` fed back."""
        read: list[Tensor] = []

        def feed(index: int, seen: Tensor) -> Tensor | None:
            given = None
            if index in back:
                layer = self.feedback[str(self.taps.mirror(index))]
                given = seen + layer(back[index], seen)
            if index == self.point.block:
                read.append(seen if given is None else given)
            return given

        self.taps.run(noisy, sigma, feed, self.point.block)
        return read[0]


def ladder(taps: Taps) -> list[int]:
    """The last decoder block of each map size, without the network's very last block."""
    decoder = [tap for tap in taps.blocks if tap.index > taps.middle]
    decoder = decoder[:-1] or decoder
    return sorted({tap.side: tap.index for tap in decoder}.values())
