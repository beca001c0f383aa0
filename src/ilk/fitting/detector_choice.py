"""Choose a detector where no defect is known: by anomalies that are made of normal images.

A third of the images, whole groups, is held out. Each detector is fitted to the others and scores
the held-out images and the anomalies made of them (`ilk.fitting.synthetic_anomalies`); the area
under the ROC curve is how often an anomaly has the higher score. The detector with the greatest
mean area over the kinds of anomaly is chosen: kinds count equally, and a kind that no detector sees
changes nothing. Whether this finds the detector that is best for real anomalies is what the
benchmark `normal_or_not` measures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.capabilities import Embeds
from ilk.core.contracts import describe
from ilk.core.data import UNLABELLED, Data, Features, Labels
from ilk.core.errors import InputError
from ilk.core.progress import Progress
from ilk.detectors import list_detectors
from ilk.encode import encode_images
from ilk.encoders.patches import open_patches
from ilk.fitting.synthetic_anomalies import make_anomalies
from ilk.images import Images, decode, read_images
from ilk.maths import folds
from ilk.maths.roc_area import compute_roc_area
from ilk.store import Store

HELD_OUT = 3  # one image in three
MAX_HELD_OUT = 40  # images that anomalies are made of
MIN_HELD_OUT = 4  # below, nothing is compared

Load = Callable[[Embeds], Features]
Areas = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Candidate:
    """A detector, and the encoder whose features it reads.

    Attributes:
        method: The detector.
        reader: The encoder, or that of its patches.
    """

    method: Any
    reader: Embeds

    @property
    def name(self) -> str:
        """The detector as a call."""
        return describe(self.method)


def list_candidates(encoder: Embeds, log: Callable[[str], None]) -> list[Candidate]:
    """Return every detector of `ilk.detectors` that an encoder has features for."""
    try:
        patches = open_patches(encoder)
        grid = patches.grid if patches else None
    except InputError as error:
        patches, grid = None, None
        log(f"{error}; patches are not compared")
    candidates = []
    for method in list_detectors().values():
        if not method.reads_patches:
            candidates.append(Candidate(method(), encoder))
        elif patches is not None and grid is not None:
            candidates.append(Candidate(method(height=grid[0], width=grid[1]), patches))
    return candidates


def choose_detector(
    candidates: Sequence[Candidate],
    images: Images,
    load: Load,
    groups: Labels,
    progress: Progress,
    scratch: Store,
    seed: int = 0,
) -> tuple[Candidate, Areas]:
    """Return the best candidate, and the area of each by kind of synthetic anomaly.

    With fewer than four images or groups to hold out, the first candidate is taken, and no area is
    returned.

    Args:
        candidates: The detectors.
        images: Normal images.
        load: Returns the features `[n, d]` of the used images for a reader.
        groups: Group of each used image, `[n]`, -1 for a group of its own.
        progress: Receives the progress of encoding.
        scratch: Store for the features of anomalies.
        seed: Seed of the split and of the anomalies.
    """
    held_out = split_held_out(groups, seed)
    n_groups = len(np.unique(folds.number_groups(groups)[held_out]))
    if len(candidates) < 2 or n_groups < MIN_HELD_OUT:
        return candidates[0], {}
    pictures = [
        decode(images.source_of(images.used[i]), **images.used[i].reading) for i in held_out
    ]
    kinds = make_anomalies(pictures, seed)
    made = read_images([picture for pictures in kinds.values() for picture in pictures])
    readers = list({id(c.reader): c.reader for c in candidates}.values())
    encode_images(made, readers, scratch, progress=progress)
    areas: Areas = {}
    for candidate in candidates:
        x = load(candidate.reader)
        new = scratch.get(candidate.reader.space, [row.digest for row in made.rows])
        areas[candidate.name] = measure_areas(
            candidate.method, x, groups, held_out, dict(zip(kinds, _split(new, kinds), strict=True))
        )
    best = max(candidates, key=lambda c: float(np.mean(list(areas[c.name].values()))))
    return best, areas


def split_held_out(groups: Labels, seed: int) -> NDArray[np.int64]:
    """Return the positions of images that are held out: whole groups, one image in three at most.

    Args:
        groups: Group of each image, `[n]`, -1 for a group of its own.
        seed: Seed of the choice.
    """
    number = folds.number_groups(groups)
    limit = min(len(groups) // HELD_OUT, MAX_HELD_OUT)
    chosen: list[int] = []
    for group in np.random.default_rng(seed).permutation(number.max() + 1):
        members = np.flatnonzero(number == group)
        if len(chosen) + len(members) <= limit:
            chosen += members.tolist()
    return np.sort(np.array(chosen, np.int64))


def measure_areas(
    method: Any,
    x: Features,
    groups: Labels,
    held_out: NDArray[np.int64],
    anomalies: Mapping[str, Features],
) -> dict[str, float]:
    """Return the area under the ROC curve of a detector that was not fitted to the held-out rows.

    Args:
        method: The detector.
        x: Features of normal rows, `[n, d]`.
        groups: Group of each, `[n]`.
        held_out: Positions of the rows that it is not fitted to.
        anomalies: Features of anomalies, `[m, d]`, by kind.
    """
    rest = np.setdiff1d(np.arange(len(x)), held_out)
    unlabelled = np.full(len(rest), UNLABELLED)
    if hasattr(method, "folds"):  # which only a threshold needs, and none is asked for
        method = replace(method, folds=2)
    model = method.fit(Data(x[rest], unlabelled, (), group=groups[rest]))
    normal = model.score(x[held_out])
    return {kind: compute_roc_area(normal, model.score(new)) for kind, new in anomalies.items()}


def _split(x: Features, kinds: Mapping[str, Sequence[Any]]) -> list[Features]:
    """Return the rows `[n, d]` of each kind."""
    return np.split(x, np.cumsum([len(made) for made in kinds.values()])[:-1])
