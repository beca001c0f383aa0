"""Condense a labelled source: choose the method, measure what is lost, name what is written."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ilk.core.capabilities import Embeds
from ilk.core.data import Labels
from ilk.core.errors import InputError
from ilk.core.fingerprint import compute_key
from ilk.core.metrics import Interval
from ilk.core.progress import Progress, silent_progress
from ilk.images import Images, Row, number_row_groups
from ilk.images.labelled_rows import digest_rows, encode_labels, list_labelled
from ilk.images.pixels import PixelEncoder
from ilk.maths.clusters import compute_interval
from ilk.maths.folds import assign_folds, number_groups
from ilk.maths.held_out import draw_held_out
from ilk.store import Store
from ilk.subset_selection.condensation import (
    list_condensation_methods,
    parse_condensation_method,
)
from ilk.subset_selection.condense_result import CondenseResult
from ilk.subset_selection.folder import FolderImage
from ilk.subset_selection.foundations.problem import CondensationTags, Condensed, Problem, Run
from ilk.subset_selection.judgement import judge_head, judge_network
from ilk.subset_selection.png import encode_png
from ilk.subset_selection.small_classifiers import NetworkTraining, predict_classes, train_network
from ilk.training.recipe import DeviceConfig

AUTO = "auto"
STATES = ".ilk.condense-{}"  # folder of the states of a run, named by all that they depend on
HELD_OUT_PARTS = 5  # of which one is held out
MAX_HELD_OUT = 2000
MIN_HELD_OUT = 20
MANY_SIZES = 2.0  # ratio of sides from which sizes are called very different


@dataclass(frozen=True)
class CondenseConfig:
    """Settings.

    Attributes:
        per_class: Images per class, >= 1.
        method: A method of `condensation/`, such as `DCC`, or `auto`, which chooses.
        flip: Whether a mirrored image is of the same class.
        seed: Seed.
        updates: Updates of each small network on few images, >= 1.
        width: Filters of each block of the small network.
    """

    per_class: int
    method: str = AUTO
    flip: bool = False
    seed: int = 0
    updates: int = 200
    width: int = 32

    def __post_init__(self) -> None:
        if self.per_class < 1:
            raise InputError(f"per_class (--per-class) is {self.per_class}; it must be at least 1")
        if self.method != AUTO:
            parse_condensation_method(self.method)

    def list_methods(self) -> dict[str, CondensationTags]:
        """Return the methods to try, by name."""
        if self.method != AUTO:
            return {self.method: parse_condensation_method(self.method)}
        kinds = list_condensation_methods()
        return {name: kind() for name, kind in kinds.items() if kind.default_candidate}


def condense_images(
    images: Images,
    encoder: Embeds,
    pixels: PixelEncoder,
    store: Store,
    config: CondenseConfig,
    folder: Path | None = None,
    device_config: DeviceConfig = DeviceConfig(),  # noqa: B008 (frozen)
    progress: Progress = silent_progress,
) -> CondenseResult:
    """Condense encoded images, with a method chosen and judged on images held out of them.

    A fifth of the labelled images is held out, at most `MAX_HELD_OUT`: one half chooses the method,
    the other measures what is lost. The images that are returned are those that were measured.

    Args:
        images: Images whose features of `encoder` and `pixels` are in the store.
        encoder: Its features choose images and carry the second classifier.
        pixels: The size of synthetic images.
        store: The features.
        config: Settings.
        folder: Where states of trainings are kept, so that an interrupted run resumes; None keeps
            none.
        device_config: Where to train.
        progress: Reports each training.

    Raises:
        NoLabels: No image has a label.
        InputError: There is one class, too few images, or a class has fewer images than are to be
            chosen.
    """
    rows, classes = _list_labelled(images)
    y = encode_labels(rows, classes)
    groups = number_row_groups(rows)
    is_held = hold_out(y, groups, config.seed)
    digests = [row.digest for row in rows]
    features = store.get(encoder.space, digests)
    values = store.get(pixels.space, digests)
    shape = (pixels.channels, pixels.height, pixels.width)
    x = torch.from_numpy(np.rint(values * 255).astype(np.uint8)).view(-1, *shape)
    kept = np.flatnonzero(~is_held)
    problem = Problem(
        x[kept],
        torch.from_numpy(y[kept]),
        len(classes),
        config.per_class,
        features[kept],
        config.seed,
        config.flip,
        config.width,
    )
    depends = {
        "images": digest_rows(rows),
        "space": encoder.space.key,
        "pixels": pixels.name,
        "config": asdict(config),
    }
    states = None if folder is None else folder / STATES.format(compute_key(depends)[:16])
    run = Run(states, device_config, progress)
    chooses, judges = divide_held_out(y, groups, is_held, config.seed)
    few, scores, name = _choose(problem, config, run, x[chooses], y[chooses], groups[chooses])
    judgements = {
        "network": judge_network(
            problem, few, config.updates, run, x[judges], y[judges], groups[judges]
        ),
        "head": judge_head(
            problem, few, encoder, store, features[judges], y[judges], groups[judges]
        ),
    }
    used = [rows[i] for i in kept]
    found = [_describe_image(images, used, few, i, classes) for i in range(len(few.y))]
    notes = [*_describe_sizes(rows, pixels), *run.notes]
    return CondenseResult(
        name, scores, judgements, found, len(kept), len(judges), classes, shape, notes
    )


def hold_out(y: Labels, groups: NDArray[np.int64], seed: int) -> NDArray[np.bool_]:
    """Return which rows `[n]` are held out: a fifth of each class, in whole groups.

    Raises:
        InputError: There are too few images to hold some out.
    """
    is_held = draw_held_out(y, groups, 1 / HELD_OUT_PARTS, seed)
    held = np.flatnonzero(is_held)
    if len(held) > MAX_HELD_OUT:
        drawn = np.random.default_rng([seed, 5]).permutation(held)[MAX_HELD_OUT:]
        is_held[drawn] = False
        held = np.flatnonzero(is_held)
    missing = set(np.unique(y)) - set(np.unique(y[~is_held]))
    if len(held) < MIN_HELD_OUT or missing:
        raise InputError(
            f"{len(y)} labelled images are too few: at least {HELD_OUT_PARTS * MIN_HELD_OUT} are "
            "needed, because a fifth is held out to measure the loss, and each class must have "
            "others; label more images, or use all of them"
        )
    return is_held


def divide_held_out(
    y: Labels, groups: NDArray[np.int64], is_held: NDArray[np.bool_], seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the positions of the images held out that choose, and of those that judge.

    Args:
        y: Class of each image, `[n]`.
        groups: Group of each, `[n]`, -1 for a group of its own; no group is in both parts.
        is_held: What `hold_out` returned, `[n]`.
        seed: Seed of the division.

    Raises:
        InputError: All images that are held out are of one group.
    """
    held = np.flatnonzero(is_held)
    half = assign_folds(y[held], 2, seed, groups[held])
    chooses, judges = held[half == 0], held[half == 1]
    if not len(judges):
        n_groups = int(number_groups(groups).max()) + 1
        raise InputError(
            f"{n_groups} groups of images are too few: a fifth of the images is held out in whole "
            "groups, some to choose the method and others to measure what is lost; give images of "
            f"{2 * HELD_OUT_PARTS} groups or more"
        )
    return chooses, judges


