"""Few-shot learning: a few labelled rows per class, and episodes of a few classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import UNLABELLED, Data, Labels
from ilk.core.errors import InputError
from ilk.maths.folds import share_group
from ilk.protocols.step import Step


def few_shot(data: Data, shots: int, seed: int = 0) -> Step:
    """Train on `shots` random labelled rows per class; test on the other labelled rows.

    A class with exactly `shots` rows is not tested, nor are rows of a training row's group.
    Unlabelled rows stay in the training part.

    Raises:
        InputError: If `shots` is below 1, a class has fewer rows, or no row is left to test.
    """
    is_labelled = _draw_labelled(data, shots, seed)
    rows = _find_test_rows(data, is_labelled)
    return Step(data.take(is_labelled | (data.y < 0)), data.take(rows), rows)


def few_labels(data: Data, shots: int, seed: int = 0) -> Step:
    """Split as `few_shot`, with the test rows also in training without labels (transductive).

    Raises:
        InputError: As `few_shot`.
    """
    is_labelled = _draw_labelled(data, shots, seed)
    rows = _find_test_rows(data, is_labelled)
    hidden = replace(data, y=np.where(is_labelled, data.y, UNLABELLED))
    return Step(hidden, data.take(rows), rows)


def _find_test_rows(data: Data, is_labelled: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return labelled rows that share no group with the shots, as positions `[m]`."""
    is_excluded = share_group(data.group, np.flatnonzero(is_labelled))
    rows = np.flatnonzero(~is_excluded & (data.y >= 0))
    if not len(rows):
        raise InputError(
            "every row left to test shares a group with a training row; use fewer shots"
        )
    return rows


def _draw_labelled(data: Data, shots: int, seed: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return which rows keep their label, `[n]`."""
    if shots < 1:
        raise InputError(f"shots is {shots}; give at least 1")
    counts = data.count_labels()
    short_classes = {
        data.classes[c]: int(counts[c]) for c in np.flatnonzero((counts > 0) & (counts < shots))
    }
    if short_classes:
        examples = ", ".join(f"{name}: {n}" for name, n in list(short_classes.items())[:3])
        raise InputError(
            f"{len(short_classes)} classes have fewer than {shots} rows ({examples}); use fewer "
            "shots, or remove these classes"
        )
    if not (counts > shots).any():
        raise InputError(
            f"no class has more than {shots} rows, so no row is left to test; use fewer shots"
        )
    order = np.random.default_rng(seed).permutation(len(data))
    is_labelled = np.zeros(len(data), bool)
    for c in range(data.k):
        is_labelled[order[data.y[order] == c][:shots]] = True
    return is_labelled


def episodes(
    data: Data,
    shots: int,
    queries: int = 75,
    *,
    ways: int | None = None,
    n_classes: int | None = None,
    n_episodes: int = 1,
    seed: int = 0,
) -> Iterator[Step]:
    """Yield few-shot tasks: `shots` labelled rows per class, and `queries` test rows.

    Queries come from `ways` of the `n_classes` classes of an episode; the learner does not know
    which. Their class is uniform, and a class gives no more rows than it has. They are also in
    `train` without labels, last and in the order of `test`, for transductive methods.

    Args:
        data: Labelled rows.
        shots: Labelled rows per class, >= 1.
        queries: Test rows per episode, >= 1.
        ways: Classes among the queries; all `n_classes` by default.
        n_classes: Classes with labelled rows; all with more than `shots` rows by default.
        n_episodes: Number of episodes.
        seed: Seed of classes and rows.

    Raises:
        InputError: If there are too few classes or rows; the message names the smallest class.
    """
    counts = data.count_labels()
    eligible = np.flatnonzero(counts > shots)
    n_classes = len(eligible) if n_classes is None else n_classes
    ways = n_classes if ways is None else ways
    if shots < 1 or queries < 1 or n_episodes < 0:
        raise InputError(
            f"{shots} shots and {queries} queries make no episode; give at least 1 of each"
        )
    if len(eligible) and not 1 <= ways <= n_classes:
        raise InputError(
            f"{ways} ways among {n_classes} classes make no episode; give 1 to "
            f"{max(n_classes, 1)} ways"
        )
    if not n_classes <= len(eligible) or not len(eligible):
        smallest = int(counts.argmin()) if data.k else 0
        shortest = (
            f" (shortest: {data.classes[smallest]}, {counts[smallest]} rows)" if data.k else ""
        )
        raise InputError(
            f"{len(eligible)} of {data.k} classes have more than {shots} rows{shortest}, too few "
            f"for episodes of {shots} shots among {max(n_classes, 1)} classes; use fewer"
        )
    rng = np.random.default_rng(seed)
    for _ in range(n_episodes):
        yield _make_episode(
            data, rng.permutation(eligible)[:n_classes], (shots, queries, ways), rng
        )


def _make_episode(
    data: Data, class_ids: Labels, sizes: Sequence[int], rng: np.random.Generator
) -> Step:
    shots, queries, ways = sizes
    support, remaining = [], []
    for c in class_ids:
        rows = rng.permutation(np.flatnonzero(data.y == c))
        support.append(rows[:shots])
        remaining.append(rows[shots:])
    query_counts = np.zeros(len(class_ids), np.int64)
    query_counts[rng.permutation(len(class_ids))[:ways]] = rng.multinomial(
        queries, np.full(ways, 1 / ways)
    )
    query_rows = [part[:n] for part, n in zip(remaining, query_counts, strict=True)]
    rows = rng.permutation(np.concatenate(query_rows))
    y = {c: i for i, c in enumerate(class_ids)}
    class_fields = data.select_class_fields(class_ids)

    def take_episode(at: Labels, labels: Labels) -> Data:
        return replace(data.take(at), y=labels, **class_fields)

    support_labels = np.array([y[c] for c in data.y[np.concatenate(support)]])
    train = take_episode(
        np.concatenate([*support, rows]), np.append(support_labels, np.full(len(rows), UNLABELLED))
    )
    return Step(train, take_episode(rows, np.array([y[c] for c in data.y[rows]])), rows)
