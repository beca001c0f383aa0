"""Group images that belong to no class of a saved classifier.

The stored rows of the classifier (`ilk.trust.summary_statistics`) represent the known classes, the
images are unlabelled rows, and `GaussianMixtureDiscovery` estimates the number of new groups and
assigns images to them. A group is suggested only if most of its images are flagged as unknown, or
if they score higher than known images do; the score is chosen on known classes that are hidden in
turn (`ilk.updates.unknown_images`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ilk.artifacts.classifier import Classifier
from ilk.core.data import UNLABELLED, Data, Features, Labels
from ilk.core.errors import InputError, NoImages
from ilk.core.progress import Progress, silent_progress
from ilk.discovery.gaussian_mixture_discovery import GaussianMixtureDiscovery
from ilk.encode import encode_and_refuse
from ilk.images import Images, Row
from ilk.images.value_ranges.model_ranges import use_ranges
from ilk.store import Store
from ilk.trust.unknown_scores import list_unknown_scores
from ilk.updates.group_names import suggest_group_names
from ilk.updates.hidden_classes import ScoreChoice
from ilk.updates.unknown_images import UnknownImages, flag_unknown
from ilk.vocabulary.group_names import NameSuggestion

SIGNIFICANCE = 0.001  # of the test that a group scores no higher than known images
GROUPS_FILE = "groups.csv"


@dataclass(frozen=True)
class GroupedImage:
    """One image and its group.

    Attributes:
        row: The image; refused if it could not be read.
        group: Group number, from 1 for the largest; 0 for none.
        distance: Root mean square distance from the mean of its group, in within-class standard
            deviations; nan outside groups.
        nearest_class: The most likely known class; "" if the image could not be read.
        probability: Its probability, in [0, 1]; nan if the image could not be read.
        is_unknown: Whether the image is flagged as unknown, by the chosen score.
        unknown_score: The chosen score; nan if the image could not be read.
    """

    row: Row
    group: int = 0
    distance: float = float("nan")
    nearest_class: str = ""
    probability: float = float("nan")
    is_unknown: bool = False
    unknown_score: float = float("nan")


@dataclass(frozen=True)
class Discovery:
    """The suggested groups of a set of images.

    Attributes:
        images: The images.
        grouped: Results for the rows of `images`, in the same order.
        n_groups: Number of suggested groups.
        notes: Notes for the user, one sentence each.
        names: Suggested name by group, for the groups that an encoder has a word for.
        choice: The score by which images are flagged as unknown.
    """

    images: Images
    grouped: tuple[GroupedImage, ...]
    n_groups: int
    notes: tuple[str, ...]
    names: Mapping[int, NameSuggestion] = field(default_factory=dict)
    choice: ScoreChoice = field(default_factory=lambda: ScoreChoice(list_unknown_scores()[0]))

    def list_group(self, number: int) -> list[GroupedImage]:
        """Return the images of one group, by distance from its mean."""
        return sorted((f for f in self.grouped if f.group == number), key=lambda f: f.distance)

    @property
    def n_failed(self) -> int:
        """Number of files that could not be used, not counting duplicates."""
        return sum(row.reason != "duplicate" for row in self.images.refused)


def discover_groups(
    classifier: Classifier,
    images: Images,
    store: Store,
    *,
    n_groups: int | None = None,
    keep_all: bool = False,
    progress: Progress = silent_progress,
) -> Discovery:
    """Group the images that belong to no class of `classifier`; their labels are ignored.

    Args:
        classifier: The saved classifier.
        images: The images.
        store: Feature store of its encoder.
        n_groups: Number of groups; None estimates it.
        keep_all: Suggest every group, even one whose images may be of known classes.
        progress: Receives the progress of encoding.

    Raises:
        InputError: If the classifier stores no features, or there are fewer images than groups.
        NoImages: If no image can be read.
    """
    images = use_ranges(images, classifier.value_ranges, store, progress)
    images = encode_and_refuse(images, [classifier.encoder], store, progress=progress)
    used = images.used
    if not used:
        raise NoImages("none of the images can be read, so there is nothing to group")
    if n_groups is not None and not 1 <= n_groups <= len(used):
        raise InputError(
            f"{n_groups} groups cannot be made of {len(used)} images; reduce the number"
        )
    x = store.get(classifier.encoder.space, [row.digest for row in used])
    scored = classifier.score_batch(x)
    group_ids, unknown = find_new_groups(classifier, x, n_groups, keep_all=keep_all)
    distance = _compute_distances(classifier, x, group_ids)
    best_class = scored.probabilities.argmax(1)
    grouped_by_id = {
        id(row): GroupedImage(
            row,
            int(group_ids[i]),
            float(distance[i]),
            classifier.classes[best_class[i]],
            float(scored.probabilities[i, best_class[i]]),
            bool(unknown.is_unknown[i]),
            float(unknown.score[i]),
        )
        for i, row in enumerate(used)
    }
    grouped = tuple(grouped_by_id.get(id(row), GroupedImage(row)) for row in images.rows)
    notes = _collect_notes(
        classifier, group_ids, unknown.is_unknown, given=n_groups is not None or keep_all
    )
    notes += (unknown.choice.note,) if unknown.choice.note else ()
    names, named_by = suggest_group_names(
        classifier.encoder, images, group_ids, classifier.classes, store, progress
    )
    if names:
        notes += (f"the names are suggestions by {named_by}, which knows only words of ImageNet",)
    return Discovery(images, grouped, int(group_ids.max()), notes, names, unknown.choice)


def find_new_groups(
    classifier: Classifier, x: Features, n_groups: int | None = None, *, keep_all: bool = False
) -> tuple[Labels, UnknownImages]:
    """Return the group of each row, `[n]`, from 1 for the largest, and which rows are unknown.

    Rows in no group, or in one that may be of known classes, have 0.

    Args:
        classifier: The saved classifier.
        x: Features of its encoder, `[n, d]`.
        n_groups: Number of groups; None estimates it.
        keep_all: Keep every group, even one whose rows may be of known classes.

    Raises:
        InputError: If the classifier stores no features.
    """
    group_ids = assign_groups(classifier, x, n_groups)
    unknown = flag_unknown(classifier, x)
    if n_groups is None and not keep_all:
        group_ids = keep_supported_groups(group_ids, unknown)
    return _sort_by_size(group_ids), unknown


def assign_groups(classifier: Classifier, x: Features, n_groups: int | None) -> Labels:
    """Return the group of each row, `[n]`, from 1; 0 for rows of a known class.

    Args:
        classifier: The saved classifier.
        x: Features, `[n, d]`.
        n_groups: Number of groups; None estimates it.

    Raises:
        InputError: If the classifier stores no features.
    """
    summary = classifier.summary_statistics
    if summary is None or not summary.width:
        raise InputError(
            "this model stores no features of its training images, so new classes cannot be "
            "separated from known ones; fit it again with ilk fit, on labelled images and with "
            "an encoder that gives features"
        )
    # Classes of one image have no stored row; their mean is that image.
    single_row_classes = np.setdiff1d(np.flatnonzero(summary.counts), summary.y)
    rows = np.concatenate([summary.x, summary.means[single_row_classes].astype(np.float32), x])
    y = np.concatenate([summary.y, single_row_classes, np.full(len(x), UNLABELLED)])
    data = Data(rows, y, classifier.classes)
    model = GaussianMixtureDiscovery(n_new=n_groups).fit(data)
    best_column: Labels = model.logits(x).argmax(1).astype(np.int64)
    return np.maximum(best_column - data.k + 1, 0)


def keep_supported_groups(group_ids: Labels, unknown: UnknownImages) -> Labels:
    """Return `group_ids` with 0 for groups whose images may be of known classes.

    A group is supported if most of its images are flagged as unknown, or if their scores exceed
    those of held-out images of known classes (rank-sum test of Mann and Whitney, 1947) with a
    probability below `SIGNIFICANCE`. Few images of a group pass the threshold of single images
    where classes are alike, but together they lie above known ones.

    Args:
        group_ids: Group of each image, `[n]`; 0 for none.
        unknown: Flags and scores of the images.
    """
    from scipy.stats import mannwhitneyu

    out, held_out = group_ids.copy(), unknown.held_out
    for group in range(1, int(group_ids.max(initial=0)) + 1):
        rows = group_ids == group
        is_supported = 2 * int(unknown.is_unknown[rows].sum()) > int(rows.sum())
        if rows.any() and len(held_out) and not is_supported:
            test = mannwhitneyu(unknown.score[rows], held_out, alternative="greater")
            is_supported = test.pvalue < SIGNIFICANCE
        if not is_supported:
            out[rows] = 0
    return out


def _sort_by_size(group_ids: Labels) -> Labels:
    """Renumber groups from 1, the largest first; 0 stays."""
    names, sizes = np.unique(group_ids[group_ids > 0], return_counts=True)
    new_ids = np.zeros(int(group_ids.max(initial=0)) + 1, np.int64)
    new_ids[names[np.argsort(-sizes, kind="stable")]] = np.arange(1, len(names) + 1)
    return np.asarray(new_ids[group_ids])


def _compute_distances(
    classifier: Classifier, x: Features, group_ids: Labels
) -> NDArray[np.float64]:
    """Return the distance of each row from the mean of its group, `[n]`; nan outside groups."""
    detector = classifier.ood_detector
    centred_x = np.asarray(detector.select_columns(x), np.float64) - detector.centre
    q = centred_x @ detector.axes / detector.std
    out = np.full(len(x), np.nan)
    for group in range(1, int(group_ids.max(initial=0)) + 1):
        rows = group_ids == group
        centred = q[rows] - q[rows].mean(0)
        out[rows] = np.sqrt(np.mean(centred**2, axis=1)) if q.shape[1] else 0.0
    return out


def _collect_notes(
    classifier: Classifier, group_ids: Labels, is_unknown: NDArray[np.bool_], *, given: bool
) -> tuple[str, ...]:
    """Return notes on single images, flagged images outside groups and the threshold."""
    notes = []
    sizes = np.bincount(group_ids[group_ids > 0])
    if (n_single := int(np.sum(sizes == 1))) == 1:
        notes.append("a group of one image is only a suggestion: nothing else looks like it")
    elif n_single:
        notes.append(
            f"{n_single} groups of one image are only suggestions: nothing looks like them"
        )
    if n_ungrouped := int(np.sum(is_unknown & (group_ids == 0))):
        what = "one image is" if n_ungrouped == 1 else f"{n_ungrouped:,} images are"
        notes.append(f"{what} flagged as unknown but in no group; see {GROUPS_FILE}")
    if not given and classifier.ood_detector.note:
        notes.append(f"{classifier.ood_detector.note}; pass --all to suggest groups anyway")
    return tuple(notes)
