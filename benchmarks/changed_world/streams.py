"""AdaNPC's memory on streams: its gain, and whether it ever ends below its start."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks import datasets
from benchmarks.changed_world.shifted_digits import (
    Scores,
    Tent,
    accuracy,
    compute_hog,
    load_digit_set,
    make_angle_domains,
    make_rng,
    rotate_images,
    sample_rows,
)
from benchmarks.claims import Claim, make_table
from ilk.core.data import Data
from ilk.core.linear_models import Linear
from ilk.methods.adanpc import AdaNPC
from ilk.methods.logistic_regression import LogisticRegression
from ilk.protocols import domain_stream

ANGLES = (0.0, 15.0, 30.0, 45.0, 60.0, 75.0)
GUARDED, FROZEN, UNGUARDED = "AdaNPC", "frozen memory", "AdaNPC, unguarded"
BASELINE, TENT = "logistic regression", "entropy minimisation"


def tabulate_streams(tables: list[Any], drops: dict[str, Any], seeds: range, small: bool) -> None:
    """Add the tables of streams, and the worst change of any seed from the frozen memory."""
    online: dict[str, Scores] = defaultdict(lambda: defaultdict(list))
    final: dict[str, Scores] = defaultdict(lambda: defaultdict(list))
    for seed in seeds:
        rng = make_rng(seed)
        runs = _load_small_streams(rng) if small else _load_full_streams(rng)
        heads: list[tuple[Data, Linear]] = []  # of the last memory, which several streams share
        for name, source, target, order in runs:
            if not heads or heads[-1][0] is not source:
                heads.append((source, LogisticRegression().fit(source)))
            run_stream_methods(heads[-1], target, order, seed, online[name], final[name])
    for name, scores in online.items():
        tables.append(
            make_table(
                f"stream: {name}", "online accuracy", scores, _make_claims(FROZEN, BASELINE, TENT)
            )
        )
        tables.append(
            make_table(f"stream: {name}", "accuracy at the end", final[name], _make_claims(FROZEN))
        )
        drops[name] = {
            f"{method} {moment}, minimum over seeds": float(
                np.min(np.subtract(s[method], s[FROZEN]))
            )
            for moment, s in (("online", scores), ("at the end", final[name]))
            for method in (GUARDED, UNGUARDED)
        }


def _make_claims(*baselines: str) -> list[Claim]:
    return [
        Claim("adanpc-test-time", "methods/adanpc.py", GUARDED, baseline) for baseline in baselines
    ]


def run_stream_methods(
    trained: tuple[Data, Linear],
    target: Data,
    order: Sequence[int],
    seed: int,
    online: Scores,
    final: Scores,
) -> None:
    """Run all methods on one stream and append their accuracies to the scores.

    Args:
        trained: Training rows, and logistic regression of them.
        target: Rows of the stream.
        order: Domains of `target` in the order of the stream.
        seed: Seed of the methods and of the order within domains.
        online: Accuracy during the stream, by method.
        final: Accuracy of the final memory, by method.
    """
    source, head = trained
    guarded, unguarded = AdaNPC(seed=seed), AdaNPC(seed=seed, max_accuracy_drop=None)
    fitted = guarded.fit(source)
    guarded_model, unguarded_model, tent = fitted, fitted, Tent(head, source.x)
    is_correct: Scores = defaultdict(list)
    for step in domain_stream(target, order, seed=seed):
        x, y = step.test.x, step.test.y
        answers = {FROZEN: fitted.logits(x).argmax(1), BASELINE: head.logits(x).argmax(1)}
        logits, guarded_model = guarded.adapt(guarded_model, x)
        answers[GUARDED] = logits.argmax(1)
        logits, unguarded_model = unguarded.adapt(unguarded_model, x)
        answers[UNGUARDED], answers[TENT] = logits.argmax(1), tent.predict_and_adapt(x)
        for name, answer in answers.items():
            is_correct[name].extend(answer == y)
    for name, hits in is_correct.items():
        online[name].append(float(np.mean(hits)))
    target_rows = target.take(np.isin(target.domain, order))
    for name, memory in ((FROZEN, fitted), (GUARDED, guarded_model), (UNGUARDED, unguarded_model)):
        final[name].append(accuracy(memory, target_rows))


Streams = Iterator[tuple[str, Data, Data, Sequence[int]]]


def _load_small_streams(rng: np.random.Generator) -> Streams:
    digits = sample_rows(datasets.read_digits(), 1100, rng)
    yield (
        "digits, angles rising",
        digits.take(np.arange(500)),
        make_angle_domains(digits.take(np.arange(500, 1100)), ANGLES, use_hog=False),
        range(6),
    )


def _load_full_streams(rng: np.random.Generator) -> Streams:
    rows = sample_rows(datasets.read_mnist(), 1200, rng)
    source = replace(rows, x=compute_hog(rows.x))
    test = sample_rows(datasets.read_mnist("test"), 1200, rng)
    angles = make_angle_domains(test.take(np.arange(720)), ANGLES)
    yield "MNIST, angles rising", source, angles, range(6)
    yield "MNIST, angles falling", source, angles, range(6)[::-1]
    yield "MNIST, angles in random order", source, angles, list(rng.permutation(6))
    yield "MNIST to USPS", source, sample_rows(load_digit_set("usps", "test"), 600, rng), (0,)
    yield "MNIST to MNIST-M", source, sample_rows(load_digit_set("mnist_m"), 600, rng), (0,)
    rotated = replace(test, x=compute_hog(rotate_images(test.x, 30.0))).take(np.arange(600, 1200))
    yield "MNIST at 30 degrees, one class", source, rotated.take(rotated.y == 3), (0,)
    yield (
        "MNIST at 30 degrees, sorted by class",
        source,
        replace(rotated, domain=rotated.y),
        range(10),
    )
    yield from _load_letter_streams(rng)
    pacs = datasets.read_pacs()
    photos = pacs.take(pacs.domain == 2)
    yield "PACS, photographs to sketches", photos, sample_rows(pacs, len(pacs), rng), (0, 1, 3)


def _load_letter_streams(rng: np.random.Generator) -> Streams:
    letters = sample_rows(datasets.read_notmnist(), 1920, rng)
    memory, test = letters.take(np.arange(1200)), letters.take(np.arange(1200, 1920))
    memory = replace(memory, x=compute_hog(memory.x))
    small, rising = memory.take(np.arange(300)), make_angle_domains(test, ANGLES)
    gradual = make_angle_domains(test, tuple(np.arange(0.0, 80.0, 5.0)))
    yield "notMNIST, angles rising", memory, rising, range(6)
    yield "notMNIST, gradual", memory, gradual, range(16)
    yield "notMNIST, gradual, memory of 300", small, gradual, range(16)
    yield "notMNIST, angles falling, memory of 300", small, rising, range(6)[::-1]
    sudden = replace(rising, x=compute_hog(rotate_images(test.x, 30.0)), domain=0 * test.domain)
    yield "notMNIST at 30 degrees, memory of 300", small, sudden, (0,)
    is_wrong = rng.random(len(memory)) < 0.3
    labels = np.where(is_wrong, rng.integers(0, 10, len(memory)), memory.y)
    yield "notMNIST, gradual, wrong labels", replace(memory, y=labels), gradual, range(16)
