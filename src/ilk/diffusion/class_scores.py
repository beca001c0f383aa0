"""An encoder whose features are one score a class: a diffusion classifier on its way to the board.

Scores go through the store like any other features, so a run that was cut off goes on where it was,
and calibration, sets and the sense of the unknown come after it as after every other encoder.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ilk.data import Features
from ilk.diffusion import seen
from ilk.diffusion.classify import Measure
from ilk.diffusion.contract import unit
from ilk.diffusion.judges import STRATEGIES, Judges
from ilk.diffusion.places import folder, home_of
from ilk.diffusion.seen import Seen
from ilk.diffusion.source import Pretrained, Source, source
from ilk.encoders import device as devices
from ilk.encoders.address import key
from ilk.encoders.among import Among
from ilk.errors import InputError
from ilk.store import Space

FAMILY = "diffusion-classifier"
VERSION = 1  # raised whenever the same network and image would give other scores than before


@dataclass(frozen=True)
class Settings:
    """How classes are judged; in a name they follow the folder, `PATH@strategy=naive,levels=16`.

    Attributes:
        strategy: `race` stops a class once it has lost; `naive` goes through all levels for all
            classes; `staged` is the paper's two-stage pruning; `noise` takes one optimised noise.
        levels: Noise levels at most; 0 takes 32, those that were tuned where there are any. Two
            stages need 500 or more.
        error: Share of images whose answer a race may change, in (0, 1).
        seed: Of the noise.
        distance: `l2`, `l1` or `huber`.
        shortlist: Classes that a cheap head on the network's own features lets in; 0 for all.
    """

    strategy: str = "race"
    levels: int = 0
    error: float = 0.003
    seed: int = 0
    distance: str = "l2"
    shortlist: int = 0

    def __post_init__(self) -> None:
        if self.strategy not in STRATEGIES:
            known = ", ".join(STRATEGIES)
            raise InputError(f"no strategy is called {self.strategy!r}; take one of {known}")
        if not 0 < self.error < 1:
            raise InputError(f"error is {self.error}; it must lie between 0 and 1")
        if self.shortlist < 0:
            raise InputError(f"a shortlist of {self.shortlist} classes holds no answer")
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
        forms = {name: type(value) for name, value in asdict(cls()).items()}
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
        default = asdict(Settings())
        return ",".join(f"{k}={v}" for k, v in asdict(self).items() if v != default[k])


class ClassScores:
    """One score a class for each image, `[n, k]`; higher is likelier.

    Args:
        name: `diffusion-classifier:PATH[@SETTINGS]`.
        among: What to choose among.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        precision: `float32` or `bfloat16`, of the network's own arithmetic.

    Raises:
        ArtefactError: The folder holds no diffusion model.
        InputError: A setting cannot be, or the network does not know a class.
        Unavailable: It is a checkpoint of diffusers, and that is not installed.
    """

    def __init__(
        self, name: str, among: Among, device: str = "auto", precision: str = "float32"
    ) -> None:
        devices.check(device)
        path, settings = split(name.partition(":")[2])
        self.folder, self.settings = home_of(path), Settings.read(settings)
        self.source: Source = source(self.folder, among, device, precision)
        self.among, self.device, self.precision = among, device, precision
        self.name = f"{FAMILY}:{path}" + (f"@{text}" if (text := str(self.settings)) else "")
        self._loading, self._judges = threading.Lock(), dict[int, Judges]()
        self._turn: AbstractContextManager[Any] = nullcontext()

    @property
    def classes(self) -> tuple[str, ...]:
        """The names, in the order of the scores."""
        return self.source.classes

    @property
    def batch(self) -> int:
        """Images judged at once; few of a checkpoint, so that little is lost by a stop."""
        return 32 if isinstance(self.source, Pretrained) else 4

    @cached_property
    def _seen(self) -> Seen:
        """A noise goes with the one network that it was optimised for."""
        one = self.settings.strategy == "noise"
        return replace(self.source.seen, folds=0) if one else self.source.seen

    @cached_property
    def space(self) -> Space:
        return Space(key(self._parts()), self.name, len(self.classes))

    def _parts(self) -> dict[str, Any]:
        return {
            "family": FAMILY,
            "version": VERSION,
            "settings": asdict(self.settings),
            "classes": list(self.classes),
            "prompts": list(self.among.prompts),
            "precision": self.precision,
            "files": self.source.digests(self.settings.strategy),
        }

    def describe(self) -> dict[str, Any]:
        about = {"name": self.name, "key": self.space.key, **self._parts()}
        return {**about, "folder": str(self.folder.absolute())}

    def fair(self, digests: Sequence[str]) -> NDArray[np.bool_]:
        """Whether each file can be judged by a network that did not learn from it, `[n]`."""
        return self._seen.fair(digests)

    def load(self) -> None:
        """Read the network, and those that left a part out. Takes a second or so.

        Raises:
            ArtefactError: A file is damaged or missing.
        """
        with self._loading:
            if self._judges:
                return
            where = devices.pick(self.device)
            measure = Measure(self.settings.distance, 512, self.source.precision, where)
            judges = {
                part: self._judge(part, measure)
                for part in sorted({-1, *self._seen.part(self._seen.pixels).tolist()})
            }
            self._turn = nullcontext() if where == "cpu" else threading.Lock()
            self._judges = judges

    def _judge(self, part: int, measure: Measure) -> Judges:
        network, own = self.source.network(part), folder(self.folder, part)
        return Judges(network, self.folder, own, measure, self.source.trial)

    def prepare(self, image: Image.Image) -> NDArray[np.uint8]:
        return self.source.prepare(image)

    def embed(self, batch: NDArray[np.uint8]) -> Features:
        self.load()
        part = self._seen.part(seen.marks(batch))
        out = np.empty((len(batch), len(self.classes)), np.float32)
        with self._turn:  # threads take turns on a GPU
            x = self.source.clean(batch)
            for p in np.unique(part):
                rows = np.flatnonzero(part == p)
                verdict = self._judges[int(p)].verdict(x[torch.from_numpy(rows)], self.settings)
                out[rows] = verdict.scores.numpy()
        return out

    def explain(self, prepared: NDArray[np.uint8], first: int, second: int) -> Image.Image:
        """Where an image `[c, h, w]` speaks for class `first` (red) and where for `second`."""
        self.load()
        part = int(self._seen.part(seen.marks(prepared[None]))[0])
        shown = unit(torch.from_numpy(np.array(prepared)))
        with self._turn:
            x = self.source.clean(prepared[None])
            return self._judges[part].explain(x, shown, (first, second), self.settings)


def split(text: str) -> tuple[str, str]:
    """A path and the settings after its last `@`; a path may hold an `@` of its own."""
    path, mark, settings = text.rpartition("@")
    return (path, settings) if mark and "=" in settings else (text, "")
