"""What is lost: accuracy of classifiers trained on all images and on the few, on the same rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ilk.core.capabilities import Embeds
from ilk.core.data import Labels
from ilk.core.metrics import Interval
from ilk.encode import encode_images
from ilk.images import inspect_inputs
from ilk.maths.clusters import compare_means, compute_interval
from ilk.store import Store
from ilk.subset_selection.foundations.problem import Condensed, Problem, Run
from ilk.subset_selection.png import encode_png
from ilk.subset_selection.small_classifiers import (
    NetworkTraining,
    fit_head,
    predict_classes,
    train_network,
)

ALL_RATIO = 3  # updates of the network on all images, in units of those on few


@dataclass(frozen=True)
class Judgement:
    """Accuracy on held-out images of classifiers trained on all training images and on the few.

    Attributes:
        of_all: Trained on all.
        of_few: Trained on the few.
        gap: `of_few` minus `of_all`, paired, with its interval.
    """

    of_all: Interval
    of_few: Interval
    gap: Interval


def judge_network(
    problem: Problem,
    few: Condensed,
    updates: int,
    run: Run,
    x: Tensor,
    y: Labels,
    groups: Labels,
) -> Judgement:
    """Return what is lost by a small network, trained from scratch, on images `[n, c, h, w]`.

    The groups `[n]` of the images are those of `compare`.
    """
    training = NetworkTraining(ALL_RATIO * updates, 3e-3)
    network = train_network(problem, problem.x, problem.y, training, run, "network on all images")
    of_all = predict_classes(problem, network, x)
    few_training = NetworkTraining(updates)
    of_few = train_network(
        problem, few.x, few.y, few_training, run, "network on the few images", seed=1
    )
    return compare(y, of_all, predict_classes(problem, of_few, x), groups)


def judge_head(
    problem: Problem,
    few: Condensed,
    encoder: Embeds,
    store: Store,
    features: NDArray[np.float32],
    y: Labels,
    groups: Labels,
) -> Judgement:
    """Return what is lost by the closed-form head on features `[n, d]` of an encoder.

    The groups `[n]` of the images are those of `compare`.
    """
    k, labels = problem.n_classes, few.y.numpy()
    made = embed_pixels(encoder, store, few.x) if few.synthetic else problem.features[few.rows]
    of_all = fit_head(problem.features, problem.y.numpy(), k)(features)
    return compare(y, of_all, fit_head(made, labels, k)(features), groups)


def compare(y: Labels, of_all: Labels, of_few: Labels, groups: Labels) -> Judgement:
    """Return accuracies of two predictions `[n]` for labels `y [n]`, and their paired gap.

    Args:
        y: Labels, `[n]`.
        of_all: Predictions of the classifier trained on all images, `[n]`.
        of_few: Those of the one trained on the few, `[n]`.
        groups: Group of each image, `[n]`, -1 for a group of its own; images of a group are right
            or wrong together.
    """
    right = [(predictions == y).astype(np.float64) for predictions in (of_all, of_few)]
    few, whole = right[1], right[0]
    return Judgement(
        compute_interval(whole, groups),
        compute_interval(few, groups),
        compare_means(few, whole, groups),
    )


def embed_pixels(encoder: Embeds, store: Store, x: Tensor) -> NDArray[np.float32]:
    """Return the features `[m, d]` of images `x [m, c, h, w]` uint8, as of their PNG files."""
    images = inspect_inputs([(f"image {i}", encode_png(pixels)) for i, pixels in enumerate(x)])
    encode_images(images, [encoder], store)
    return store.get(encoder.space, [row.digest for row in images.rows])
