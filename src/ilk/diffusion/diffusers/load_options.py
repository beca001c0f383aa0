"""The options with which a checkpoint is opened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ilk.core.errors import InputError
from ilk.diffusion.diffusers.parts import PRECISIONS
from ilk.store import Store


@dataclass(frozen=True)
class LoadOptions:
    """Classes, device and precision of a checkpoint.

    Attributes:
        classes: Names of the classes to distinguish; None for all classes of the checkpoint.
        prompts: Templates with `{}` for the class name.
        name: Origin of the checkpoint: `ORG/NAME` or `local-dir:PATH`.
        device: `cpu`, `cuda`, `cuda:N` or `mps`.
        precision: `float32` or `bfloat16`.
        store: Feature store that caches prompt embeddings; None disables caching.

    Raises:
        InputError: The precision is unknown.
    """

    classes: Sequence[str] | None
    prompts: Sequence[str]
    name: str
    device: str
    precision: str
    store: Store | None

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise InputError(
                f"unknown precision {self.precision!r}; choose {' or '.join(PRECISIONS)}"
            )
