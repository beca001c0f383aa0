"""Unknown images of a saved classifier: by which score, what `ilk discover` groups, and the names.

Half of the classes are hidden, drawn by the seed. Half of the rows of the others train a classifier
(GDA), and the rest and all rows of hidden classes are given to `ilk discover`. Sets: 156 Omniglot
characters (small set 2) as histograms of oriented gradients; letters (2,000 rows); MNIST and USPS
(2,000 and 2,007 images, 50 principal components); the 210 photographs of PACS and 300 test images
of CIFAR-10 through `efficientnet-lite0`. USPS and Omniglot's set 2 were not used before.

- AUROC of unknown rows against rows of known classes by each score, and by the one that
  `ilk discover` chooses, which sees no row of a hidden class. `inverted images` are images of known
  classes with black and white exchanged, far from everything.
- Fraction flagged, of unknown rows, of rows of known classes (5 % are allowed) and of inverted
  images, by `ilk discover` and by the classifier itself.
- Accuracy of `ilk discover` over all rows, matched and strict (old names pinned): with groups kept
  by the chosen score, by the distance of the classifier, and with all groups kept. The fraction of
  images in groups when only rows of known classes are given, which should be 0 (not on Omniglot,
  which has three seeds).
- Suggested names, on PACS and CIFAR-10: the fraction of groups of at least three images with a name
  that is right for most of them (as in `ilk bench names`); a group without a name counts as wrong,
  and so does a seed without such a group.

How a group is supported was chosen on seeds 30 to 45, the number of folds on seeds 20 to 25; the
seeds here are those of the other tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

from benchmarks import datasets
from benchmarks.claims import Claim, make_table
from benchmarks.names.data import ENCODER
from benchmarks.names.data import read_cifar as read_cifar_photographs
from benchmarks.names.data import read_pacs as read_pacs_photographs
from benchmarks.names.run import MIN_GROUP, is_right
from benchmarks.saved_classifier import FeatureSet
from benchmarks.shared_files import load_or_compute_arrays
from benchmarks.unknown_classes.half_unknown_sets import SEEDS, Tables
from ilk.artifacts.classifier import Classifier
from ilk.core.data import Data, Features, Labels
from ilk.core.errors import Unavailable
from ilk.core.metrics import softmax
from ilk.encoders import resolve_encoder
from ilk.maths.clustering_accuracy import clustering_accuracy, strict_accuracy
from ilk.maths.pca import fit_pca
from ilk.maths.roc_area import compute_roc_area
from ilk.methods.gda import GDA
from ilk.trust.known_rows import Scorer
from ilk.trust.unknown_scores import list_unknown_scores
from ilk.updates.discover import assign_groups, keep_supported_groups
from ilk.updates.unknown_images import UnknownImages, flag_unknown, read_known_rows
from ilk.vocabulary.group_names import suggest_name

CHOSEN, DISTANCE = "ilk discover, chosen score", "distance"
OWN_FLAG = "the classifier's own flag"
BY_DISTANCE, ALL_GROUPS = "ilk discover, by distance", "ilk discover, all groups"
N_ROWS, N_AXES = 2000, 50
MAX_KNOWN = 50  # classes; with more, the search with nothing new would take as long as all others
NOTHING_NEW = "known images grouped although nothing is new"
LOWER = ("flagged as unknown, rows of known classes", NOTHING_NEW)
MANY_CLASSES = 100  # with as many, three seeds
ENTRY, FILE = "gpc-semi-sup-gmm-gcd", "updates/unknown_images.py"


@dataclass(frozen=True, eq=False)
class Source:
    """A data set, its rows with black and white exchanged, and whether names can be suggested."""

    data: Data
    inverted: Features | None = None
    is_named: bool = False


@dataclass(frozen=True, eq=False)
class Split:
    """One draw: rows of known classes to train on, and rows to look at; known classes first."""

    train: Data
    x: Features
    y: Labels
    inverted: Features
    names: tuple[str, ...]


def make_tables(small: bool = False) -> Tables:
    """Return the tables of every data set that is there."""
    if small:
        pixels = datasets.read_digits()
        return compare_scores("digits", Source(pixels, 1 - pixels.x), range(2))
    results: Tables = []
    for setting, load in list_sources().items():
        try:
            source = load()
        except Unavailable:
            continue
        results += compare_scores(setting, source, SEEDS)
    return results


def list_sources() -> dict[str, Callable[[], Source]]:
    """Return a function that loads each data set."""
    return {
        "Omniglot, 156 characters": lambda: Source(_read_characters()),
        "letters": lambda: Source(_take_rows(datasets.read_letters())),
        "MNIST": lambda: _project(_take_rows(datasets.read_mnist("test"))),
        "USPS": lambda: _project(datasets.read_usps("test")),
        "PACS, photographs": lambda: Source(read_pacs_photographs("photo"), is_named=True),
        "CIFAR-10, 300 images": lambda: Source(read_cifar_photographs(), is_named=True),
    }


def _take_rows(data: Data) -> Data:
    return data.take(np.random.default_rng(0).permutation(len(data))[:N_ROWS])


def _project(data: Data) -> Source:
    pca = fit_pca(data.x)
    basis = pca.basis[:, :N_AXES]
    inverted = ((1 - data.x - pca.centre) @ basis).astype(np.float32)
    return Source(replace(data, x=(pca.scores[:, :N_AXES]).astype(np.float32)), inverted)


def _read_characters() -> Data:
    """Read Omniglot's small set 2 as histograms of oriented gradients."""
    images = datasets.read_omniglot(2)
    (x,) = load_or_compute_arrays("omniglot-2-hog", lambda: (_embed_gradients(images.x),))
    return replace(images, x=x)


