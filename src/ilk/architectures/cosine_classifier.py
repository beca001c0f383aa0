"""A classifier by cosine similarity to class embeddings that are computed by a trainable module."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional


class CosineClassifier(nn.Module):
    """`scale u . t_c` for unit rows u and the unit class embeddings t that a module returns.

    Args:
        classes: Called without arguments, returns class embeddings `[k, d]` of length 1.
        scale: Inverse temperature of the cosines, > 0.
    """

    def __init__(self, classes: nn.Module, scale: float) -> None:
        super().__init__()
        self.classes, self.scale = classes, scale

    def forward(self, u: Tensor) -> Tensor:
        """Return logits `[n, k]` of unit rows `[n, d]`."""
        return self.scale * u @ cast(Tensor, self.classes()).T


class ClassResiduals(nn.Module):
    """Class embeddings with a residual per class, which starts at 0.

    Tao Yu and others, 2023, Task Residual for Tuning Vision-Language Models, arXiv 2211.10277.

    Args:
        embeddings: Class embeddings, `[k, d]`, each of length 1.
    """

    embeddings: Tensor

    def __init__(self, embeddings: Tensor) -> None:
        super().__init__()
        self.register_buffer("embeddings", embeddings)
        self.residual = nn.Parameter(torch.zeros_like(embeddings))

    def forward(self) -> Tensor:
        """Return unit vectors `[k, d]`."""
        return functional.normalize(self.embeddings + self.residual, dim=1)


class PromptedText(nn.Module):
    """Class embeddings of a frozen text encoder whose prompt is learned.

    Kaiyang Zhou and others, 2022, Learning to Prompt for Vision-Language Models, arXiv 2109.01134:
    the vectors of the words around the class names are parameters, shared by all classes. They
    start as those of a prompt in words, so that the start is the zero-shot classifier of it.

    Args:
        encoder: Called with `tokens`, returns text features `[k, d]`; it is not trained.
        embedding: Name of the part of `encoder` that turns words `[k, length]` into vectors.
        tokens: Inputs of `encoder` by name for the prompt of each class, `[k, length]`; the first
            are the words.
        start: Position of the first word that is learned.
        length: Number of words that are learned, the same in all prompts, >= 1.
    """

    def __init__(
        self, encoder: nn.Module, embedding: str, tokens: dict[str, Tensor], start: int, length: int
    ) -> None:
        super().__init__()
        self.encoder = encoder.eval().requires_grad_(False)
        self.embedding, self.start, self.stop = embedding, start, start + length
        self.names = tuple(tokens)
        for name, values in tokens.items():
            self.register_buffer(f"tokens_{name}", values, persistent=False)
        words = encoder.get_submodule(embedding)(tokens[self.names[0]][:1])
        self.context = nn.Parameter(words[:, start : self.stop].detach().clone())

    def train(self, mode: bool = True) -> PromptedText:
        """Stay in evaluation mode: only the prompt is trained."""
        return self

    def forward(self) -> Tensor:
        """Return unit vectors `[k, d]`."""

        def put_context(_part: nn.Module, _inputs: object, vectors: Tensor) -> Tensor:
            context = self.context.expand(len(vectors), -1, -1).to(vectors.dtype)
            parts = (vectors[:, : self.start], context, vectors[:, self.stop :])
            return torch.cat(parts, 1)

        handle = self.encoder.get_submodule(self.embedding).register_forward_hook(put_context)
        try:
            features = self.encoder(**{n: getattr(self, f"tokens_{n}") for n in self.names})
        finally:
            handle.remove()
        return functional.normalize(features, dim=1)
