"""What fits no known class, in groups: images and a classifier in, suggestions out.

The classifier has kept features of images that it learnt from (`ilk.trust.kept`). They stand for
the known classes; the images to look at are rows without a label beside them, and the mixture of
`GaussianMixtureDiscovery` finds what is new and how many kinds of it there are. A group is then
suggested where the classifier itself calls more of its images unknown than false alarms explain.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from ilk.classifier import Classifier
from ilk.data import UNKNOWN, Data, Features, Labels
from ilk.encode import fill
from ilk.errors import InputError, NoImages
from ilk.images import Images, Row
from ilk.methods.gaussian_mixture_discovery import GaussianMixtureDiscovery
from ilk.progress import Progress, silent
from ilk.store import Store

CHANCE = 0.01  # that a group is suggested whose unknown images are all false alarms
SHEET = "groups.csv"


@dataclass(frozen=True)
class Found:
    """One image and where it was put.

    Attributes:
        row: The image as it was taken in; refused where it could not be read.
        group: 1 for the largest group, and so on; 0 for none.
        distance: From the mean of its group, in standard deviations within a known class, a root
            mean square over directions; nan outside groups.
        nearest: The known class that is likeliest, "" where the image could not be read.
        probability: What the classifier gives that class, in [0, 1]; nan likewise.
        unknown: Whether the classifier calls it unknown.
    """

    row: Row
    group: int = 0
    distance: float = float("nan")
    nearest: str = ""
    probability: float = float("nan")
    unknown: bool = False


@dataclass(frozen=True)
class Discovery:
    """What became of every image.

    Attributes:
        images: What was taken in.
        found: One for each row of `images`, in its order.
        groups: Number of groups that are suggested.
        notes: What to keep in mind, a sentence each.
    """

    images: Images
    found: tuple[Found, ...]
    groups: int
    notes: tuple[str, ...]

    def group(self, number: int) -> list[Found]:
        """The images of one group, the most typical first."""
        return sorted((f for f in self.found if f.group == number), key=lambda f: f.distance)

    @property
    def failed(self) -> int:
        """Files that could not be used; copies, and what is no one's data, are not among them."""
        return sum(row.reason != "duplicate" for row in self.images.refused)


def discover(
    classifier: Classifier,
    images: Images,
    store: Store,
    *,
    groups: int | None = None,
    everything: bool = False,
    progress: Progress = silent,
) -> Discovery:
    """Group the images that fit no class of `classifier`; labels they may have are not read.

    Args:
        groups: How many there are; None finds out.
        everything: Suggest every group that is found, whatever is called unknown.

    Raises:
        InputError: The classifier has kept nothing, or more groups are asked for than images.
        NoImages: None can be read.
    """
    images = images.refuse(fill(images, [classifier.encoder], store, progress=progress))
    used = images.used
    if not used:
        raise NoImages("none of the images can be read, so there is nothing to group")
    if groups is not None and not 1 <= groups <= len(used):
        raise InputError(f"{groups} groups cannot be made of {len(used)} images; ask for fewer")
    x = store.get(classifier.encoder.space, [row.digest for row in used])
    judged = classifier.judge(x)
    answer = assigned(classifier, x, groups)
    if groups is None and not everything:
        answer = backed(answer, judged.unknown, classifier.unknown.false_alarm)
    answer = _by_size(answer)
    distance = _distances(classifier, x, answer)
    best = judged.probabilities.argmax(1)
    made = {
        id(row): Found(
            row,
            int(answer[i]),
            float(distance[i]),
            classifier.classes[best[i]],
            float(judged.probabilities[i, best[i]]),
            bool(judged.unknown[i]),
        )
        for i, row in enumerate(used)
    }
    found = tuple(made.get(id(row), Found(row)) for row in images.rows)
    said = _notes(classifier, answer, judged.unknown, given=groups is not None or everything)
    return Discovery(images, found, int(answer.max()), said)


def assigned(classifier: Classifier, x: Features, groups: int | None) -> Labels:
    """The group of each row of features `[n, d]`, from 1; 0 for what fits a known class.

    Raises:
        InputError: The classifier has kept nothing of what it learnt.
    """
    kept = classifier.kept
    if kept is None or not kept.width:
        raise InputError(
            "this model has kept no features of the images that it learnt from, so there is "
            "nothing to tell new kinds from; fit one anew with ilk fit, on labelled images and "
            "an encoder that gives features"
        )
    bare = np.setdiff1d(np.flatnonzero(kept.counts), kept.y)  # classes of one image: their means
    rows = np.concatenate([kept.x, kept.means[bare].astype(np.float32), x])
    y = np.concatenate([kept.y, bare, np.full(len(x), UNKNOWN)])
    data = Data(rows, y, classifier.classes)
    model = GaussianMixtureDiscovery(new=groups).fit(data)
    best: Labels = model.logits(x).argmax(1).astype(np.int64)
    return np.maximum(best - data.k + 1, 0)


def backed(answer: Labels, unknown: NDArray[np.bool_], false_alarm: float) -> Labels:
    """Groups of which more is called unknown than false alarms explain; 0 for the others' rows.

    Either most of it is, or so much that chance alone has a probability below `CHANCE`.
    """
    out = answer.copy()
    for group in range(1, int(answer.max(initial=0)) + 1):
        rows = answer == group
        n, flagged = int(rows.sum()), int(unknown[rows].sum())
        by_chance = binom.sf(flagged - 1, n, false_alarm)
        if not (2 * flagged > n or by_chance < CHANCE):
            out[rows] = 0
    return out


def _by_size(answer: Labels) -> Labels:
    """Groups numbered from 1, the largest first; 0 stays."""
    names, sizes = np.unique(answer[answer > 0], return_counts=True)
    place = np.zeros(int(answer.max(initial=0)) + 1, np.int64)
    place[names[np.argsort(-sizes, kind="stable")]] = np.arange(1, len(names) + 1)
    return np.asarray(place[answer])


def _distances(classifier: Classifier, x: Features, answer: Labels) -> NDArray[np.float64]:
    """From the mean of each row's group, `[n]`; nan outside groups."""
    sense = classifier.unknown
    q = (np.asarray(x, np.float64) - sense.centre) @ sense.axes / sense.spread
    out = np.full(len(x), np.nan)
    for group in range(1, int(answer.max(initial=0)) + 1):
        rows = answer == group
        off = q[rows] - q[rows].mean(0)
        out[rows] = np.sqrt(np.mean(off**2, axis=1)) if q.shape[1] else 0.0
    return out


def _notes(
    classifier: Classifier, answer: Labels, unknown: NDArray[np.bool_], *, given: bool
) -> tuple[str, ...]:
    notes = []
    sizes = np.bincount(answer[answer > 0])
    if (single := int(np.sum(sizes == 1))) == 1:
        notes.append("a group of one image is only a suggestion: nothing else looks like it")
    elif single:
        notes.append(f"{single} groups of one image are only suggestions: nothing is like them")
    if left := int(np.sum(unknown & (answer == 0))):
        what = "one image is" if left == 1 else f"{left:,} images are"
        notes.append(f"{what} called unknown and fit no group; {SHEET} tells which")
    if not given and classifier.unknown.note:
        notes.append(f"{classifier.unknown.note}; --all suggests groups all the same")
    return tuple(notes)