def _embed_gradients(x: Features) -> Features:
    encoder = resolve_encoder("hog")
    pixels = (255 * (1 - x.reshape(-1, 28, 28))).astype(np.uint8)
    prepared = [encoder.prepare(Image.fromarray(image).convert("RGB")) for image in pixels]
    return np.concatenate([encoder.embed(np.stack([image])) for image in prepared])


def draw_split(source: Source, seed: int) -> Split:
    """Hide half of the classes and split the rows of the others in halves."""
    data, rng = source.data, np.random.default_rng(seed)
    permutation = rng.permutation(data.k)
    n_known = data.k - data.k // 2
    order = np.concatenate([np.sort(permutation[:n_known]), np.sort(permutation[n_known:])])
    y = np.argsort(order)[data.y]
    names = tuple(data.classes[c] for c in order)
    is_train = np.zeros(len(y), bool)
    for c in range(n_known):
        rows = rng.permutation(np.flatnonzero(y == c))
        is_train[rows[: (len(rows) + 1) // 2]] = True
    train = Data(data.x[is_train], y[is_train], names[:n_known])
    inverted = data.x[:0] if source.inverted is None else source.inverted[~is_train & (y < n_known)]
    return Split(train, data.x[~is_train], y[~is_train], inverted, names)


def compare_scores(setting: str, source: Source, seeds: range) -> Tables:
    """Return the tables of one data set."""
    by_metric: dict[str, dict[str, list[float]]] = {}
    for seed in seeds[:3] if source.data.k >= MANY_CLASSES else seeds:
        for metric, method, value in _evaluate_split(draw_split(source, seed), source.is_named):
            by_metric.setdefault(metric, {}).setdefault(method, []).append(value)
    return [
        make_table(
            f"unknown images, {setting}",
            metric,
            scores,
            _list_claims(metric, scores),
            "lower" if metric in LOWER else "higher",
        )
        for metric, scores in by_metric.items()
    ]


def _list_claims(metric: str, scores: dict[str, list[float]]) -> list[Claim]:
    pairs = [(CHOSEN, DISTANCE), (CHOSEN, BY_DISTANCE)] if "inverted" not in metric else []
    return [
        Claim(ENTRY, FILE, ours, theirs)
        for ours, theirs in pairs
        if {ours, theirs} <= scores.keys()
    ]


def _evaluate_split(split: Split, is_named: bool) -> Iterator[tuple[str, str, float]]:
    """Yield metric, method and value."""
    classifier = FeatureSet.from_data(split.train).fit(GDA())
    is_new = split.y >= split.train.k
    chosen = flag_unknown(classifier, split.x)
    auroc = "AUROC of rows of unknown classes"
    yield auroc, CHOSEN, _measure_auroc(chosen.score, is_new)
    known = read_known_rows(classifier)
    scorers = {score.label: score.fit(known) for score in list_unknown_scores()}
    for label, scorer in scorers.items():
        yield auroc, label, _measure_auroc(scorer(split.x), is_new)
    own = classifier.score_batch(split.x).is_unknown
    for flags, name in ((chosen.is_unknown, CHOSEN), (own, OWN_FLAG)):
        yield "flagged as unknown, rows of unknown classes", name, float(flags[is_new].mean())
        yield "flagged as unknown, rows of known classes", name, float(flags[~is_new].mean())
    if len(split.inverted):
        yield from _evaluate_inverted(classifier, split, scorers)
    yield from _evaluate_groups(classifier, split, chosen, is_named)


def _measure_auroc(scores: Any, is_new: Any) -> float:
    return compute_roc_area(scores[~is_new], scores[is_new])


def _evaluate_inverted(
    classifier: Classifier, split: Split, scorers: dict[str, Scorer]
) -> Iterator[tuple[str, str, float]]:
    known, far = split.x[split.y < split.train.k], split.inverted
    x = np.concatenate([known, far])
    for label, scorer in scorers.items():
        value = _measure_auroc(scorer(x), np.arange(len(x)) >= len(known))
        yield "AUROC of inverted images", label, value
    metric = "flagged as unknown, inverted images"
    yield metric, CHOSEN, float(flag_unknown(classifier, far).is_unknown.mean())
    yield metric, OWN_FLAG, float(classifier.score_batch(far).is_unknown.mean())


def _evaluate_groups(
    classifier: Classifier, split: Split, chosen: UnknownImages, is_named: bool
) -> Iterator[tuple[str, str, float]]:
    every, k = assign_groups(classifier, split.x, None), split.train.k
    nearest = classifier.score_batch(split.x).probabilities.argmax(1)
    kept = keep_supported_groups(every, chosen)
    by_distance = flag_unknown(classifier, split.x, list_unknown_scores()[0])
    for name, groups in (
        (CHOSEN, kept),
        (BY_DISTANCE, keep_supported_groups(every, by_distance)),
        (ALL_GROUPS, every),
    ):
        answer = np.where(groups > 0, k - 1 + groups, nearest)
        matched = clustering_accuracy(split.y, answer, k)
        yield "matched accuracy, all rows", name, matched.overall
        strict = strict_accuracy(split.y, answer, k)
        yield "strict accuracy (old names pinned), all rows", name, strict.overall
        yield "strict accuracy (old names pinned), rows of unknown classes", name, strict.new
    if split.train.k <= MAX_KNOWN:
        known = split.x[split.y < k]
        every = assign_groups(classifier, known, None)
        for name, groups in (
            (CHOSEN, keep_supported_groups(every, flag_unknown(classifier, known))),
            (ALL_GROUPS, every),
        ):
            yield NOTHING_NEW, name, float(np.mean(groups > 0))
    if is_named:
        right = _name_groups(split, kept)
        yield "suggested names, fraction of groups right", CHOSEN, float(np.mean(right or [False]))


def _name_groups(split: Split, groups: Labels) -> list[bool]:
    """Return whether the name of each group is right for the most frequent class in it."""
    head = resolve_encoder(ENCODER).load_name_head()  # type: ignore[attr-defined]
    p = softmax(head.logits(split.x), axis=1)
    known = split.names[: split.train.k]
    right = []
    for group in range(1, int(groups.max(initial=0)) + 1):
        rows = np.flatnonzero(groups == group)
        if len(rows) >= MIN_GROUP:
            majority = split.names[int(np.bincount(split.y[rows]).argmax())]
            right.append(is_right(suggest_name(p[rows], known), majority))
    return right
