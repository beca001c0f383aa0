"""A saved classifier that gets more classes, in the time that their own images take.

What `ilk.trust.kept` kept of the old images stands in for them: the head goes on from statistics
(`ilk.living.widened`), the sense of the unknown gets the new mean, and probabilities, sets and the
threshold of the unknown are made anew from rows that were held out, old and new in the proportions
in which they were learnt. `Growth` tells how the old classes answer before and after.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.classifier import Classifier
from ilk.data import Data
from ilk.living.added import Growth, Side, measured, tell_apart
from ilk.living.newcomers import check, growable, method_of, named
from ilk.living.widened import Learnt, Rows, held_out, widened
from ilk.maths.gaussian import Statistics, class_statistics, merge
from ilk.trust.calibrate import Calibration
from ilk.trust.conformal import Sets
from ilk.trust.kept import ROWS, Kept, drawn, first
from ilk.trust.unknown import Unknown


def grow(
    classifier: Classifier, added: Data, *, more: bool = False, anyway: bool = False
) -> tuple[Classifier, Growth]:
    """A classifier that knows the classes of `added` too.

    Args:
        added: Labelled features of the classifier's own encoder; `added.classes` are the new names.
        more: Let names be known already: their rows are added to the class.
        anyway: Let a class be added that cannot be told from an old one.

    Raises:
        InputError: The classifier keeps no statistics, the features are of another encoder, a name
            is known already, a class has no row, or it cannot be told from an old class.
    """
    began = time.perf_counter()
    kept = growable(classifier)
    check(added, kept)
    method = method_of(classifier)
    names = named(classifier, added, method, more)
    y = np.array([names.index(name) for name in added.classes])[added.y]
    learnt = _learnt(kept, Data(np.asarray(added.x, np.float32), y, names))
    rows = _rows(classifier, kept, learnt)
    chosen = first(rows.y, learnt.after.counts, kept.width)
    sharp = classifier.calibration.temperature
    model = widened(classifier.model, method, learnt, rows.at(chosen), sharp)
    logits = held_out(model, method, learnt.after, rows)
    unknown = _unknown(classifier.unknown, learnt)
    rows = replace(rows, distance=_distances(unknown, learnt, rows, len(kept.y)))
    grown = replace(classifier, classes=names, model=model, unknown=unknown, evidence=None)
    grown = _trusted(grown, learnt, replace(rows, logits=logits).at(chosen))
    old = held_out(
        classifier.model, method, learnt.earlier, rows.at(~np.isin(rows.y, learnt.added.y))
    )
    growth = measured(Side(classifier, old), Side(grown, logits), learnt, rows)
    if not anyway:
        tell_apart(growth)
    growth = replace(growth, seconds=time.perf_counter() - began)
    return replace(grown, about=_about(grown, growth)), growth


def _learnt(kept: Kept, data: Data) -> Learnt:
    before, new = kept.statistics, data.k - len(kept.counts)
    padded = Statistics(
        np.append(before.counts, np.zeros(new, np.int64)),
        np.pad(before.means, ((0, new), (0, 0))),
        before.scatter,
    )
    after = merge(padded, class_statistics(data.x, data.y, data.k))
    return Learnt(padded, after, data, len(kept.counts))


def _rows(classifier: Classifier, kept: Kept, learnt: Learnt) -> Rows:
    """Rows that can be held out: those kept, then added ones (of each class `ROWS` at most)."""
    order = drawn(learnt.added.y)
    y = learnt.added.y[order]
    order = order[np.arange(len(y)) - np.searchsorted(y, y) < ROWS]
    x, y = learnt.added.x[order], learnt.added.y[order]
    rows = Rows(
        np.concatenate([kept.x, x]),
        np.append(kept.y, y),
        np.concatenate([kept.logits.astype(np.float64), classifier.model.logits(x)]),
        np.append(kept.distance, classifier.unknown.score(x)),
    )
    return rows.at(learnt.after.counts[rows.y] > 1)


def _unknown(unknown: Unknown, learnt: Learnt) -> Unknown:
    for c in np.unique(learnt.added.y):
        unknown = unknown.with_mean(learnt.after.means[c], _place(learnt, c))
    return unknown


def _place(learnt: Learnt, c: int) -> int:
    """Where the mean of class `c` stands among those of classes that have a row."""
    return int(np.sum(learnt.after.counts[:c] > 0))


def _distances(unknown: Unknown, learnt: Learnt, rows: Rows, old: int) -> NDArray[np.float64]:
    """Held-out distances now that there are more means: a new row's own is made without it.

    The first `old` rows keep theirs, though a new mean may lie nearer. They were learnt from, and
    the Gaussian of all rows would call them too near; a threshold that is a little too high gives
    no false alarm.
    """
    far, new = rows.distance.copy(), np.arange(len(rows.y)) >= old
    for c in np.unique(learnt.added.y):
        n, at, own = int(learnt.after.counts[c]), _place(learnt, c), new & (rows.y == c)
        to = replace(unknown, means=unknown.means[at : at + 1]).score(rows.x[own])
        far[own] = np.minimum(far[own], (n / max(1, n - 1)) ** 2 * to)
    return far


def _trusted(grown: Classifier, learnt: Learnt, rows: Rows) -> Classifier:
    """Probabilities, sets, the threshold of the unknown and what is kept, from held-out `rows`."""
    counts, shares = learnt.after.counts, grown.shares
    if shares is not None:
        shares = shares.widened(counts / counts.sum())
    kept = Kept.made(learnt.after, rows.x, rows.y, rows.logits, rows.distance)
    grown = replace(grown, kept=kept, shares=shares)
    if not len(rows.y):
        return grown
    grown = replace(grown, calibration=Calibration.fit(rows.logits, rows.y))
    p, weights = grown.probabilities(rows.logits), shares.ratio[rows.y] if shares else None
    sets = Sets.fit(p, rows.y, grown.sets.level, rows.distance, weights)
    return replace(grown, sets=sets, unknown=grown.unknown.limited(rows.distance))


def _about(grown: Classifier, growth: Growth) -> dict[str, Any]:
    """What `model.json` tells from now on."""
    about = grown.about
    thresholds = {
        **about.get("thresholds", {}),
        "set": grown.sets.threshold,
        "unknown": grown.unknown.threshold,
    }
    return {
        **about,
        "thresholds": thresholds,
        "grown": [*about.get("grown", []), growth.to_json()],
    }
