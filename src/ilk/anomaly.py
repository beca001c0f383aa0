"""Normal or not: an encoder and what is normal in its space, learnt, saved and asked."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ilk import artefact, packed
from ilk.claimed import claim
from ilk.data import UNKNOWN, Data
from ilk.encode import fill
from ilk.encoders import Embeds, restore
from ilk.errors import InputError, NoImages
from ilk.images import Images, Row, inspect, listing, shown
from ilk.methods.gaussian_anomaly import GaussianAnomaly, NormalGaussian
from ilk.progress import Progress, silent
from ilk.store import Store

LEAST = 3  # normal images: two always lie as far from their mean as each other


@dataclass(frozen=True)
class Oddness:
    """What is said of one input.

    Attributes:
        row: The input; `row.status` is not "used" where it could not be read.
        score: Distance from what is normal; nan where it could not be read.
        odd: Whether the score is beyond the threshold.
    """

    row: Row
    score: float
    odd: bool


@dataclass(frozen=True, eq=False)
class AnomalyDetector:
    """An encoder, what is normal in its space, and the false-alarm rate to judge by.

    Attributes:
        encoder: Its features were learnt from.
        normal: The Gaussian of normal images.
        false_alarm: Share of normal images that may be called odd, in (0, 1).
    """

    encoder: Embeds
    normal: NormalGaussian
    false_alarm: float = 0.01

    @classmethod
    def learnt(
        cls, images: Images, encoder: Embeds, store: Store, false_alarm: float = 0.01
    ) -> AnomalyDetector:
        """From images that were encoded already (`ilk.encode.fill`), all taken as normal.

        Raises:
            NoImages: There is none.
            InputError: There are fewer than three, or `false_alarm` is not between 0 and 1.
        """
        images.some()
        if len(images.used) < LEAST:
            raise InputError(
                f"{len(images.used)} normal images do not tell what is normal; give {LEAST} at "
                "least, better a hundred"
            )
        x = store.get(encoder.space, [row.digest for row in images.used])
        normal = GaussianAnomaly().fit(Data(x, np.full(len(x), UNKNOWN), ()))
        normal.threshold(false_alarm)  # refuses a rate that is none
        return cls(encoder, normal, false_alarm)

    def judge(
        self,
        inputs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        store: Store,
        threshold: float | None = None,
        progress: Progress = silent,
    ) -> list[Oddness]:
        """One entry an input, folders spelt out, in the order given.

        Args:
            inputs: A path of an image or a folder, or several.
            store: Where encoded images are kept.
            threshold: The score beyond which an image is odd; None: that of `false_alarm`.
            progress: Told of encoding.

        Raises:
            NoImages: There is no file at all.
        """
        limit = self.normal.threshold(self.false_alarm) if threshold is None else threshold
        asked = [inputs] if isinstance(inputs, str | os.PathLike) else inputs
        files = [path for given in asked for path in listing(given)]
        if not files:
            where = ", ".join(shown(given) for given in asked)
            raise NoImages(f"there is no file in {where}; name images, or a folder that has some")
        images = Images(None, tuple(inspect(path) for path in files))
        images = images.refuse(fill(images, [self.encoder], store, progress=progress))
        used = [row for row in images.rows if row.status == "used"]
        x = store.get(self.encoder.space, [row.digest for row in used])
        scores = iter(self.normal.score(x).tolist())
        told = []
        for row in images.rows:
            score = next(scores) if row.status == "used" else float("nan")
            told.append(Oddness(row, score, score > limit))
        return told

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the folder, as a classifier's but of another kind.

        Raises:
            OutputError: It cannot be written, or holds something else.
        """
        home = claim(Path(folder), artefact.DETECTOR)
        weights, parts = packed.pack({"detector": self.normal})
        about = {
            "encoder": self.encoder.describe(),
            "false_alarm": self.false_alarm,
            "parts": parts,
        }
        artefact.write(home, weights, about, artefact.DETECTOR)


def load(
    folder: str | os.PathLike[str], *, device: str = "auto", runtime: str = "torch"
) -> AnomalyDetector:
    """Open a detector's folder.

    Raises:
        ArtefactError: It holds something else, or was altered.
        Unavailable: The encoder is not on this machine.
    """
    weights, about = artefact.read(Path(folder), artefact.DETECTOR)
    normal = packed.unpack(weights, about["parts"])["detector"]
    encoder = restore(about["encoder"], device=device, runtime=runtime)
    return AnomalyDetector(encoder, normal, float(about["false_alarm"]))
