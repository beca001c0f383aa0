"""Which class of which classifier is explained, by name, and what the classifier says of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from ilk.core.errors import InputError, UnknownName
from ilk.explain.answer import Answer
from ilk.explain.neighbours import NeighbourIndex
from ilk.explain.subject import Subject

RUNNER_UP = "runner-up"


@dataclass(frozen=True)
class Question:
    """What is explained, by name.

    Attributes:
        target: The class that is explained.
        against: The class that it is contrasted with, or "".
        predicted: The most probable class.
        probability: Calibrated probability of the target.
        runner_up: The most probable class other than the target; "" if an image may have several.
        runner_up_probability: Its calibrated probability.
    """

    target: str
    against: str
    predicted: str
    probability: float
    runner_up: str
    runner_up_probability: float


def ask(
    classifier: Any,
    image: Image.Image,
    target: str | None = None,
    against: str | None = None,
) -> tuple[Subject, Question]:
    """Return an RGB image as the subject of a question, and the question.

    Args:
        classifier: A `Classifier` or `MultiLabelClassifier`.
        image: The image.
        target: Class to explain; None is the most probable one.
        against: Class to contrast it with, or `RUNNER_UP`; None explains the probability.

    Raises:
        UnknownName: The classifier has no such class.
        InputError: The classes are the same, or one had no training image.
    """
    names: tuple[str, ...] = tuple(classifier.classes)
    t = None if target is None else _find_class(names, target)
    a = None if against in (None, "", RUNNER_UP) else _find_class(names, str(against))
    subject = Subject.from_image(Answer(classifier, 0), image, get_neighbours(classifier))
    features = subject.features
    p = subject.answer.compute_probabilities(features[None])[0]
    t = int(p.argmax()) if t is None else t
    others = np.where(np.arange(len(p)) == t, -np.inf, p)
    runner_up = int(others.argmax()) if len(p) > 1 else -1
    if against == RUNNER_UP:
        if runner_up < 0:
            raise InputError("there is no runner-up: the model has one class")
        a = runner_up
    if a == t:
        raise InputError(
            f"{names[t]!r} cannot be contrasted with itself; name another class, or {RUNNER_UP!r}"
        )
    answer = Answer(classifier, t, -1 if a is None else a)
    if not np.isfinite(answer.log_odds(features[None])[0]):
        lacking = names[t] if p[t] == 0 or a is None else names[a]
        raise InputError(
            f"{lacking!r} cannot be explained: the model has never seen an image of it, so every "
            "image has probability 0"
        )
    subject.answer = answer
    is_single = not answer.has_labels
    return subject, Question(
        names[t],
        "" if a is None else names[a],
        names[int(p.argmax())],
        float(p[t]),
        names[runner_up] if is_single and runner_up >= 0 else "",
        float(p[runner_up]) if is_single and runner_up >= 0 else 0.0,
    )


def _find_class(names: tuple[str, ...], name: str) -> int:
    if name not in names:
        raise UnknownName("class of this model", name, names)
    return names.index(name)


def get_neighbours(classifier: Any) -> NeighbourIndex | None:
    """Return the training images that are kept with a classifier, or None.

    Raises:
        ArtifactError: Their file is damaged.
    """
    load: Callable[[], NeighbourIndex | None] | None = getattr(classifier, "neighbours", None)
    index = load() if load is not None else None
    if index is None or not len(index) or index.space != classifier.encoder.space.key:
        return None
    return index
