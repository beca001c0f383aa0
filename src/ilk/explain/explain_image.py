"""Explain the answer of a classifier to one image."""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from ilk.explain.choice import (
    MAX_IMAGES,
    Choice,
    choose_explainer,
    keep_choice,
    recall_choice,
)
from ilk.explain.evaluation import evaluate
from ilk.explain.explanation import Explanation
from ilk.explain.facts import Words, collect_facts, word_facts
from ilk.explain.question import ask, get_neighbours
from ilk.explain.read_image import read_image
from ilk.explain.registry import AUTO, describe_explainer, parse_explainer
from ilk.explain.subject import Subject
from ilk.explain.verdict import judge, measure_controls

N_NEIGHBOURS = 5


def explain_image(
    classifier: Any,
    image: Any,
    *,
    target: str | None = None,
    against: str | None = None,
    method: Any = AUTO,
    seed: int = 0,
    budget: int | None = None,
    words: Words = word_facts,
) -> Explanation:
    """Return a map of what supports an answer, with a verdict, for any encoder and head.

    The same image and seed give the same map.

    Args:
        classifier: A `Classifier` or `MultiLabelClassifier`.
        image: One image, as for `Classifier.predict`.
        target: The class to explain; by default the most probable one.
        against: A class to contrast it with, or `runner-up`, the most probable other class; by
            default the calibrated probability of the target is explained.
        method: `auto`, the name of an explainer such as `rise`, or an explainer. `auto` compares
            explainers on the training images that the model keeps, or else on this image.
        seed: Seed of what is random.
        budget: Passes of the encoder for one map that `auto` allows; about 250 by default.
        words: Words the facts; by default a template.

    Raises:
        InputError: The image cannot be read, or the class has no score.
        UnknownName: There is no such class or explainer.
        Unavailable: The explainer needs something that this classifier does not have.
    """
    explainer = parse_explainer(method) if isinstance(method, str) and method != AUTO else method
    picture = read_image(image, classifier.value_ranges)
    return explain_picture(
        classifier, picture, target=target, against=against, method=explainer, seed=seed,
        budget=budget, words=words,
    )  # fmt: skip


def explain_picture(
    classifier: Any,
    picture: Image.Image,
    *,
    target: str | None = None,
    against: str | None = None,
    method: Any = AUTO,
    seed: int = 0,
    budget: int | None = None,
    words: Words = word_facts,
) -> Explanation:
    """Explain a decoded RGB image; see `explain_image`.

    `method` may also be a `Choice` that was made on other images.
    """
    start = time.perf_counter()
    subject, question = ask(classifier, picture, target, against)
    n_tried = 1
    if isinstance(method, str) and method == AUTO:
        method = recall_or_choose(classifier, subject, seed, budget)
        n_tried = len(method.scores) if method.is_on_the_image else 1
    explainer = method.explainer if isinstance(method, Choice) else method
    explainer = parse_explainer(explainer) if isinstance(explainer, str) else explainer
    values, fidelity = evaluate(explainer, subject, seed)
    verdict = judge(values, fidelity, subject, measure_controls(subject, seed), n_tried)
    facts = collect_facts(subject, values, question)
    described = explainer.describe(subject, values, question)
    neighbours = subject.neighbours
    return Explanation(
        values,
        subject.picture,
        describe_explainer(explainer),
        question.target,
        question.against,
        question.probability,
        question.predicted,
        verdict,
        " ".join(filter(None, (words(facts), described, verdict.sentence))),
        facts,
        neighbours.find(subject.features, N_NEIGHBOURS) if neighbours is not None else (),
        subject.n_passes,
        time.perf_counter() - start,
    )


def recall_or_choose(classifier: Any, subject: Subject, seed: int, budget: int | None) -> Choice:
    """Return the explainer that `auto` stands for.

    It is chosen on training images that the model keeps, once per process, so that it does not
    depend on which image came first. A model that keeps none is asked about this image alone.
    """
    key = (seed, budget)
    if (known := recall_choice(classifier, key)) is not None:
        return known
    stored = _list_stored_pictures(classifier)
    if not stored:
        return choose_explainer([subject], seed, budget, is_on_the_image=True)
    choice = choose_on_pictures(classifier, stored, seed, budget)
    keep_choice(classifier, key, choice)
    return choice


def choose_on_pictures(
    classifier: Any, pictures: Sequence[Image.Image], seed: int = 0, budget: int | None = None
) -> Choice:
    """Return the explainer with the best maps of the first few decoded RGB images."""
    subjects = [ask(classifier, picture)[0] for picture in pictures[:MAX_IMAGES]]
    return choose_explainer(subjects, seed, budget)


def _list_stored_pictures(classifier: Any) -> list[Image.Image]:
    """Return a few pictures of training images of different classes."""
    index = get_neighbours(classifier)
    if index is None:
        return []
    first = {index.labels[i]: i for i in range(len(index) - 1, -1, -1) if index.thumbnails[i]}
    rows = sorted(first.values())
    chosen = np.unique(np.linspace(0, len(rows) - 1, min(MAX_IMAGES, len(rows))).astype(int))
    contents = [index.thumbnails[rows[i]] for i in chosen]
    return [Image.open(io.BytesIO(content)).convert("RGB") for content in contents]
