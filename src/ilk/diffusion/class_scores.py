"""An encoder whose features are one score a class: a diffusion classifier on its way to the board.

Scores go through the store like any other features, so a run that was cut off goes on where it was,
and calibration, sets and the sense of the unknown come after it as after every other encoder.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ilk.data import Features
from ilk.diffusion import crossed, saved, seen
from ilk.diffusion import trial as trials
from ilk.diffusion.chosen import chosen
from ilk.diffusion.classify import Measure
from ilk.diffusion.contract import Denoises
from ilk.diffusion.judges import Judges
from ilk.diffusion.trial import Trial
from ilk.encoders import device as devices
from ilk.encoders.address import file_digest, key
from ilk.encoders.pixels import Pixels
from ilk.errors import InputError
from ilk.store import Space

FAMILY = "diffusion-classifier"
VERSION = 1  # raised whenever the same network and image would give other scores than before
FILES = (saved.JSON, saved.ARRAYS, seen.FILE, *Judges.FILES)


@dataclass(frozen=True)
class Settings:
    """How classes are judged; in a name they follow the folder, `PATH@strategy=naive,levels=16`.

    Attributes:
        strategy: `race` stops a class once it has lost; `naive` goes through all levels for all
            classes; `staged` is the paper's two-stage pruning; `noise` takes one optimised noise.
        levels: Noise levels at most; 0 takes those that were tuned, else 32.
        error: Share of images whose answer a race may change, in (0, 1).
        seed: Of the noise.
        distance: `l2`, `l1` or `huber`.
    """

    strategy: str = "race"
    levels: int = 0
    error: float = 0.01
    seed: int = 0
    distance: str = "l2"

    def __post_init__(self) -> None:
        if self.strategy not in Judges.STRATEGIES:
            known = ", ".join(Judges.STRATEGIES)
            raise InputError(f"no strategy is called {self.strategy!r}; take one of {known}")
        if not 0 < self.error < 1:
            raise InputError(f"error is {self.error}; it must lie between 0 and 1")
        if self.levels < 0:
            raise InputError(
                f"{self.levels} noise levels are none; give at least 1, or 0 to choose"
            )
        Measure(distance=self.distance)

    @classmethod
    def read(cls, text: str) -> Settings:
        """What `strategy=naive,levels=16` asks for.

        Raises:
            InputError: A setting is unknown or cannot be read.
        """
        forms = {f.name: type(f.default) for f in fields(cls)}
        given: dict[str, Any] = {}
        for part in filter(None, text.split(",")):
            name, _, value = part.partition("=")
            if name not in forms:
                raise InputError(f"no setting is called {name!r}; there are {', '.join(forms)}")
            try:
                given[name] = forms[name](value)
            except ValueError:
                raise InputError(f"{name}={value!r} is no {forms[name].__name__}") from None
        return cls(**given)

    def __str__(self) -> str:
        told = asdict(self).items()
        default = asdict(replace(self, **{f.name: f.default for f in fields(self)}))
        return ",".join(f"{k}={v}" for k, v in told if v != default[k])


class ClassScores:
    """One score a class for each image, `[n, k]`; higher is likelier.

    Args:
        name: `diffusion-classifier:PATH[@SETTINGS]`.
        classes: What to choose among, in that order; None takes the network's own.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        precision: `float32` or `bfloat16`, of the network's own arithmetic.

    Raises:
        ArtefactError: The folder holds no diffusion model of ilk.
        InputError: A setting cannot be, or the network does not know a class.
    """

    def __init__(
        self, name: str, classes: Sequence[str] | None, device: str, precision: str
    ) -> None:
        devices.check(device)
        path, settings = split(name.partition(":")[2])
        self.folder, self.settings = Path(path).expanduser(), Settings.read(settings)
        self.build = saved.read(self.folder)
        if not self.build.classes:
            raise InputError(
                f"{path} was pretrained without labels, so it cannot tell classes apart; "
                f"take its features, --encoder diffusion:{path}, or pretrain on labelled images"
            )
        self.classes = tuple(self.build.classes if classes is None else classes)
        self.device, self.precision = device, precision
        self.name = f"{FAMILY}:{path}" + (f"@{text}" if (text := str(self.settings)) else "")
        channels, height, width = self.build.shape
        self._pixels = Pixels(height, width, channels)
        self._loading, self._judges = threading.Lock(), dict[int, Judges]()
        chosen(_Named(self.build), self.classes)

    @property
    def batch(self) -> int:
        """Images that are judged at once."""
        return 64

    @cached_property
    def space(self) -> Space:
        return Space(key(self._parts()), self.name, len(self.classes))

    def _parts(self) -> dict[str, Any]:
        held = [self.folder / name for name in FILES]
        crossings = crossed.files(self.folder, self._seen.folds)
        return {
            "family": FAMILY,
            "version": VERSION,
            "settings": asdict(self.settings),
            "classes": list(self.classes),
            "precision": self.precision,
            "files": [file_digest(path) for path in [*held, *crossings] if path.exists()],
        }

    def describe(self) -> dict[str, Any]:
        about = {"name": self.name, "key": self.space.key, **self._parts()}
        return {**about, "folder": str(self.folder.absolute())}

    @cached_property
    def _seen(self) -> seen.Seen:
        return seen.load(self.folder)

    def fair(self, digests: Sequence[str]) -> NDArray[np.bool_]:
        """Whether each file can be judged by a network that did not learn from it, `[n]`."""
        return self._seen.fair(digests)

    def load(self) -> None:
        """Read the network, and those that left a part out. Takes a second or so.

        Raises:
            ArtefactError: A file is damaged or missing.
        """
        with self._loading:
            if not self._judges:
                trial = trials.load(self.folder)
                at = [self.build.classes.index(name) for name in self.classes]
                told = trial.only(at) if trial is not None else None
                for part in range(-1, self._seen.folds):
                    self._judges[part] = self._judge(crossed.folder(self.folder, part), told)

    def _judge(self, folder: Path, trial: Trial | None) -> Judges:
        where = devices.pick(self.device)
        network: Denoises = chosen(saved.load(folder).to(where), self.classes)
        measure = Measure(self.settings.distance, 512, self.precision, where)
        return Judges(network, self.folder, measure, trial)

    def prepare(self, image: Image.Image) -> NDArray[np.uint8]:
        return self._pixels.prepare(image)

    def embed(self, batch: NDArray[np.uint8]) -> Features:
        self.load()
        part = self._seen.part(seen.marks(batch))
        out = np.empty((len(batch), len(self.classes)), np.float32)
        for p in np.unique(part):
            rows = np.flatnonzero(part == p)
            x = torch.from_numpy(batch[rows].astype(np.float32) / 127.5 - 1)
            out[rows] = self._judges[int(p)].verdict(x, self.settings).scores.numpy()
        return out

    def explain(self, prepared: NDArray[np.uint8], first: int, second: int) -> Image.Image:
        """Where an image `[c, h, w]` speaks for class `first` (red) and where for `second`."""
        self.load()
        batch = prepared[None]
        judge = self._judges[int(self._seen.part(seen.marks(batch))[0])]
        x = torch.from_numpy(batch.astype(np.float32) / 127.5 - 1)
        return judge.explain(x, first, second, self.settings)


class _Named:
    """What a network will know, before its weights are read."""

    def __init__(self, build: saved.Build) -> None:
        self.shape, self.sigmas, self.classes = build.shape, build.sigmas, build.classes

    def condition(self, classes: torch.Tensor) -> torch.Tensor:
        return classes

    def denoise(self, noisy: torch.Tensor, _s: torch.Tensor, _c: torch.Tensor) -> torch.Tensor:
        return noisy


def split(text: str) -> tuple[str, str]:
    """A path and the settings after its last `@`; a path may hold an `@` of its own."""
    path, mark, settings = text.rpartition("@")
    return (path, settings) if mark and "=" in settings else (text, "")
