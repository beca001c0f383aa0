"""Which encoder and which head: cross-validation, a leaderboard, and what the best is really worth.

Scores come from out-of-fold logits that were calibrated on the other folds, so that no row had a
say in its own answer. The best of many is still picked by luck in part; `selection` corrects it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import replace

import numpy as np
from numpy.linalg import LinAlgError
from numpy.typing import NDArray

from ilk.board import Leaderboard, OutOfFold, Result
from ilk.data import UNKNOWN, Data, Labels
from ilk.errors import IlkError, InputError, NoLabels, UnknownName
from ilk.metrics import Probabilities, score
from ilk.models import Method, describe
from ilk.progress import Advance, Progress, silent
from ilk.protocols import steps, stratified_folds, what_folds_miss
from ilk.selection import SELECT, Votes, honest_accuracy, tied, votes
from ilk.trust.calibrate import answerable, cross_fitted

__all__ = [
    "Leaderboard",
    "OutOfFold",
    "Result",
    "cross_validate",
    "leaderboard",
    "stratified_folds",
]

WITHOUT_WEIGHTS = ("pixels", "hog")  # families of encoders that know nothing of images yet
SAFE = ("GDA", "NearestClassMean")  # heads that hold with one image a class
FEW = 50  # rows; on fewer, accuracy is not known to 10 points
LEARNT = (
    "not measured: it learnt from these images with their labels; pretrain it with --folds 3, "
    "or keep some images out of it"
)
FAILURES = (IlkError, LinAlgError, ArithmeticError, MemoryError)


def cross_validate(
    method: Method, data: Data, fold: Labels, advance: Advance = lambda _n: None
) -> OutOfFold:
    """Logits of each row from a model that did not see it; the only loop over steps.

    Every row that a fold does not test is in its training part, rows without a label included.

    Raises:
        IlkError: The method cannot learn from this data, and says why.
        FloatingPointError: It answered with nan, `+inf`, or no class at all.
    """
    began = time.perf_counter()
    logits = np.full((len(data), data.k), np.nan)
    for step in steps(data, fold):
        logits[step.rows] = answerable(method.fit(step.train).logits(step.test.x))
        advance(1)
    return OutOfFold(logits, np.asarray(fold) >= 0, time.perf_counter() - began)


Methods = Mapping[str, Sequence[Method]] | Callable[[str], Sequence[Method]]


def leaderboard(
    data_by_encoder: Mapping[str, Data],
    methods: Methods,
    *,
    folds: int = 5,
    seed: int = 0,
    select: str = "accuracy",
    unfair: Mapping[str, NDArray[np.bool_]] | None = None,
    progress: Progress = silent,
) -> Leaderboard:
    """Cross-validate every method on every encoder, on the same folds.

    Args:
        data_by_encoder: The same rows as each encoder sees them.
        methods: What to try on each encoder, by its name.
        folds: At most so many; fewer where no class has that many images.
        seed: Of folds and bootstrap.
        select: accuracy, macro_accuracy or log_loss; ties go to the lower log loss.
        unfair: By encoder, the rows that its network learnt from with their labels, `[n]`. No
            candidate is tested on such a row; where too few rows are left, that encoder is not
            measured at all.
        progress: Told after each fold.

    Raises:
        NoLabels: No row has a label.
        InputError: There is only one class, nothing to try, or nothing that works.
        UnknownName: `select` is none of the three.
    """
    data = _same_rows(data_by_encoder)
    _learnable(data, select)
    seen, unjudged = _fairness(data.y, unfair or {})
    y = np.where(seen, UNKNOWN, data.y)
    fold = stratified_folds(y, folds, seed)
    made = int(fold.max(initial=-1)) + 1
    note = "; ".join(filter(None, (what_folds_miss(y, fold, folds), _unseen_note(seen))))
    of = methods if callable(methods) else methods.__getitem__
    tries = [(name, method) for name in data_by_encoder for method in of(name)]
    if not tries:
        raise InputError("there is no method to try; name at least one, such as GDA")
    race = _Race(data.y, fold, select, unjudged)
    if not made:
        return race.unrun(tries, note)
    with progress("cross-validation", len(tries) * made) as advance:
        for name, method in tries:
            race.run(name, method, data_by_encoder[name], advance)
    return race.finish(tries, note, seed)


class _Race:
    """Candidates run one after the other; of the logits, only the leader's are kept."""

    def __init__(self, y: Labels, fold: Labels, select: str, unjudged: Set[str]) -> None:
        self.y, self.fold, self.select, self.unjudged = y, fold, select, unjudged
        self.folds, self.tested = int(fold.max(initial=-1)) + 1, fold >= 0
        self.results: list[Result] = []
        self.votes: dict[int, Votes] = {}
        self.best: int | None = None
        self.leader: tuple[OutOfFold, Probabilities] | None = None

    def run(self, encoder: str, method: Method, data: Data, advance: Advance) -> None:
        done, began = 0, time.perf_counter()

        def counted(n: int) -> None:
            nonlocal done
            done += n
            advance(n)

        row = Result(encoder, describe(method), None, 0.0)
        if encoder in self.unjudged:
            advance(self.folds)
            self.results.append(replace(row, note=LEARNT))
            return
        try:
            oof = cross_validate(method, data, self.fold, counted)
            p = cross_fitted(oof.logits, self.y, self.fold)
        except FAILURES as error:
            advance(self.folds - done)
            why = str(error) or type(error).__name__
            self.results.append(replace(row, seconds=time.perf_counter() - began, note=why))
            return
        y, p_tested = self.y[self.tested], p[self.tested]
        self.results.append(replace(row, scores=score(y, p_tested), seconds=oof.seconds))
        at = len(self.results) - 1
        self.votes[at] = votes(y, p_tested)
        if self.best is None or self._order(at) < self._order(self.best):
            self.best, self.leader = at, (oof, p)

    def _order(self, i: int) -> tuple[float, float]:
        s = self.results[i].scores
        if s is None:
            return (np.inf, np.inf)
        figure = {"accuracy": -s.accuracy.value, "macro_accuracy": -s.macro_accuracy}
        return (round(figure.get(self.select, s.log_loss), 12), s.log_loss)

    def finish(self, tries: Sequence[tuple[str, Method]], note: str, seed: int) -> Leaderboard:
        if self.best is None or self.leader is None:
            reasons = dict.fromkeys(f"{r.method} on {r.encoder}: {r.note}" for r in self.results)
            raise InputError(f"no method could be fitted ({'; '.join(reasons)})")
        y, best = self.y[self.tested], self.votes[self.best]
        rows = [
            replace(row, tied=i in self.votes and tied(y, best, self.votes[i], self.select))
            for i, row in enumerate(self.results)
        ]
        order = sorted(range(len(rows)), key=self._order)
        honest = honest_accuracy(y, list(self.votes.values()), self.select, seed)
        return Leaderboard(
            tuple(rows[i] for i in order),
            tries[self.best],
            self.folds,
            note,
            honest,
            self.fold,
            *self.leader,
        )

    def unrun(self, tries: Sequence[tuple[str, Method]], note: str) -> Leaderboard:
        why = "not measured: every class has a single image"
        rows = tuple(Result(name, describe(m), None, 0.0, why) for name, m in tries)
        return Leaderboard(rows, _safe(tries), 0, note, None, self.fold)


