"""An encoder that kills the process that uses it, at images of chosen first pixels."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ilk.core.data import Features
from ilk.core.space import FeatureSpace

ONCE, ALWAYS, RAISES = 10, 20, 30


@dataclass(frozen=True)
class DeadlyEncoder:
    """The mean of an image; see the constants above for what else its first pixel does."""

    folder: Path
    name = "deadly"
    batch_size = 4
    space = FeatureSpace("deadly-key-000000000000", "deadly", 1)

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "key": self.space.key}

    def load(self) -> None:
        """Do nothing."""

    def prepare(self, image: Image.Image) -> NDArray[np.uint8]:
        pixels = np.asarray(image)
        first = int(pixels[0, 0, 0])
        mark = self.folder / "killed"
        if first == ALWAYS or (first == ONCE and not mark.exists()):
            if first == ONCE:
                mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if first == RAISES:
            raise ZeroDivisionError("a planted fault")
        return pixels.transpose(2, 0, 1)

    def embed(self, batch: NDArray[np.uint8]) -> Features:
        return batch.reshape(len(batch), -1).mean(1, dtype=np.float32)[:, None]


def open_deadly(folder: Path) -> DeadlyEncoder:
    """Open it: importable by workers."""
    return DeadlyEncoder(folder)
