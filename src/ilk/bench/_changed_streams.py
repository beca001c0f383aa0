"""AdaNPC's memory on streams: what it gains, and whether it ever ends below where it began."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ilk.bench import _sets
from ilk.bench._family import Claim, table
from ilk.bench._worlds import (
    EntropyMinimiser,
    Scores,
    accuracy,
    digits_of,
    draw,
    drawn,
    hog,
    many_angles,
    turned,
)
from ilk.data import Data
from ilk.methods.adanpc import AdaNPC
from ilk.methods.logistic_regression import LogisticRegression
from ilk.protocols import stream

ANGLES = (0.0, 15.0, 30.0, 45.0, 60.0, 75.0)
GROWING, STATIC, FREE = "AdaNPC", "memory as fitted", "AdaNPC without guard"
HEAD, TENT = "logistic regression", "entropy minimisation"


def streams(tables: list[Any], drops: dict[str, Any], seeds: range, small: bool) -> None:
    """Tables of streams, and by how much any seed fell below the memory as fitted."""
    online: dict[str, Scores] = defaultdict(lambda: defaultdict(list))
    left: dict[str, Scores] = defaultdict(lambda: defaultdict(list))
    for seed in seeds:
        rng = draw(seed)
        made = _small_streams(rng) if small else _full_streams(rng)
        for name, source, target, order in made:
            _run_stream(source, target, order, seed, online[name], left[name])
    for name, scores in online.items():
        tables.append(
            table(f"stream: {name}", "online accuracy", scores, _against(STATIC, HEAD, TENT))
        )
        tables.append(table(f"stream: {name}", "accuracy at the end", left[name], _against(STATIC)))
        drops[name] = {
            f"{who} {when}, least over seeds": float(np.min(np.subtract(s[who], s[STATIC])))
            for when, s in (("online", scores), ("at the end", left[name]))
            for who in (GROWING, FREE)
        }


def _against(*others: str) -> list[Claim]:
    return [Claim("adanpc-test-time", "methods/adanpc.py", GROWING, other) for other in others]


def _run_stream(
    source: Data, target: Data, order: Sequence[int], seed: int, online: Scores, left: Scores
) -> None:
    """One stream past all contenders; what each got right goes into the scores."""
    guarded, free = AdaNPC(seed=seed), AdaNPC(seed=seed, margin=None)
    start, head = guarded.fit(source), LogisticRegression().fit(source)
    one, two, tent = start, start, EntropyMinimiser(head, source.x)
    right: Scores = defaultdict(list)
    for step in stream(target, order, seed=seed):
        x, y = step.test.x, step.test.y
        answers = {STATIC: start.logits(x).argmax(1), HEAD: head.logits(x).argmax(1)}
        logits, one = guarded.adapt(one, x)
        answers[GROWING] = logits.argmax(1)
        logits, two = free.adapt(two, x)
        answers[FREE], answers[TENT] = logits.argmax(1), tent.answer(x)
        for name, answer in answers.items():
            right[name].extend(answer == y)
    for name, hits in right.items():
        online[name].append(float(np.mean(hits)))
    whole = target.rows(np.isin(target.domain, order))
    for name, memory in ((STATIC, start), (GROWING, one), (FREE, two)):
        left[name].append(accuracy(memory, whole))


Streams = Iterator[tuple[str, Data, Data, Sequence[int]]]


def _small_streams(rng: np.random.Generator) -> Streams:
    digits = drawn(_sets.digits(), 1100, rng)
    yield (
        "digits, angles rising",
        digits.rows(np.arange(500)),
        many_angles(digits.rows(np.arange(500, 1100)), ANGLES, features=False),
        range(6),
    )


def _full_streams(rng: np.random.Generator) -> Streams:
    rows = drawn(_sets.mnist(), 1500, rng)
    source = replace(rows, x=hog(rows.x))
    test = drawn(_sets.mnist("test"), 1500, rng)
    angles = many_angles(test.rows(np.arange(900)), ANGLES)
    yield "MNIST, angles rising", source, angles, range(6)
    yield "MNIST, angles falling", source, angles, range(6)[::-1]
    yield "MNIST, angles in drawn order", source, angles, list(rng.permutation(6))
    yield "MNIST to USPS", source, drawn(digits_of("usps", "test"), 800, rng), (0,)
    yield "MNIST to MNIST-M", source, drawn(digits_of("mnist_m"), 800, rng), (0,)
    slanted = replace(test, x=hog(turned(test.x, 30.0))).rows(np.arange(900, 1500))
    yield "MNIST at 30 degrees, one class", source, slanted.rows(slanted.y == 3), (0,)
    yield (
        "MNIST at 30 degrees, class after class",
        source,
        replace(slanted, domain=slanted.y),
        range(10),
    )
    pacs = _sets.pacs()
    photos = pacs.rows(pacs.domain == 2)
    yield "PACS, photographs to sketches", photos, drawn(pacs, len(pacs), rng), (0, 1, 3)
