"""Denoising errors of labelled images, from which levels and stopping bounds are learned."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from ilk.core.errors import ArtifactError
from ilk.diffusion.denoiser.companions import check_network, name_network
from ilk.diffusion.errors.levels import Levels
from ilk.training import checkpoint

FILE = "calibration_errors.safetensors"


@dataclass(frozen=True, eq=False)
class CalibrationErrors:
    """Errors of images under networks that were not trained on them.

    Attributes:
        errors: `[n, k, levels]` float32.
        y: Class indices, `[n]` int64.
        levels: The levels, in the order of the errors.
    """

    errors: Tensor
    y: Tensor
    levels: Levels

    def select_classes(self, classes: Sequence[int]) -> CalibrationErrors:
        """Restrict to images of the given classes and to their columns."""
        new = {c: i for i, c in enumerate(classes)}
        rows = [i for i, c in enumerate(self.y.tolist()) if c in new]
        y = torch.tensor([new[int(self.y[i])] for i in rows], dtype=torch.int64)
        return CalibrationErrors(self.errors[rows][:, list(classes)], y, self.levels)

    def learn_levels(self, keep: int = 0) -> Levels:
        """Learn weights and order of the levels; keep at most `keep` (0: all)."""
        return _learn_levels(self, keep)

    def save(self, folder: Path) -> None:
        """Write the errors to the folder of the network."""
        arrays = {"errors": self.errors.float(), "y": self.y}
        levels = json.dumps(self.levels.to_json())
        checkpoint.save(arrays, folder / FILE, {"levels": levels, **name_network(folder)})


@lru_cache(maxsize=8)
def _learn_levels(calibration_errors: CalibrationErrors, keep: int) -> Levels:
    return Levels.learn(
        calibration_errors.errors,
        calibration_errors.y,
        calibration_errors.levels,
        max_levels=keep or None,
    )


def load(folder: Path) -> CalibrationErrors | None:
    """Load the errors in `folder`; None if there is no file.

    Raises:
        ArtifactError: The file is damaged.
    """
    if not (folder / FILE).exists():
        return None
    arrays, metadata = checkpoint.load(folder / FILE)
    check_network(metadata, folder / FILE)
    try:
        levels = Levels.from_json(json.loads(metadata["levels"]))
        errors, y = arrays["errors"], arrays["y"]
        if errors.dim() != 3 or y.dtype != torch.int64 or y.dim() != 1:
            raise ValueError("arrays of another kind")
        if (len(errors), errors.shape[2]) != (len(y), len(levels.sigmas)):
            raise ValueError("shapes that do not fit")
        if len(y) and not 0 <= int(y.min()) <= int(y.max()) < errors.shape[1]:
            raise ValueError("a class out of range")
        return CalibrationErrors(errors, y, levels)
    except (KeyError, ValueError, TypeError, RecursionError):
        raise ArtifactError(f"{folder / FILE} was not written by ilk; pretrain again") from None
