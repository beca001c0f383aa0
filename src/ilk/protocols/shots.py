"""Few labels: a handful of labelled rows a class, and episodes of a few classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from ilk.data import UNKNOWN, Data, Labels
from ilk.errors import InputError
from ilk.protocols.step import Step


def few_shot(data: Data, shots: int, seed: int = 0) -> Step:
    """Train on `shots` labelled rows of each class drawn at random, test on the other labelled.

    A class of just so many rows is not tested, and one without any stays unknown.

    Raises:
        InputError: `shots` is below 1, a class has fewer rows, or nothing is left to test.
    """
    shown = _shown(data, shots, seed)
    rows = np.flatnonzero(~shown & (data.y >= 0))
    return Step(data.rows(shown | (data.y < 0)), data.rows(rows), rows)


def few_labels(data: Data, shots: int, seed: int = 0) -> Step:
    """As `few_shot`, but all other rows are trained on without their labels: transductive.

    Raises:
        InputError: As `few_shot` says.
    """
    shown = _shown(data, shots, seed)
    rows = np.flatnonzero(~shown & (data.y >= 0))
    hidden = replace(data, y=np.where(shown, data.y, UNKNOWN))
    return Step(hidden, data.rows(rows), rows)


def _shown(data: Data, shots: int, seed: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which rows keep their label, `[n]`."""
    if shots < 1:
        raise InputError(f"{shots} shots leave nothing to learn from; ask for at least 1")
    counts = data.counts()
    short = {
        data.classes[c]: int(counts[c]) for c in np.flatnonzero((counts > 0) & (counts < shots))
    }
    if short:
        told = ", ".join(f"{name}: {n}" for name, n in list(short.items())[:3])
        raise InputError(
            f"{len(short)} classes have fewer than {shots} rows ({told}); ask for fewer shots, or "
            "leave them out"
        )
    if not (counts > shots).any():
        raise InputError(
            f"no class has more than {shots} rows, so nothing is left to test; ask for fewer shots"
        )
    order = np.random.default_rng(seed).permutation(len(data))
    shown = np.zeros(len(data), bool)
    for c in range(data.k):
        shown[order[data.y[order] == c][:shots]] = True
    return shown


def episodes(
    data: Data,
    shots: int,
    queries: int = 75,
    *,
    ways: int | None = None,
    among: int | None = None,
    count: int = 1,
    seed: int = 0,
) -> Iterator[Step]:
    """Tasks of a few classes: `shots` labelled rows a class, and `queries` rows to answer for.

    Queries come from `ways` of the `among` classes that have labelled rows (all where not told):
    the learner knows `among` classes and is not told which of them turn up. Queries are drawn with
    the same chance a class, then a row, and a class gives no more than it has. They go along in
    `train` without labels, last and in the order of `test`, for transductive methods; `Step.rows`
    says where they stand in `data`.

    Raises:
        InputError: Fewer classes or rows than are asked for, naming the shortest class.
    """
    counts = data.counts()
    able = np.flatnonzero(counts > shots)
    among = len(able) if among is None else among
    ways = among if ways is None else ways
    if shots < 1 or queries < 1 or count < 0:
        raise InputError(f"{shots} shots and {queries} queries make no episode; ask for 1 or more")
    if len(able) and not 1 <= ways <= among:
        raise InputError(
            f"{ways} ways among {among} classes make no episode; ask for 1 to {max(among, 1)} ways"
        )
    if not among <= len(able) or not len(able):
        least = int(counts.argmin()) if data.k else 0
        shortest = f" (shortest: {data.classes[least]}, {counts[least]} rows)" if data.k else ""
        raise InputError(
            f"{len(able)} of {data.k} classes have more than {shots} rows{shortest}, too few for "
            f"episodes of {shots} shots among {max(among, 1)} classes; ask for fewer"
        )
    rng = np.random.default_rng(seed)
    for _ in range(count):
        yield _episode(data, rng.permutation(able)[:among], (shots, queries, ways), rng)


def _episode(data: Data, chosen: Labels, asked: Sequence[int], rng: np.random.Generator) -> Step:
    shots, queries, ways = asked
    names = tuple(data.classes[c] for c in chosen)
    support, rest = [], []
    for c in chosen:
        rows = rng.permutation(np.flatnonzero(data.y == c))
        support.append(rows[:shots])
        rest.append(rows[shots:])
    share = np.zeros(len(chosen), np.int64)
    share[rng.permutation(len(chosen))[:ways]] = rng.multinomial(queries, np.full(ways, 1 / ways))
    drawn = [part[:n] for part, n in zip(rest, share, strict=True)]
    rows = rng.permutation(np.concatenate(drawn))
    y = {c: i for i, c in enumerate(chosen)}
    hints = None if data.hints is None else data.hints[chosen]

    def part(at: Labels, labels: Labels) -> Data:
        return Data(data.x[at], labels, names, data.domain[at], data.bag[at], hints)

    known = np.array([y[c] for c in data.y[np.concatenate(support)]])
    train = part(np.concatenate([*support, rows]), np.append(known, np.full(len(rows), UNKNOWN)))
    return Step(train, part(rows, np.array([y[c] for c in data.y[rows]])), rows)
