"""A tiny captioner that can be tuned into two encoders: image tokens before a causal decoder.

Yassine Ouali and others, 2024, Discriminative Fine-tuning of LVLMs (VladVA), arXiv 2412.04378, in
which the model is a large vision-language model; this one has some 10^5 weights. The embedding of
an image or of a caption is the hidden state of the last of a few soft prompts that follow it. In
tuning, only the prompts and low-rank terms of the attention (Edward Hu and others, 2021, LoRA,
arXiv 2106.09685) are trained:

    W x + (1 / r) B A x,   A random, B = 0 at first
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

HEADS, N_IMAGE_TOKENS, N_PROMPTS = 4, 4, 4
Stage = Literal["pretraining", "tuning"]


class LowRankLinear(nn.Module):
    """A linear layer `[*, width] -> [*, outputs]` with a low-rank term, 0 at first.

    Args:
        width: Number of inputs.
        outputs: Number of outputs.
        rank: r, >= 1.
    """

    def __init__(self, width: int, outputs: int, rank: int) -> None:
        super().__init__()
        self.base = nn.Linear(width, outputs)
        self.down = nn.Parameter(torch.randn(rank, width) / math.sqrt(width))
        self.up = nn.Parameter(torch.zeros(outputs, rank))

    def forward(self, x: Tensor) -> Tensor:
        term = functional.linear(functional.linear(x, self.down), self.up)
        return self.base(x) + term / len(self.down)  # type: ignore[no-any-return]


class CausalBlock(nn.Module):
    """A transformer block that normalizes first; queries, keys and values have low-rank terms."""

    def __init__(self, width: int, rank: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.project = LowRankLinear(width, 3 * width, rank), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, x: Tensor, is_seen: Tensor) -> Tensor:
        """Return `[b, t, w]`; position i reads position j where `is_seen [t, t]` (i, j)."""
        b, t, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).reshape(b, t, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        scores = (q @ k.transpose(-2, -1) * (width // HEADS) ** -0.5).masked_fill(
            ~is_seen, -torch.inf
        )
        x = x + self.project((scores.softmax(-1) @ v).transpose(1, 2).reshape(b, t, width))
        return x + self.mlp(self.norm2(x))  # type: ignore[no-any-return]


class Captioner(nn.Module):
    """Describes images in words, and embeds images and captions.

    Args:
        stem: Images to `[n, 4 width]`, the tokens of an image.
        captions: Every caption as words, `[m, length]` int64; a label is a row of it.
        words: Number of words.
        width: Width of the decoder, divisible by 4.
        depth: Number of blocks.
        rank: Rank of the low-rank terms.
    """

    captions: Tensor

    def __init__(
        self,
        stem: nn.Module,
        captions: Tensor,
        words: int,
        width: int = 64,
        depth: int = 3,
        rank: int = 4,
    ) -> None:
        super().__init__()
        self.stem, self.width = stem, width
        self.register_buffer("captions", captions)
        self.words = nn.Embedding(words, width)
        nn.init.normal_(self.words.weight, std=0.1)
        self.image_place = nn.Parameter(0.1 * torch.randn(N_IMAGE_TOKENS, width))
        self.word_place = nn.Parameter(0.1 * torch.randn(captions.shape[1], width))
        self.prompts = nn.Parameter(0.1 * torch.randn(N_PROMPTS, width))
        self.blocks = nn.ModuleList(CausalBlock(width, rank) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.set_stage("pretraining")

    def set_stage(self, stage: Stage) -> None:
        """Make the decoder and the stem trainable, or the prompts and low-rank terms alone."""
        for name, parameter in self.named_parameters():
            is_added = name == "prompts" or name.endswith((".down", ".up"))
            parameter.requires_grad_(is_added == (stage == "tuning"))

    def embed_images(self, x: Tensor) -> Tensor:
        """Return unit vectors `[n, w]` of images."""
        return self._summarize(self._tokenize_images(x))

    def embed_captions(self, labels: Tensor) -> Tensor:
        """Return unit vectors `[n, w]` of rows `labels [n]` of the table of captions."""
        return self._summarize(self.words(self.captions[labels]) + self.word_place)

    def compute_word_logits(self, x: Tensor, labels: Tensor, through_summary: bool) -> Tensor:
        """Return logits of each word of the captions, given those before it, `[n, length, words]`.

        Args:
            x: Images `[n, ...]`.
            labels: Rows of the table of captions, `[n]`.
            through_summary: The words read the last prompt and not the image itself.
        """
        before = [self._tokenize_images(x)]
        if through_summary:
            before.append(self.prompts.expand(len(x), -1, -1))
        start = sum(part.shape[1] for part in before)
        words = self.words(self.captions[labels]) + self.word_place
        tokens = torch.cat([*before, words[:, :-1]], 1)
        is_seen = _make_causal(tokens.shape[1], tokens.device)
        if through_summary:
            is_seen[start:, : start - 1] = False
        hidden = self._decode(tokens, is_seen)[:, start - 1 :]
        return hidden @ self.words.weight.T / math.sqrt(self.width) * 4

    def forward(self, x: Tensor) -> Tensor:
        """Return the cosine of every image with every caption of the table, `[n, m]`."""
        every = torch.arange(len(self.captions), device=x.device)
        return self.embed_images(x) @ self.embed_captions(every).T

    def _tokenize_images(self, x: Tensor) -> Tensor:
        tokens: Tensor = self.stem(x).reshape(len(x), N_IMAGE_TOKENS, self.width)
        return tokens + self.image_place

    def _summarize(self, tokens: Tensor) -> Tensor:
        tokens = torch.cat([tokens, self.prompts.expand(len(tokens), -1, -1)], 1)
        hidden = self._decode(tokens, _make_causal(tokens.shape[1], tokens.device))
        return functional.normalize(hidden[:, -1], dim=1)

    def _decode(self, tokens: Tensor, is_seen: Tensor) -> Tensor:
        for block in self.blocks:
            tokens = block(tokens, is_seen)
        return self.norm(tokens)  # type: ignore[no-any-return]

    @classmethod
    def make_example(cls, d: int, k: int) -> Captioner:
        """Return a captioner of `d` features and `k` captions of two words."""
        captions = torch.stack([torch.arange(k), torch.arange(k).flip(0)], 1)
        captioner = cls(nn.Linear(d, 8 * N_IMAGE_TOKENS), captions, k, 8, 1, 2)
        captioner.set_stage("tuning")
        return captioner


def _make_causal(length: int, device: torch.device) -> Tensor:
    return torch.ones(length, length, dtype=torch.bool, device=device).tril()
