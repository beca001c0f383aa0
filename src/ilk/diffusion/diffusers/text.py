"""Prompt embeddings of text-to-image networks: computed once, kept in half precision on the CPU.

Every prompt is padded to the tokenizer's full length (77 tokens for CLIP, 256 for T5), because the
networks were trained on padded prompts and attend to the padding.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ilk.core.errors import InputError
from ilk.core.fingerprint import compute_key
from ilk.core.space import FeatureSpace
from ilk.store import Store

VERSION = 1  # increase whenever the same prompt would give another embedding
BATCH_SIZE = 32  # prompts


class RowFormat(Protocol):
    """How a stored row maps to the arguments of the network."""

    def unpack(self, rows: Tensor) -> dict[str, Tensor]:
        """Return the network's arguments for rows `[b, dim]`."""


class TextEncoder(Protocol):
    """The text encoders of a pipeline."""

    name: str
    digest: str
    dim: int

    def encode(self, prompts: Sequence[str]) -> Tensor:
        """Return the embeddings `[n, dim]` of the prompts, float32 on the CPU."""

    @property
    def row_format(self) -> RowFormat:
        """How a row maps to the arguments of the network."""


def format_prompts(classes: Sequence[str], prompts: Sequence[str]) -> list[list[str]]:
    """Return the prompts of each class, followed by the empty prompt for the unconditional case.

    Raises:
        InputError: There is no class or no prompt, or a prompt lacks `{}`.
    """
    if not classes:
        raise InputError(
            "a text-to-image pipeline needs the names of the classes to distinguish; none is given"
        )
    if not prompts:
        raise InputError("no prompt is given; give at least one, such as 'a photo of a {}.'")
    for prompt in prompts:
        if "{}" not in prompt:
            raise InputError(f"the prompt {prompt!r} has no {{}} in place of the class name")
    formatted = [[prompt.replace("{}", name) for prompt in prompts] for name in classes]
    return [*formatted, [""] * len(prompts)]


@dataclass(frozen=True, eq=False)
class EncodedPrompts:
    """The embedded prompts of all classes, kept on the CPU.

    Attributes:
        rows: `[texts, dim]` float16, each distinct text once.
        row_index: `[k + 1, prompts]` int64, the row of each class and prompt; the last entry is
            the unconditional one.
        row_format: How a row maps to the arguments of the network.
    """

    rows: Tensor
    row_index: Tensor
    row_format: RowFormat

    @property
    def n_prompts(self) -> int:
        """Number of prompts per class."""
        return self.row_index.shape[1]

    def get_arguments(self, classes: Tensor, prompt: int, like: Tensor) -> dict[str, Tensor]:
        """Return the network's arguments for class indices `[b]`, with device and dtype of `like`.

        Only the distinct rows of this batch are moved from the CPU.
        """
        unique_rows, inverse = torch.unique(
            self.row_index[classes.cpu(), prompt], return_inverse=True
        )
        rows = self.rows[unique_rows].to(like.device).to(like.dtype)
        return self.row_format.unpack(rows[inverse.to(like.device)])


def encode_prompts(
    encoder: TextEncoder, prompts: list[list[str]], store: Store | None
) -> EncodedPrompts:
    """Encode every distinct prompt that the store does not hold.

    Raises:
        InputError: A prompt is too long, or an embedding overflows half precision.
    """
    unique_texts = list(dict.fromkeys(text for row in prompts for text in row))
    rows = torch.empty(len(unique_texts), encoder.dim, dtype=torch.float16)
    for i in range(0, len(unique_texts), BATCH_SIZE):
        batch = unique_texts[i : i + BATCH_SIZE]
        rows[i : i + BATCH_SIZE] = (
            encoder.encode(batch) if store is None else _encode_with_store(encoder, batch, store)
        )
    if not bool(rows.isfinite().all()):
        raise InputError(
            f"{encoder.name} gives values that overflow half precision; its files are damaged"
        )
    position = {text: i for i, text in enumerate(unique_texts)}
    row_index = torch.tensor([[position[text] for text in row] for row in prompts])
    return EncodedPrompts(rows, row_index, encoder.row_format)


def _encode_with_store(encoder: TextEncoder, prompts: list[str], store: Store) -> Tensor:
    """Return the embeddings `[n, dim]` of `prompts`, cached in the store."""
    space = FeatureSpace(
        compute_key({"family": "prompts", "digest": encoder.digest, "version": VERSION}),
        encoder.name,
        encoder.dim,
    )
    digests = {hashlib.sha256(p.encode()).hexdigest(): p for p in prompts}
    if missing := store.find_missing(space, digests):
        store.put(space, missing, encoder.encode([digests[d] for d in missing]).numpy())
    return torch.from_numpy(store.get(space, list(digests)))
