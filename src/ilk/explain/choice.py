"""Choose an explainer, and its layer, by the score of its maps on the user's images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from ilk.core.errors import IlkError, Unavailable
from ilk.explain.evaluation import evaluate
from ilk.explain.networks import has_networks
from ilk.explain.registry import describe_explainer, list_explainers
from ilk.explain.subject import Subject

BUDGET = 250  # passes of the encoder for one map
MAX_IMAGES = 3  # that the choice is made on


@dataclass(frozen=True)
class Choice:
    """The explainer with the best maps.

    Attributes:
        explainer: The explainer.
        scores: Mean score of every candidate that ran, by its description, best first.
        n_images: Images that it was chosen on.
        is_on_the_image: Whether that was the very image that is explained, so that the best score
            of several counts with the verdict.
    """

    explainer: Any
    scores: dict[str, float]
    n_images: int
    is_on_the_image: bool = False

    @property
    def sentence(self) -> str:
        """Which candidates were compared, and their scores."""
        images = "1 image" if self.n_images == 1 else f"{self.n_images} images"
        listed = ", ".join(f"{name} {score:.2f}" for name, score in self.scores.items())
        return (
            "chosen because the answer follows its maps best (insertion minus deletion on "
            f"{images}: {listed})"
        )


def list_candidates(subject: Subject, budget: int = BUDGET) -> list[Any]:
    """Return the explainers that `auto` compares for a subject: those that fit the budget."""
    candidates: list[Any] = []
    for kind in list_explainers().values():
        if (
            kind.default_candidate
            and _has_what_it_needs(kind, subject)
            and kind().count_passes(subject) <= budget
        ):
            candidates += kind().list_variants()
    return candidates


def _has_what_it_needs(kind: type[Any], subject: Subject) -> bool:
    """Whether a subject has what an explainer reads, as far as that is known without running it."""
    if kind.needs_gradients and not has_networks(subject.encoder):
        return False
    if kind.needs_neighbours and subject.neighbours is None:
        return False
    return not kind.needs_class_errors or hasattr(subject.encoder, "compute_difference")


def choose_explainer(
    subjects: Sequence[Subject],
    seed: int = 0,
    budget: int | None = None,
    *,
    is_on_the_image: bool = False,
) -> Choice:
    """Compare the candidates on a few subjects of one classifier; the best mean score wins.

    Raises:
        Unavailable: No candidate can explain this classifier within the budget.
    """
    limit = BUDGET if budget is None else budget
    scores: dict[str, list[float]] = {}
    by_name: dict[str, Any] = {}
    failures: dict[str, str] = {}
    for explainer in list_candidates(subjects[0], limit):
        name = describe_explainer(explainer)
        by_name[name] = explainer
        try:
            scores[name] = [evaluate(explainer, s, seed)[1].score for s in subjects]
        except IlkError as error:
            failures[name] = str(error)
    if not scores:
        why = "; ".join(failures.values()) or f"none takes {limit:,} passes or fewer per map"
        raise Unavailable(f"no explainer can be used: {why}")
    means = {name: float(np.mean(values)) for name, values in scores.items()}
    order = dict(sorted(means.items(), key=lambda item: -item[1]))
    return Choice(by_name[next(iter(order))], order, len(subjects), is_on_the_image)


_CHOICES: WeakKeyDictionary[Any, dict[tuple[Any, ...], Choice]] = WeakKeyDictionary()


def recall_choice(classifier: Any, key: tuple[Any, ...]) -> Choice | None:
    """Return the choice that was made for a classifier in this process, or None."""
    return _CHOICES.get(classifier, {}).get(key)


def keep_choice(classifier: Any, key: tuple[Any, ...], choice: Choice) -> None:
    """Remember a choice as long as the classifier lives."""
    _CHOICES.setdefault(classifier, {})[key] = choice
