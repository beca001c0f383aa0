"""A saved classifier that gets more classes, in the time that their own images take.

What `ilk.trust.kept` kept of the old images stands in for them: the head goes on from statistics
(`ilk.widened`), the sense of the unknown gets the new mean, and probabilities, sets and the
threshold of the unknown are made anew from rows that were held out, old and new in the proportions
in which they were learnt. `Growth` tells how the old classes answer before and after.
"""

from __future__ import annotations

import time
import unicodedata
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk import methods
from ilk.added import Growth, Side, measured, tell_apart
from ilk.classifier import Classifier
from ilk.data import Data
from ilk.encoders import ScoresClasses
from ilk.errors import InputError
from ilk.gaussian import Statistics, class_statistics, merge
from ilk.models import Method
from ilk.trust.calibrate import Calibration
from ilk.trust.conformal import Sets
from ilk.trust.kept import ROWS, Kept, drawn, first
from ilk.trust.unknown import Unknown
from ilk.widened import Learnt, Rows, Widened, held_out, whole, widened

AGAIN = "fit it again with all images: ilk fit"


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
    _check(added, kept)
    method = _method(classifier)
    names = _names(classifier, added, method, more)
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


def growable(classifier: Classifier) -> Kept:
    """What the classifier keeps to grow by.

    Raises:
        InputError: It keeps nothing; says why and what to do.
    """
    if classifier.kept is not None and classifier.kept.width:
        return classifier.kept
    if isinstance(classifier.encoder, ScoresClasses):
        raise InputError(
            f"{classifier.encoder.name} gives one score for each class that its network was "
            f"trained on, so none can be added; pretrain it with the new class, or {AGAIN}"
        )
    raise InputError(
        "this model keeps no statistics to grow by (it learnt without labels, from very wide "
        f"features, or with an ilk older than 0.2); {AGAIN}"
    )


def _check(added: Data, kept: Kept) -> None:
    if added.x.ndim != 2 or added.x.shape[1] != kept.width:
        raise InputError(
            f"these features have shape {added.x.shape} and the classifier learnt from rows of "
            f"{kept.width} numbers: they come from another encoder; encode the images with its own"
        )
    for name, count in zip(added.classes, added.counts(), strict=True):
        if not name.strip():
            raise InputError("a class needs a name; write --class NAME FOLDER")
        if not count:
            raise InputError(f"there is no image of {name!r} that can be used; nothing was added")
    if (added.y < 0).any():
        raise InputError("only labelled images can be added; name the class of each")


def _names(
    classifier: Classifier, added: Data, method: Method | None, more: bool
) -> tuple[str, ...]:
    """The classes there will be: the old ones, then the new.

    Raises:
        InputError: A name is known already and `more` is false, or its class cannot be added to.
    """
    folded = {_folded(name): name for name in classifier.classes}
    for name in added.classes:
        known = folded.setdefault(_folded(name), name)
        if known != name:
            raise InputError(f"{name!r} is spelled like the class {known!r}; give it another name")
        if name not in classifier.classes:
            continue
        count = int(growable(classifier).counts[classifier.classes.index(name)])
        if not more:
            raise InputError(
                f"the model knows {name!r} already, from {count:,} images; add these to them with "
                "--more, or give the class another name"
            )
        if not count or _fixed(classifier, classifier.classes.index(name), method):
            raise InputError(
                f"{name!r} was learnt together with the other classes by "
                f"{classifier.about.get('method', 'its head')}, which cannot learn more of it by "
                f"itself; {AGAIN}"
            )
    return classifier.classes + tuple(n for n in added.classes if n not in classifier.classes)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold()).strip()


def _fixed(classifier: Classifier, c: int, method: Method | None) -> bool:
    """Whether class `c` cannot learn from more rows."""
    old = classifier.model.old if isinstance(classifier.model, Widened) else len(classifier.classes)
    return whole(method) and c < old


def _method(classifier: Classifier) -> Method | None:
    try:
        return methods.parse(str(classifier.about.get("method", "")))
    except InputError:
        return None  # a method of another ilk: its model is taken as it is


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
