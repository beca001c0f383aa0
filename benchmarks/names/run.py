"""How good is a first guess from class names alone, and are new groups named correctly?

Features of `efficientnet-lite0`, which is installed with ilk and knows ImageNet's 1,000 classes.
Nothing was tuned on these images. Names that it cannot know are left out: giraffe of PACS, deer of
CIFAR-10 (300 test images, enlarged from 32 x 32 pixels).

First guess: the accuracy of `PretrainedHead`, which sees class names and no label, beside the most
frequent class and GDA on 1, 2 and 5 labelled images per class. Five seeds; each splits the images
in halves by class, draws the labelled images from one and tests on the other. The expected
calibration error of the first guess is measured on the same halves, without any calibration.

Group names: each class is hidden in turn. Its images of one half are a group, as pure as they are
or with a fifth of images of other classes; then what `GaussianMixtureDiscovery` groups, after the
other classes were learned from the other half. A suggested name is right if it is a synonym of the
true class (or of the most frequent one in the group), lies above it in WordNet, or below it.
Giraffe and deer are hidden too: for them, ruminant and what lies above it is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from benchmarks.claims import make_table
from benchmarks.diffusion_setup import load_or_compute
from benchmarks.names.data import ENCODER, read_cifar, read_pacs
from ilk.core.data import UNLABELLED, Data
from ilk.core.metrics import score, softmax
from ilk.discovery.gaussian_mixture_discovery import GaussianMixtureDiscovery
from ilk.encoders import resolve_encoder
from ilk.fitting.class_names import make_class_model
from ilk.methods.gda import GDA
from ilk.methods.pretrained_head import PretrainedHead
from ilk.vocabulary.class_names import UnknownClassNames, read_class_names
from ilk.vocabulary.group_names import NameSuggestion, suggest_name
from ilk.vocabulary.spelling import to_key
from ilk.vocabulary.wordnet import load_vocabulary

SEEDS = 5
SHOTS = (1, 2, 5)
FOREIGN_FRACTION = 0.2
PARENTS = {"giraffe": "ruminant", "deer": "ruminant"}  # in WordNet, of what ImageNet lacks
MIN_GROUP = 3  # images, for a group of the discovery to count

Scores = dict[str, list[float]]


def run(small: bool = False) -> dict[str, Any]:
    """Return the tables; `small` has a third of the photographs of PACS and two seeds."""
    seeds = range(2 if small else SEEDS)
    sources = {"PACS, photographs": read_pacs("photo", 10 if small else 30)}
    if not small:
        sources["PACS, paintings"] = read_pacs("art_painting")
        sources["PACS, cartoons"] = read_pacs("cartoon")
        sources["PACS, sketches"] = read_pacs("sketch")
        sources["CIFAR-10, 300 images"] = read_cifar()
    tables, names = [], {}
    for setting, data in sources.items():
        known = keep_known_classes(data)
        accuracy, calibration = compare_first_guess(known, seeds)
        tables.append(make_table(f"first guess, {setting}", "test accuracy", accuracy, ()))
        tables.append(
            make_table(
                f"first guess, {setting}", "expected calibration error", calibration, (), "lower"
            )
        )
        right, names[setting] = name_groups(setting, data, seeds, 2 if small else data.k)
        tables.append(make_table(f"group names, {setting}", "fraction right", right, ()))
    return {"tables": tables, "suggested names": names}


def keep_known_classes(data: Data) -> Data:
    """Return the rows of the classes whose names ImageNet knows, and only these classes."""
    names = [name for name in data.classes if _is_known(name)]
    rows = data.take_classes(names)
    y = np.array([names.index(data.classes[c]) for c in rows.y])
    return Data(rows.x, y, tuple(names))


def _is_known(name: str) -> bool:
    try:
        read_class_names([name])
    except UnknownClassNames:
        return False
    return True


def split_halves(data: Data, seed: int) -> tuple[Data, Data]:
    """Return two halves of each class."""
    rng = np.random.default_rng(seed)
    rank = np.zeros(len(data), np.int64)
    for c in range(data.k):
        rows = np.flatnonzero(data.y == c)
        rank[rng.permutation(rows)] = np.arange(len(rows))
    return data.take(rank % 2 == 0), data.take(rank % 2 == 1)


def take_shots(data: Data, shots: int) -> Data:
    """Return the first `shots` rows of each class."""
    return data.take(np.concatenate([np.flatnonzero(data.y == c)[:shots] for c in range(data.k)]))


def compare_first_guess(data: Data, seeds: Sequence[int]) -> tuple[Scores, Scores]:
    """Return accuracies by method, and the calibration error of the first guess."""
    encoder = resolve_encoder(ENCODER)
    named = make_class_model(encoder, data.classes)  # type: ignore[arg-type]
    accuracy: Scores = {"most frequent class": [], "PretrainedHead, names only": []}
    accuracy |= {_format_shots(n): [] for n in SHOTS}
    calibration: Scores = {"PretrainedHead, names only": []}
    for seed in seeds:
        train, test = split_halves(data, seed)
        train = train.take(np.random.default_rng(seed).permutation(len(train)))
        accuracy["most frequent class"].append(float(np.bincount(test.y).max() / len(test)))
        logits = PretrainedHead().fit(Data(test.x, test.y, test.classes, class_model=named)).logits
        guess = score(test.y, softmax(logits(test.x), axis=1))
        accuracy["PretrainedHead, names only"].append(guess.accuracy.value)
        calibration["PretrainedHead, names only"].append(guess.calibration_error)
        for n in SHOTS:
            model = GDA().fit(take_shots(train, n))
            is_correct = model.logits(test.x).argmax(1) == test.y
            accuracy[_format_shots(n)].append(float(is_correct.mean()))
    return accuracy, calibration


def _format_shots(n: int) -> str:
    return f"GDA, {n} labelled image{'s' * (n > 1)} per class"


def name_groups(
    setting: str, data: Data, seeds: Sequence[int], n_discovered: int
) -> tuple[Scores, dict[str, list[str]]]:
    """Return the fraction of groups named right, and the names of pure groups by true class.

    Args:
        setting: Name of the data, for the cache.
        data: The rows.
        seeds: Seeds of the halves.
        n_discovered: Number of classes that are hidden for the discovery, at most all.
    """
    right: Scores = {"pure groups": [], "a fifth foreign": [], "discovered groups": []}
    names: dict[str, list[str]] = {name: [] for name in data.classes}
    for seed in seeds:
        part = load_or_compute(
            f"names-{to_key(setting)}-{len(data)}-{n_discovered}-{seed}",
            partial(name_groups_once, data, seed, n_discovered),
        )
        for kind, fraction in part["right"].items():
            right[kind].append(fraction)
        for truth, name in part["names"].items():
            names[truth].append(name)
    return right, names


def name_groups_once(data: Data, seed: int, n_discovered: int) -> dict[str, Any]:
    """Return what `name_groups` does for one seed."""
    known, new = split_halves(data, seed)
    head = resolve_encoder(ENCODER).load_name_head()  # type: ignore[attr-defined]
    p = softmax(head.logits(new.x), axis=1)
    rng = np.random.default_rng(seed)
    right: dict[str, list[bool]] = {
        kind: [] for kind in ("pure groups", "a fifth foreign", "discovered groups")
    }
    names = {}
    for c, truth in enumerate(data.classes):
        others = [name for name in data.classes if name != truth]
        rows = np.flatnonzero(new.y == c)
        suggestion = suggest_name(p[rows], others)
        names[truth] = suggestion.name if suggestion else "no name"
        right["pure groups"].append(is_right(suggestion, truth))
        n_foreign = round(FOREIGN_FRACTION / (1 - FOREIGN_FRACTION) * len(rows))
        mixed = np.append(rows, rng.permutation(np.flatnonzero(new.y != c))[:n_foreign])
        right["a fifth foreign"].append(is_right(suggest_name(p[mixed], others), truth))
        for group in discover(known, new, c) if c < n_discovered else ():
            majority = data.classes[np.bincount(new.y[group]).argmax()]
            suggestion = suggest_name(p[group], others)
            right["discovered groups"].append(is_right(suggestion, majority))
    fractions = {kind: float(np.mean(v)) if v else 0.0 for kind, v in right.items()}
    return {"right": fractions, "names": names}


def discover(known: Data, new: Data, hidden: int) -> list[np.ndarray[Any, Any]]:
    """Return the rows of each group that is found in `new` beside all classes but `hidden`."""
    labelled = known.take(known.y != hidden)
    order = [c for c in range(known.k) if c != hidden]
    y = np.array([order.index(c) for c in labelled.y])
    rows = Data(
        np.concatenate([labelled.x, new.x]),
        np.append(y, np.full(len(new), UNLABELLED)),
        tuple(known.classes[c] for c in order),
    )
    column = GaussianMixtureDiscovery().fit(rows).logits(new.x).argmax(1)
    groups = [np.flatnonzero(column == g) for g in range(rows.k, column.max() + 1)]
    return [group for group in groups if len(group) >= MIN_GROUP]


def is_right(suggestion: NameSuggestion | None, truth: str) -> bool:
    """Whether a suggested name is a synonym of the true class, lies above it or below it."""
    if suggestion is None:
        return False
    vocabulary = load_vocabulary()
    above = vocabulary.list_ancestors(suggestion.synset)
    if truth in PARENTS:
        (parent,) = vocabulary.find(PARENTS[truth])
        return suggestion.synset in vocabulary.list_ancestors(parent)
    return any(
        synset in above or suggestion.synset in vocabulary.list_ancestors(synset)
        for synset in vocabulary.find(truth)
    )