def _list_labelled(images: Images) -> tuple[list[Row], tuple[str, ...]]:
    rows, classes = list_labelled(images, "images are condensed class by class")
    if len(classes) < 2:
        raise InputError(
            f"all images are of one class ({classes[0]}), and a classifier needs two; add images "
            "of another class"
        )
    return rows, classes


def _choose(
    problem: Problem, config: CondenseConfig, run: Run, x: Tensor, y: Labels, groups: Labels
) -> tuple[Condensed, dict[str, Interval], str]:
    """Return the set that trains the best network for images `x [n, c, h, w]`, and all scores."""
    found: dict[str, Condensed] = {}
    scores: dict[str, Interval] = {}
    methods = config.list_methods()
    for name, method in methods.items():
        if len(methods) > 1 and not method.synthetic:
            try:
                problem.check_enough()
            except InputError as error:
                run.notes.append(f"{name} was not tried: {error}")
                continue
        found[name] = method.condense(problem, run)
        hits = _train_and_predict(problem, found[name], config, run, name, x) == y
        scores[name] = compute_interval(hits, groups)
    best = max(scores, key=lambda name: (scores[name].value, not found[name].synthetic))
    return found[best], scores, best


def _train_and_predict(
    problem: Problem, few: Condensed, config: CondenseConfig, run: Run, name: str, x: Tensor
) -> Labels:
    training = NetworkTraining(config.updates)
    network = train_network(problem, few.x, few.y, training, run, f"network on {name}")
    return predict_classes(problem, network, x)


def _describe_image(
    images: Images, rows: Sequence[Row], few: Condensed, i: int, classes: tuple[str, ...]
) -> FolderImage:
    row = rows[int(few.rows[i])]
    if not few.synthetic:
        return FolderImage.from_row(images, row)
    number = int((few.y[:i] == few.y[i]).sum()) + 1
    content = encode_png(few.x[i])
    read: Callable[[], bytes] = lambda: content  # noqa: E731
    shown = str(images.shown_path_of(row))
    return FolderImage(classes[int(few.y[i])], f"{number:04d}.png", read, True, shown, row.digest)


def _describe_sizes(rows: Sequence[Row], pixels: PixelEncoder) -> list[str]:
    sides = [min(row.width, row.height) for row in rows if row.width and row.height]
    if not sides or max(sides) < MANY_SIZES * min(sides):
        return []
    note = (
        f"images have sides from {min(sides)} to {max(sides)} pixels; all are resized to "
        f"{pixels.width} x {pixels.height} for the small network (--image-size sets another size)"
    )
    return [note]


def delete_states(folder: Path) -> None:
    """Delete the states of the trainings of finished and of abandoned runs."""
    for path in folder.glob(STATES.format("*")):
        shutil.rmtree(path, ignore_errors=True)
