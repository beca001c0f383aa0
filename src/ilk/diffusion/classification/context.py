"""The classes among which an encoder of class scores chooses."""

from __future__ import annotations

from dataclasses import dataclass

from ilk.store import Store

DEFAULT_PROMPTS = ("a photo of a {}.",)


@dataclass(frozen=True, eq=False)
class ClassificationContext:
    """Class names, and how to describe them to a text-conditional network.

    Attributes:
        classes: Names, in the order of the scores; None for all classes of the network.
        prompts: Templates with `{}` for the class name.
        store: Store that caches latents and prompt embeddings; None disables caching.
    """

    classes: tuple[str, ...] | None = None
    prompts: tuple[str, ...] = DEFAULT_PROMPTS
    store: Store | None = None
