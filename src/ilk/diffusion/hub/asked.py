"""What a checkpoint is opened for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ilk.diffusion.hub.parts import PRECISIONS
from ilk.errors import InputError
from ilk.store import Store


@dataclass(frozen=True)
class Asked:
    """Classes, and where and how to run.

    Attributes:
        classes: Names of the classes to tell apart; None for all that the checkpoint has.
        prompts: Sentences with `{}` for a name.
        name: Where the checkpoint is from: `ORG/NAME`, or `local-dir:PATH`.
        device: `cpu`, `cuda`, `cuda:N` or `mps`.
        precision: `float32` or `bfloat16`.
        store: Where texts that were read before are found; None reads them anew.
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
                f"no precision is called {self.precision!r}: {' or '.join(PRECISIONS)}"
            )
