"""Denoising errors of images with a known class: what noise levels tell, and when a race is lost,
is learnt from them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from ilk.diffusion.levels import Levels
from ilk.errors import ArtefactError
from ilk.training import checkpoint

FILE = "trial.safetensors"


@dataclass(frozen=True, eq=False)
class Trial:
    """Errors of images under networks that did not learn from them.

    Attributes:
        errors: Of each image, as each class, at each level, `[n, k, levels]` float32.
        y: Class indices, `[n]` int64.
        levels: The levels, in the order of the errors.
    """

    errors: Tensor
    y: Tensor
    levels: Levels

    def only(self, classes: Sequence[int]) -> Trial:
        """The images of these classes, told as these classes alone."""
        new = {c: i for i, c in enumerate(classes)}
        at = [i for i, c in enumerate(self.y.tolist()) if c in new]
        y = torch.tensor([new[int(self.y[i])] for i in at], dtype=torch.int64)
        return Trial(self.errors[at][:, list(classes)], y, self.levels)

    def learned(self, keep: int = 0) -> Levels:
        """The levels, weighed and ordered by what they tell of these images; `keep` at most."""
        return _learned(self, keep)

    def save(self, folder: Path) -> None:
        """Write it beside the network."""
        arrays = {"errors": self.errors.float(), "y": self.y}
        checkpoint.save(arrays, folder / FILE, {"levels": json.dumps(self.levels.to_json())})


@lru_cache(maxsize=8)
def _learned(trial: Trial, keep: int) -> Levels:
    return Levels.learned(trial.errors, trial.y, trial.levels, keep=keep or None)


def load(folder: Path) -> Trial | None:
    """What `save` wrote, or None.

    Raises:
        ArtefactError: The file is damaged.
    """
    if not (folder / FILE).exists():
        return None
    arrays, told = checkpoint.load(folder / FILE)
    try:
        levels = Levels.from_json(json.loads(told["levels"]))
        return Trial(arrays["errors"], arrays["y"], levels)
    except (KeyError, ValueError):
        raise ArtefactError(f"{folder / FILE} is not what ilk writes; pretrain again") from None
