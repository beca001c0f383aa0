"""Nearest neighbours whose memory grows with sure answers as the world of the images changes.

Yi-Fan Zhang, Xue Wang, Kexin Jin, Kun Yuan, Zhang Zhang, Liang Wang, Rong Jin, Tieniu Tan, 2023,
AdaNPC: Exploring Non-Parametric Classifier for Test-Time Adaptation, arXiv 2304.12566.

    u = (x - centre) / |x - centre|,  N(x) = the k rows v of the memory with the largest u'v
    s_c(x) = sum_{v in N(x), y_v = c} exp(u'v / T) / sum_{v in N(x)} exp(u'v / T)
    x enters the memory under the answer argmax_c s_c(x) where max_c s_c(x) >= sure

The rule is about s itself. The authors' program takes a second softmax before it compares: of a
probability that is at most e / (e + m - 1) with m classes, so that most of the limits they try let
no row in. Rows are centred first, and logits are `log((k s_c + 1 / m) / (k + 1))`: one vote is
spread over the classes seen, which changes no answer.

The guard is ours. Answers to rows that lie far from all that the memory holds are sure and wrong,
and once in they are the nearest rows of what comes next. So a batch enters only where

- no more than `FAR` of its rows, and of the last `WINDOW`, are less like the memory (mean cosine
  with the `NEAR` nearest) than all but `TAIL` of the rows learnt from are like each other: a
  gradual change is followed, a leap is not; it is the batch that is let in or not, for its nearer
  rows alone would be a biased choice;
- no class has more of the last answers than halfway from its largest share among the rows learnt
  from to all: a stream of one class cannot be told from a collapse;
- rows learnt from, each left out, are then still answered as well as at first, less `margin`.

Else the memory stays the last good one, and `told` says why: there is gain where the world changes
by small steps, and none where it leaps. Where one class has gained more than `TILT` of all rows
that entered over what the first memory called it, all of them are forgotten. The constants stand in
`ilk.unlabelled.drift`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.data import Data, Features, Labels, Logits
from ilk.errors import InputError
from ilk.models import CHUNK, Facts, learnable, unit_rows
from ilk.unlabelled import drift

JUDGED = 300  # rows learnt from that the guard asks, at most


@dataclass(frozen=True, eq=False)
class Memory:
    """Rows of length 1 and their classes: those learnt from, then those that entered.

    Attributes:
        centre: Taken off first, `[d]` float32.
        rows: `[n, d]` float32.
        y: `[n]` int64: labels, then answers.
        first: `[n]` int64: labels, then what the memory answered before any row entered.
        learnt: How many of the rows were learnt from; they come first.
        judged: Which of them the guard asks, `[m]` int64.
        right: Share of these that are answered rightly while no row has entered.
        reach: Likeness that all but `TAIL` of the rows learnt from have to the others.
        likeness: How like the memory the last rows of the stream were, `[r]` float64.
        said: What was answered to them, `[r]` int64.
        k: Rows that vote.
        temperature: T.
        classes: Number of classes.
        told: Why the last batch did not enter, or what was forgotten; else "".
    """

    centre: Features
    rows: Features
    y: Labels
    first: Labels
    learnt: int
    judged: Labels
    right: float
    reach: float
    likeness: NDArray[np.float64]
    said: Labels
    k: int
    temperature: float
    classes: int
    told: str = ""

    def logits(self, x: Features) -> Logits:
        """Log of the smoothed share of votes, `[n, classes]`; `-inf` where never seen."""
        out = np.empty((len(x), self.classes))
        for at in range(0, len(x), CHUNK):
            out[at : at + CHUNK] = self.scores(self.votes(self.cosines(x[at : at + CHUNK])))
        return out

    def unit(self, x: Features) -> NDArray[np.float64]:
        """Directions from the centre, `[n, d]`."""
        return np.asarray(unit_rows(np.asarray(x, np.float64) - self.centre))

    def cosines(self, x: Features) -> NDArray[np.float64]:
        """With each row of the memory, `[n, rows]`."""
        return np.asarray(self.unit(x) @ self.rows.T.astype(np.float64))

    def votes(self, cosines: NDArray[Any]) -> NDArray[np.float64]:
        """The share of votes s of each class, `[n, classes]`.

        `cosines` may be with the first rows of the memory only.
        """
        k = min(self.k, cosines.shape[1])
        at = np.argpartition(-cosines, k - 1, axis=1)[:, :k]
        close = np.take_along_axis(cosines, at, axis=1).astype(np.float64)
        weight = np.exp((close - close.max(1, keepdims=True)) / self.temperature)
        votes = np.zeros((len(cosines), self.classes))
        np.add.at(votes, (np.arange(len(votes))[:, None], self.y[at]), weight)
        return np.asarray(votes / weight.sum(1, keepdims=True))

    def scores(self, votes: NDArray[np.float64]) -> Logits:
        """Votes `[n, classes]` as logits."""
        seen = np.bincount(self.y, minlength=self.classes) > 0
        share = np.where(seen, (self.k * votes + 1 / seen.sum()) / (self.k + 1), 0.0)
        return np.log(share, where=share > 0, out=np.full_like(share, -np.inf))

    def among(self) -> NDArray[np.float32]:
        """Cosines of the judged rows with the memory, `[m, n]`; `-inf` with itself."""
        cosines = self.rows[self.judged] @ self.rows.T
        cosines[np.arange(len(cosines)), self.judged] = -np.inf
        return cosines

    def still_right(self) -> float:
        """Share of the judged rows that are answered rightly, each left out."""
        if len(self.rows) < 2:
            return 1.0
        answers = self.votes(self.among()).argmax(1)
        return float(np.mean(answers == self.y[self.judged]))

    def forgotten(self, told: str = "") -> Memory:
        """The memory without the rows that entered."""
        n = self.learnt
        bare = replace(self, rows=self.rows[:n], y=self.y[:n], first=self.first[:n])
        return replace(bare, told=told)


@dataclass(frozen=True)
class AdaNPC(Facts):
    """Nearest neighbours with a memory that `adapt` lets grow.

    Attributes:
        k: Rows that vote, >= 1; all where there are fewer.
        temperature: T, > 0: the smaller, the more the nearest count.
        sure: Least share of the votes with which a row enters, in [0, 1]; above 1 none does.
        most: Rows that may have entered and be kept, >= 1; the oldest leaves first.
        margin: How much less of the rows learnt from may be answered rightly after a batch, >= 0;
            None: there is no guard at all, as in the paper.
        seed: Draws the rows that the guard asks where there are more than 300.
    """

    k: int = 20
    temperature: float = 0.05
    sure: float = 0.8
    most: int = 1000
    margin: float | None = 0.01
    seed: int = 0

    def __post_init__(self) -> None:
        if self.k < 1 or self.most < 1 or not self.temperature > 0:
            raise ValueError(
                f"k is {self.k}, most {self.most} and temperature {self.temperature}; "
                "at least 1, at least 1 and above 0 are needed"
            )
        if self.margin is not None and not self.margin >= 0:
            raise ValueError(f"margin is {self.margin}; it must be at least 0, or None")

    def fit(self, data: Data) -> Memory:
        known = learnable(data, self)
        centre = known.x.mean(0, dtype=np.float64).astype(np.float32)
        rows = unit_rows(known.x.astype(np.float64) - centre).astype(np.float32)
        judged = np.random.default_rng(self.seed).permutation(len(rows))[:JUDGED]
        none, k = np.zeros(0, np.int64), min(self.k, len(rows))
        start = Memory(
            *(
                centre,
                rows,
                known.y,
                known.y,
                len(rows),
                judged,
                1.0,
                -1.0,
                none.astype(np.float64),
            ),
            *(none, k, self.temperature, data.k),
        )
        if len(rows) < 2:
            return start
        reach = float(np.quantile(drift.likeness(start.among()), drift.TAIL))
        return replace(start, right=start.still_right(), reach=reach)

    def adapt(self, model: Memory, x: Features) -> tuple[Logits, Memory]:
        """Answers `[n, classes]` for the rows `x [n, d]` of a batch, and the memory after them.

        The answers are those of the memory before. `model` stays as it is, so that whoever keeps it
        can go back further than the guard does.

        Raises:
            InputError: The rows have another width than those learnt from, or are not finite.
        """
        if np.ndim(x) != 2 or np.shape(x)[1] != len(model.centre):
            raise InputError(
                f"rows of shape {np.shape(x)} cannot be adapted to: the memory holds rows of "
                f"{len(model.centre)} features; encode them with the same encoder"
            )
        if not np.isfinite(x).all():
            raise InputError("some features of the batch are not finite; leave those rows out")
        cosines = model.cosines(x)
        votes = model.votes(cosines)
        answer, window = votes.argmax(1), max(drift.WINDOW, len(votes))
        before = replace(
            model,
            likeness=np.append(model.likeness, drift.likeness(cosines))[-window:],
            said=np.append(model.said, answer)[-window:],
        )
        sure = votes.max(1) >= self.sure - 1e-9  # shares that sum to 1 but for rounding
        first = model.votes(cosines[sure, : model.learnt]).argmax(1)
        after = self._grown(before, model.unit(x[sure]), answer[sure], first)
        return model.scores(votes), after if self.margin is None else self._guarded(
            before, after, len(x)
        )

    def _grown(
        self, model: Memory, u: NDArray[np.float64], answer: Labels, first: Labels
    ) -> Memory:
        """The memory with these rows, the oldest that entered gone where there are too many."""
        n = model.learnt

        def with_new(old: NDArray[Any], new: NDArray[Any]) -> NDArray[Any]:
            late = np.concatenate([old[n:], new.astype(old.dtype)])[-self.most :]
            return np.concatenate([old[:n], late])

        return replace(
            model,
            rows=with_new(model.rows, u),
            y=with_new(model.y, answer),
            first=with_new(model.first, first),
            told="",
        )

    def _guarded(self, before: Memory, after: Memory, new: int) -> Memory:
        """`after` the `new` rows; or the memory before, or without what entered, and why."""
        n = after.learnt
        most = float(np.bincount(after.y[:n]).max() / n)
        why = drift.unfit(before.likeness, before.said, (before.reach, most), new)
        if not why and len(after.rows) > n:
            if (gain := drift.tilt(after.y[n:], after.first[n:])) > drift.TILT:
                return before.forgotten(
                    f"all that entered was forgotten: one class has {gain:.0%} more of it than "
                    "the first memory gave it"
                )
            fall = after.right - after.still_right()
            if self.margin is not None and fall > self.margin:
                why = f"{fall:.1%} fewer of the rows learnt from would be answered rightly"
        return replace(before, told=f"nothing entered: {why}") if why else after
