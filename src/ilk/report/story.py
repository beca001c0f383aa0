"""What was asked and what came of it, in a person's sentences with the numbers in them."""

from __future__ import annotations

from collections import Counter

import numpy as np

from ilk.report.evidence import Evidence
from ilk.report.figures import Figures
from ilk.report.words import (
    between,
    brief,
    count,
    level,
    listed,
    percent,
    plain,
    with_range,
)

PARTS = {"train": "to learn from", "val": "to choose by", "test": "set aside as the test part"}


def headline(e: Evidence, judged: Figures) -> str:
    """The whole report in one line."""
    kinds = count(len(e.classes), "class", "classes")
    if e.scores is None or not len(judged):
        return f"A classifier for {kinds}, not yet judged"
    return f"{kinds} told apart, right {percent(e.scores.accuracy.value)} of the time"


def story(e: Evidence, judged: Figures) -> list[tuple[str, str]]:
    """(subject, sentences with their numbers); what there is nothing to say about is left out."""
    told = {
        "Given": _material(e),
        "Chosen": _choice(e),
        "Accuracy": _accuracy(e, judged),
        "Weak spots": _hardest(e, judged),
        "Certainty": _certainty(e, judged),
        "Sets": _sets(e, judged),
        "Unknowns": _unknown(e, judged),
        "Refused": _refused(e),
        "Labels": _suspects(e),
    }
    return [(subject, said) for subject, said in told.items() if said]


def _material(e: Evidence) -> str:
    parts = [
        f"{count(int(np.sum(counts)), 'labelled image')} {PARTS.get(part, f'in part {part}')}"
        for part, counts in e.counts.items()
        if np.sum(counts)
    ]
    said = f"“{plain(e.source)}” held {listed(parts) if parts else 'no labelled image'}"
    if e.unlabelled:
        said += f", and {count(e.unlabelled, 'image')} without a label"
    return f"{said}, of {count(len(e.classes), 'class', 'classes')}."


def _choice(e: Evidence) -> str:
    ran = [r for r in e.results if r.scores is not None]
    if not ran:
        return (
            f"Nothing could be compared, so {plain(e.method)} on {plain(e.encoder)} "
            "was taken unseen."
        )
    ties = sum(r.tied and (r.encoder, r.method) != (e.encoder, e.method) for r in ran)
    tried = count(len(ran), "combination")
    said = (
        f"Of {tried} of an encoder and a method, the choice fell on "
        f"{plain(e.method)} on {plain(e.encoder)}"
    )
    if ties:
        said += f"; {count(ties, 'other does', 'others do')} as well within the noise"
    failed = len(e.results) - len(ran)
    return said + ("." if not failed else f". {failed} more could not be run.")


def _accuracy(e: Evidence, judged: Figures) -> str:
    if e.scores is None or not len(judged):
        return "No image could be judged: there is no test part and nothing was held out."
    n, right = len(judged), int(judged.right.sum())
    common = np.bincount(judged.y).max() / n
    return (
        f"Judged on {plain(e.judged_on)}, {right:,} of {count(n, 'image')} "
        f"{'was' if right == 1 else 'were'} named rightly: {with_range(e.scores.accuracy)}. "
        f"Always answering the commonest class would be right {percent(common)} of the time."
    )


def _hardest(e: Evidence, judged: Figures) -> str:
    if not len(judged) or e.scores is None:
        return ""
    if not judged.confused:
        return "No judged image was named wrongly."
    seen = [c for c in judged.classes if c.n]
    worst = min(seen, key=lambda c: (c.recall.value, -c.n))
    pair = judged.confused[0]
    return (
        f"Averaged over classes, however rare, {percent(e.scores.macro_accuracy)} is right. "
        f"The hardest class is “{brief(e.classes[worst.index])}”, with "
        f"{percent(worst.recall.value)} of {count(worst.n, 'image')} right; the commonest mistake "
        f"is “{brief(e.classes[pair.truth])}” called “{brief(e.classes[pair.answer])}”, "
        f"{_times(pair.count)}."
    )


def _times(n: int) -> str:
    return {1: "once", 2: "twice"}.get(n, f"{n:,} times")


def _certainty(e: Evidence, judged: Figures) -> str:
    if e.scores is None or not len(judged):
        return ""
    lean = float(judged.confidence.mean() - judged.right.mean())
    way = "more" if lean > 0 else "less"
    mean = (
        "on the whole it claims what it keeps"
        if abs(lean) < 0.005
        else f"on the whole it claims {100 * abs(lean):.1f} points {way} than it keeps"
    )
    error = 100 * e.scores.calibration_error
    return f"The certainty that it states is off by {error:.1f} points on average; {mean}."


def _sets(e: Evidence, judged: Figures) -> str:
    if not len(judged):
        return ""
    single = float(np.mean(judged.size == 1))
    empty = int(np.sum(judged.size == 0))
    said = (
        f"Asked for sets of names that hold the true one {level(e.set_level)} of the time, it "
        f"reached {percent(e.coverage.value)} ({between(e.coverage)}) with "
        f"{judged.size.mean():.2f} names a set; {percent(single)} of the sets are a single name"
    )
    if empty:
        said += f", and {empty:,} {'is' if empty == 1 else 'are'} empty: no name was sure enough"
    return said + "."


def _unknown(e: Evidence, judged: Figures) -> str:
    said = (
        "An image unlike all that it learned from is called unknown; the limit is set so that "
        f"about {level(e.false_alarm)} of images of the known classes are called so by mistake"
    )
    if not len(judged):
        return said + "."
    flagged = int(np.sum(e.unknown))
    if not flagged:
        return f"{said}; none of {len(judged):,} judged images was."
    return (
        f"{said}, and {flagged:,} of {len(judged):,} judged images "
        f"({percent(flagged / len(judged))}) {'was' if flagged == 1 else 'were'}."
    )


def _refused(e: Evidence) -> str:
    files, refused = len(e.images.rows), e.images.refused
    if not files:
        return ""
    if not refused:
        return f"None of the {count(files, 'file')} was refused."
    reasons = Counter(row.reason for row in refused).most_common()
    told = [f"{plain(reason)} ({n:,})" for reason, n in reasons]
    return (
        f"{len(refused):,} of {count(files, 'file')} {'was' if len(refused) == 1 else 'were'} "
        f"refused: {listed(told)}. No image took their place."
    )


def _suspects(e: Evidence) -> str:
    if not e.suspects:
        return ""
    look = "looks" if len(e.suspects) == 1 else "look"
    return f"{count(len(e.suspects), 'label')} {look} wrong and should be checked by eye."