def _fairness(
    y: Labels, unfair: Mapping[str, NDArray[np.bool_]]
) -> tuple[NDArray[np.bool_], set[str]]:
    """Rows that nobody is tested on, `[n]`, and the encoders that too few rows are left for."""
    seen, unjudged = np.zeros(len(y), bool), set[str]()
    for name, rows in unfair.items():
        if np.sum((y >= 0) & ~rows) < FEW and rows.any():
            unjudged.add(name)
        else:
            seen |= rows
    return seen, unjudged


def _unseen_note(seen: NDArray[np.bool_]) -> str:
    if not seen.any():
        return ""
    return (
        f"{int(seen.sum())} of {len(seen)} training images were learnt from, with their labels, by "
        "a diffusion model here, so every method was judged on the others only"
    )


def _safe(tries: Sequence[tuple[str, Method]]) -> tuple[str, Method]:
    """The choice where nothing can be measured; see `Leaderboard.winner`."""

    def rank(entry: tuple[str, Method]) -> tuple[bool, int]:
        kind = type(entry[1]).__name__
        family = entry[0].partition("/")[0]
        return family in WITHOUT_WEIGHTS, SAFE.index(kind) if kind in SAFE else len(SAFE)

    return min(tries, key=rank)


def _same_rows(data_by_encoder: Mapping[str, Data]) -> Data:
    """The first table, all of them having the same labels and classes."""
    if not data_by_encoder:
        raise InputError("there is no encoder to try; name at least one, such as pixels")
    first, *others = data_by_encoder.values()
    for name, data in zip(list(data_by_encoder)[1:], others, strict=True):
        if data.classes != first.classes or not np.array_equal(data.y, first.y):
            raise ValueError(f"the rows of {name} are not those of {next(iter(data_by_encoder))}")
    return first


def _learnable(data: Data, select: str) -> None:
    if select not in SELECT:
        raise UnknownName("measure to select by", select, SELECT)
    classes = [data.classes[c] for c in np.flatnonzero(data.counts())]
    if not classes:
        raise NoLabels(
            "no image has a label, and a leaderboard needs some; "
            "label a few, or use ZeroShot with an encoder that reads text"
        )
    if len(classes) == 1:
        raise InputError(
            f"every labelled image is {classes[0]!r}; a classifier needs at least two classes"
        )
