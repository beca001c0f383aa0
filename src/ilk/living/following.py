"""A saved classifier that follows the shares of the classes where it is used.

Shares are estimated from images without labels (`ilk.living.label_shift`); probabilities and sets
are then those of the new shares. What is said of an image moves towards classes that have become
common, so a wrong estimate does harm; `doubt` says where not to follow.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ilk.classifier import Classifier
from ilk.data import Features
from ilk.errors import InputError
from ilk.living.share_estimate import Estimate, estimate
from ilk.metrics import wilson
from ilk.trust.conformal import Sets
from ilk.trust.shares import Shares
from ilk.versions import moment

LEAST = 20  # images that shares can be told from
ONE = 0.95  # a share that leaves nothing for other classes
STRANGE = 0.1  # share called unknown, beyond what is allowed, before more than shares has changed
UNFIT = 0.05  # of the answers, what may stay unexplained beside twice what chance leaves


def follow(
    classifier: Classifier, x: Features, *, anyway: bool = False, seed: int = 0
) -> tuple[Classifier, Estimate]:
    """`classifier` as it should answer among images like `x [n, d]`, and what their shares are.

    Where the shares are not told apart from those learnt with, or it is not certain enough that
    following pays on so few images, it answers as it was fitted to. Shares are always those of `x`,
    whatever the classifier followed before.

    Args:
        x: Features of the classifier's own encoder, without labels.
        anyway: Follow whatever speaks against it.

    Raises:
        InputError: There is no image, the features are of another encoder, the classifier learnt
            without labels, or something speaks against the estimate; says what.
    """
    kept = classifier.kept
    if kept is None:
        raise InputError(
            "this model does not say in which shares its classes were learnt (it learnt without "
            "labels, or with an older ilk); fit it again: ilk fit"
        )
    if not len(x):
        raise InputError("there is no image to tell the shares from; give images without labels")
    if kept.width:
        kept.fits(x)
    plain = replace(classifier, shares=None)
    p = plain.probabilities(plain.model.logits(x))
    found = estimate(p, plain.probabilities(kept.logits), kept.y, kept.counts, seed)
    why = doubt(found, int(plain.unknown.flag(x).sum()), plain.unknown.false_alarm, plain.classes)
    if why and not anyway:
        raise InputError(f"{why}; the model is left as it is, unless you pass --anyway")
    to_follow = found.changed and found.safe
    shares = Shares(found.learnt, found.to_follow) if to_follow or anyway else None
    followed = replace(classifier, shares=shares, evidence=None)
    if shares or classifier.shares:  # else they stay those of the fit, which stand on more rows
        followed = replace(followed, sets=_sets(followed))
    return replace(followed, about=_about(followed, found)), found


def doubt(found: Estimate, unknown: int, false_alarm: float, classes: tuple[str, ...]) -> str:
    """Why the estimate should not be followed, as a sentence; "" where nothing speaks against it.

    Args:
        unknown: How many of the images are called unknown.
        false_alarm: Share of images of known kinds that may be called so.
    """
    if found.n < LEAST:
        return f"too few images to tell shares from: {found.n}, and at least {LEAST} are needed"
    strange = wilson(unknown, found.n)
    if strange.low > false_alarm + STRANGE:
        return (
            f"{strange.value:.0%} of the images are like nothing that was learnt, so more has "
            "changed than the shares of classes (label some and fit again, or see ilk discover)"
        )
    top, k = int(found.now.argmax()), len(classes)
    among = (found.now[top] * (found.n + k) - 1) / found.n  # without the one more of each class
    if among > max(ONE, found.learnt[top]):
        return (
            f"nearly all images look like {classes[top]!r} ({among:.0%}), and a model "
            "that follows them would hardly ever answer anything else"
        )
    left, chance = found.unexplained
    if left > 2 * chance + UNFIT:
        return (
            f"{left:.0%} of the answers fit no shares of the classes as they were learnt (chance "
            f"leaves {chance:.0%}), so the images themselves look different (label some and fit "
            "again)"
        )
    return ""


def _sets(classifier: Classifier) -> Sets:
    """The conformal sets for the shares of now."""
    kept, shares, level = classifier.kept, classifier.shares, classifier.sets.level
    if kept is None or not len(kept.y):
        return classifier.sets
    weights = shares.ratio[kept.y] if shares else None
    p = classifier.probabilities(kept.logits)
    return Sets.fit(p, kept.y, level, kept.distance, weights)


def _about(classifier: Classifier, found: Estimate) -> dict[str, Any]:
    """What `model.json` tells from now on."""
    about = classifier.about
    return {
        **about,
        "thresholds": {**about.get("thresholds", {}), "set": classifier.sets.threshold},
        "followed": {
            "date": moment(),
            "followed": classifier.shares is not None,
            **found.to_json(),
        },
    }
