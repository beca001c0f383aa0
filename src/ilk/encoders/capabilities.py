"""What a network can do for an image or a text; structural, nothing inherits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ilk.data import Features
from ilk.store import Space


@runtime_checkable
class Embeds(Protocol):
    """Gives images a place in a space where like lies near like."""

    @property
    def name(self) -> str:
        """What it is called; can be pasted back after `--encoder`."""
        ...

    @property
    def space(self) -> Space:
        """The address of its rows in the store; known without loading a network."""
        ...

    @property
    def batch(self) -> int:
        """Images that `embed` takes best at once."""
        ...

    def describe(self) -> dict[str, Any]:
        """JSON: name, key, digests, preprocessing, precision. `restore` reads it."""
        ...

    def load(self) -> None:
        """Make ready to embed: seconds for a network, nothing for the others."""
        ...

    def prepare(self, image: Image.Image) -> NDArray[np.uint8]:
        """What the network sees of an RGB image, `[c, h, w]`. Safe in threads; needs no torch."""
        ...

    def embed(self, batch: NDArray[np.uint8]) -> Features:
        """Features `[b, d]` of prepared images `[b, c, h, w]`. Safe in threads."""
        ...


@runtime_checkable
class EmbedsText(Protocol):
    """Gives texts a place in the same space."""

    def embed_text(self, prompts: Sequence[str]) -> Features:
        """Features `[k, d]` of length 1."""
        ...


@runtime_checkable
class ScoresClasses(Protocol):
    """Whose features are one score a class, because it classifies by itself."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The names, in the order of the scores."""
        ...

    def fair(self, digests: Sequence[str]) -> NDArray[np.bool_]:
        """Whether each file can be judged without having been learnt from, `[n]`."""
        ...


@runtime_checkable
class Explains(Embeds, ScoresClasses, Protocol):
    """Can show where in an image it tells one class from another."""

    def explain(self, prepared: NDArray[np.uint8], first: int, second: int) -> Image.Image:
        """A picture of where a prepared image `[c, h, w]` speaks for which of two classes."""
        ...
