"""Texts as text-to-image networks are told them: read once, kept in half precision off the GPU.

Every text is padded to the tokenizer's full length (77 tokens for CLIP, 256 for T5), since the
networks were trained on padded texts and heed the padding.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ilk.encoders.address import key
from ilk.errors import InputError
from ilk.store import Space, Store

VERSION = 1  # raised whenever the same prompt would come to other numbers than before
CHUNK = 32  # prompts read at once


class Unpacks(Protocol):
    """What a row means to the network."""

    def unpack(self, rows: Tensor) -> dict[str, Tensor]:
        """Rows `[b, dim]` as the network's arguments."""


class Reads(Protocol):
    """The text encoders of a pipeline."""

    name: str
    digest: str
    dim: int

    def read(self, prompts: Sequence[str]) -> Tensor:
        """What the prompts come to, `[n, dim]` float32 on the CPU."""

    @property
    def form(self) -> Unpacks:
        """What its rows mean to the network."""


def sentences(classes: Sequence[str], prompts: Sequence[str]) -> list[list[str]]:
    """The prompts of each class, and last the empty one, which stands for "not told".

    Raises:
        InputError: There is no class, no prompt, or one has no place for the name.
    """
    if not classes:
        raise InputError(
            "a text-to-image pipeline knows any class by its name, but none is given; "
            "give the names of the classes to tell apart"
        )
    if not prompts:
        raise InputError("no prompt is given; give at least one, such as 'a photo of a {}.'")
    for prompt in prompts:
        if "{}" not in prompt:
            raise InputError(f"the prompt {prompt!r} has no {{}} where the class name goes")
    made = [[prompt.replace("{}", name) for prompt in prompts] for name in classes]
    return [*made, [""] * len(prompts)]


@dataclass(frozen=True, eq=False)
class Texts:
    """What the network is told for every class, off the GPU.

    Attributes:
        rows: `[texts, dim]` float16 on the CPU, each text once.
        at: `[k + 1, prompts]` int64: the row of each class and prompt; last, of "not told".
        form: What a row means to the network.
    """

    rows: Tensor
    at: Tensor
    form: Unpacks

    @property
    def prompts(self) -> int:
        """Prompts a class."""
        return self.at.shape[1]

    def take(self, classes: Tensor, prompt: int, like: Tensor) -> dict[str, Tensor]:
        """The network's arguments for class indices `[b]`, on the device and in the type of `like`.

        Only the rows of this batch leave the CPU, each once.
        """
        wanted, back = torch.unique(self.at[classes.cpu(), prompt], return_inverse=True)
        rows = self.rows[wanted].to(like.device).to(like.dtype)
        return self.form.unpack(rows[back.to(like.device)])


def texts(reader: Reads, wanted: list[list[str]], store: Store | None) -> Texts:
    """Read every text that is not in the store, once.

    Raises:
        InputError: A text is too long, or comes to numbers that half precision does not have.
    """
    every = list(dict.fromkeys(text for row in wanted for text in row))
    rows = torch.empty(len(every), reader.dim, dtype=torch.float16)
    for i in range(0, len(every), CHUNK):
        part = every[i : i + CHUNK]
        rows[i : i + CHUNK] = reader.read(part) if store is None else _kept(reader, part, store)
    if not bool(rows.isfinite().all()):
        raise InputError(
            f"{reader.name} gives numbers beyond half precision; its files are damaged"
        )
    place = {text: i for i, text in enumerate(every)}
    at = torch.tensor([[place[text] for text in row] for row in wanted])
    return Texts(rows, at, reader.form)


def _kept(reader: Reads, prompts: list[str], store: Store) -> Tensor:
    """Rows of `prompts`, `[n, dim]`, by way of the store."""
    space = Space(
        key({"family": "prompts", "digest": reader.digest, "version": VERSION}),
        reader.name,
        reader.dim,
    )
    digests = {hashlib.sha256(p.encode()).hexdigest(): p for p in prompts}
    if missing := store.missing(space, digests):
        store.put(space, missing, reader.read([digests[d] for d in missing]).numpy())
    return torch.from_numpy(store.get(space, list(digests)))
