"""`Classifier`: an encoder, a model, and how far to trust them. It answers with a name."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ilk import artefact, packed
from ilk.claimed import claim
from ilk.data import Features, Logits
from ilk.encode import fill
from ilk.encoders import Embeds, restore
from ilk.images import Images, Row, inspect
from ilk.metrics import Probabilities
from ilk.models import Model
from ilk.progress import Progress, silent
from ilk.store import Store
from ilk.trust.calibrate import Calibration
from ilk.trust.conformal import Sets
from ilk.trust.kept import Kept, of_width
from ilk.trust.shares import Shares
from ilk.trust.unknown import Unknown

if TYPE_CHECKING:
    from ilk.report.evidence import Evidence

BLOCK = 2_000  # inputs judged at a time, so that memory does not grow with their number


@dataclass(frozen=True)
class Prediction:
    """What one input shows.

    Attributes:
        path: The input as it was given.
        name: The likeliest class; "" when the input could not be read.
        probability: Calibrated probability of `name`, in [0, 1]; nan when it could not be read.
        names: The conformal set, likeliest first: holds the true class at the stated rate.
            Empty where no name is sure enough.
        unknown: Whether the image is like nothing that was learnt.
        unknown_score: Distance from what was learnt; above the model's threshold is unknown.
        error: Why the input could not be read, or "".
    """

    path: str
    name: str
    probability: float
    names: tuple[str, ...]
    unknown: bool
    unknown_score: float
    error: str = ""

    @classmethod
    def failed(cls, path: str, error: str) -> Prediction:
        """The row of an input that could not be read."""
        return cls(path, "", float("nan"), (), False, float("nan"), error)


@dataclass(frozen=True, eq=False)
class Judgement:
    """What was made of `n` features.

    Attributes:
        probabilities: `[n, k]` float64, rows sum to 1.
        sets: `[n, k]`, which classes belong to the conformal set.
        unknown: `[n]`.
        unknown_score: `[n]` float64.
    """

    probabilities: NDArray[np.float64]
    sets: NDArray[np.bool_]
    unknown: NDArray[np.bool_]
    unknown_score: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Classifier:
    """The artefact: names, encoder, model, calibration, sets and the sense of the unknown.

    Attributes:
        classes: The names it can answer with.
        about: What `model.json` tells beside the parts: metrics, thresholds, versions, seed.
        evidence: What the report is made of; only right after fitting.
        kept: What it needs to grow and to follow; None where there was no label to learn from.
        shares: Class shares that it was adapted to; None for those that it learnt with.
    """

    classes: tuple[str, ...]
    encoder: Embeds
    model: Model
    calibration: Calibration
    sets: Sets
    unknown: Unknown
    about: dict[str, Any] = field(default_factory=dict)
    evidence: Evidence | None = None
    kept: Kept | None = None
    shares: Shares | None = None

    def probabilities(self, logits: Logits) -> Probabilities:
        """What its model's logits `[n, k]` amount to."""
        p = self.calibration.probabilities(logits)
        return self.shares.corrected(p) if self.shares else p

    def judge(self, x: Features) -> Judgement:
        """Probabilities, sets and unknowns of features `[n, d]` of this encoder.

        Raises:
            InputError: The features are of another encoder.
        """
        of_width(x, len(self.unknown.centre))
        p = self.probabilities(self.model.logits(x))
        score = self.unknown.score(x)
        return Judgement(p, self.sets.contains(p, score), score > self.unknown.threshold, score)

    def predict(
        self,
        inputs: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        *,
        store: Store | None = None,
        progress: Progress = silent,
    ) -> list[Prediction]:
        """One prediction an input, in the order given; an unreadable one says why.

        A single path stands for itself.
        """
        return list(self.stream(inputs, store=store, progress=progress))

    def stream(
        self,
        inputs: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        *,
        store: Store | None = None,
        progress: Progress = silent,
    ) -> Iterator[Prediction]:
        """As `predict`, a block at a time, for inputs without end."""
        held = store if store is not None else Store()
        given = [inputs] if isinstance(inputs, str | os.PathLike) else inputs
        paths = (os.fspath(p) for p in given)
        while block := list(islice(paths, BLOCK)):
            yield from self._block(block, held, progress)

    def _block(self, paths: Sequence[str], store: Store, progress: Progress) -> list[Prediction]:
        images = Images(None, tuple(inspect(path) for path in paths))
        images = images.refuse(fill(images, [self.encoder], store, progress=progress))
        used = [i for i, row in enumerate(images.rows) if row.status == "used"]
        x = store.get(self.encoder.space, [images.rows[i].digest for i in used])
        answers = dict(zip(used, self._answers(x), strict=True))
        return [
            replace(answers[i], path=row.path)
            if i in answers
            else Prediction.failed(row.path, told(row))
            for i, row in enumerate(images.rows)
        ]

    def _answers(self, x: Features) -> Iterator[Prediction]:
        j = self.judge(x)
        for p, members, unknown, score in zip(
            j.probabilities, j.sets, j.unknown, j.unknown_score, strict=True
        ):
            order = np.argsort(-p, kind="stable")
            names = tuple(self.classes[c] for c in order if members[c])
            best = int(order[0])
            yield Prediction(
                "", self.classes[best], float(p[best]), names, bool(unknown), float(score)
            )

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write the model folder, with leaderboard, intake and report right after fitting.

        Raises:
            OutputError: The folder cannot be written or holds something else.
        """
        home = claim(Path(folder))
        parts = {name: getattr(self, name) for name in _PARTS}
        weights, told = packed.pack({name: part for name, part in parts.items() if part})
        home.mkdir(parents=True, exist_ok=True)
        artefact.write_file(home / artefact.MARK, b"")
        if self.evidence is not None:
            _write_evidence(self.evidence, home)
        about = {"classes": list(self.classes), "encoder": self.encoder.describe(), **self.about}
        artefact.write(home, weights, {**about, "parts": told})
        (home / artefact.MARK).unlink()
        return home


def _write_evidence(evidence: Evidence, home: Path) -> None:
    from ilk.report import leaderboard_json, render

    board = artefact.json_bytes(leaderboard_json(evidence))
    artefact.write_file(home / "leaderboard.json", board)
    artefact.write_file(home / "intake.json", artefact.json_bytes(evidence.images.to_json()))
    artefact.write_file(
        home / "suspects.csv", suspect_lines(evidence).encode("utf-8", "surrogateescape")
    )
    artefact.write_file(home / "report.html", render(evidence).encode("utf-8"))


def suspect_lines(evidence: Evidence) -> str:
    """Every tested training image as CSV, the one whose label looks most wrong first."""
    flagged = {suspect[0] for suspect in evidence.suspects}
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("path", "label", "suggested", "score", "suspect"))
    for path, label, suggested, score in evidence.ranked:
        rows.writerow((path, label, suggested, f"{score:.6f}", str(path in flagged).lower()))
    return text.getvalue()


def told(row: Row) -> str:
    """A refused row's reason and detail as one text."""
    return f"{row.reason}: {row.detail}" if row.detail else row.reason


def load(
    folder: str | os.PathLike[str], *, device: str = "auto", runtime: str = "torch"
) -> Classifier:
    """Open a model folder.

    Raises:
        ArtefactError: It is foreign, newer or altered.
        Unavailable: The encoder's package or weights are not on this machine, or are others than
            it was fitted with.
    """
    weights, about = artefact.read(Path(folder))
    parts = packed.unpack(weights, about["parts"])
    encoder = restore(about["encoder"], device=device, runtime=runtime)
    rest = {key: value for key, value in about.items() if key not in _OWN}
    return Classifier(tuple(about["classes"]), encoder, about=rest, **parts)


_OWN = {"format", "version", "weights", "digest", "parts", "classes", "encoder"}
_PARTS = ("model", "calibration", "sets", "unknown", "kept", "shares")
