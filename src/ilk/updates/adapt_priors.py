"""Adapt a saved classifier to the class priors of unlabelled images.

The priors are estimated under label shift (`ilk.updates.label_shift`), and probabilities and
prediction sets are adjusted to them. Predictions move towards classes that have become frequent, so
a wrong estimate does harm; `explain_refusal` states where the estimate should not be used.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ilk.artifacts.classifier import Classifier
from ilk.core.data import Features, Labels
from ilk.core.errors import InputError
from ilk.core.metrics import wilson_interval
from ilk.core.versions import format_now
from ilk.trust.class_priors import ClassPriors
from ilk.trust.conformal import ConformalPredictor
from ilk.updates.prior_estimate import PriorEstimate, estimate_priors

MIN_IMAGES = 20  # to estimate priors from
MAX_PRIOR = 0.95  # above it, hardly any other class would be predicted
MAX_EXCESS_UNKNOWN = 0.1  # fraction flagged as unknown, beyond the stated false-alarm rate
MAX_UNEXPLAINED = 0.05  # fraction of the predictions, beyond twice the residual by chance


def adapt_priors(
    classifier: Classifier,
    x: Features,
    *,
    force: bool = False,
    seed: int = 0,
    groups: Labels | None = None,
) -> tuple[Classifier, PriorEstimate]:
    """Return the classifier adapted to the class priors of `x`, and the estimate of these.

    The classifier predicts as it was fitted if the priors do not differ significantly from those
    of its training set, or if the images are too few for adapting to pay with certainty. The result
    does not depend on earlier adaptations.

    Args:
        classifier: The saved classifier.
        x: Features of its own encoder, without labels, `[n, d]`.
        force: Adapt in spite of any reason against it.
        seed: Seed of folds and resampling.
        groups: Group of each image, `[n]`, -1 for a group of its own; images of a group vary
            together. None makes every image one.

    Raises:
        InputError: If there is no image, the features are from another encoder, the classifier was
            fitted without labels, or there is a reason against the estimate.
    """
    summary = classifier.summary_statistics
    if summary is None:
        raise InputError(
            "this model does not record the class priors of its training set (it was fitted "
            "without labels or by an older ilk); fit it again: ilk fit"
        )
    if not len(x):
        raise InputError(
            "there are no images to estimate class priors from; add images, which need no labels"
        )
    if summary.width:
        summary.check_width(x)
    unadapted = replace(classifier, class_priors=None)
    p = unadapted.to_probabilities(unadapted.model.logits(x))
    prior_estimate = estimate_priors(
        p, unadapted.to_probabilities(summary.logits), summary.y, summary.counts, seed, groups
    )
    reason = explain_refusal(
        prior_estimate,
        int(unadapted.ood_detector.flag(x).sum()),
        unadapted.ood_detector.false_alarm,
        unadapted.classes,
    )
    if reason and not force:
        raise InputError(f"{reason}; the model is unchanged; pass --force to adapt it anyway")
    should_adapt = prior_estimate.has_shifted and prior_estimate.is_safe
    class_priors = (
        ClassPriors(prior_estimate.source, prior_estimate.safe_target)
        if should_adapt or force
        else None
    )
    adapted = replace(classifier, class_priors=class_priors, side_files=None)
    if class_priors or classifier.class_priors:  # else keep the sets of the fit, from more rows
        adapted = replace(adapted, conformal=_refit_conformal(adapted))
    return replace(adapted, metadata=_record_adaptation(adapted, prior_estimate)), prior_estimate


def explain_refusal(
    prior_estimate: PriorEstimate, n_unknown: int, false_alarm: float, classes: tuple[str, ...]
) -> str:
    """Return the reason not to use the estimate, as a sentence; "" if there is none.

    Args:
        prior_estimate: The estimate.
        n_unknown: Number of images flagged as unknown.
        false_alarm: Stated probability that an image of a known class is flagged.
        classes: Names of the k classes.
    """
    if prior_estimate.n_images < MIN_IMAGES:
        return (
            f"{prior_estimate.n_images} images are too few for an estimate; at least "
            f"{MIN_IMAGES} are needed"
        )
    unknown_rate = wilson_interval(n_unknown, prior_estimate.n_images)
    if unknown_rate.low > false_alarm + MAX_EXCESS_UNKNOWN:
        return (
            f"{unknown_rate.value:.0%} of the images are flagged as unknown, so more has changed "
            "than the class priors (label some and fit again, or see ilk discover)"
        )
    top, k = int(prior_estimate.target.argmax()), len(classes)
    n = prior_estimate.n_images
    top_proportion = (prior_estimate.target[top] * (n + k) - 1) / n  # without the pseudo-counts
    if top_proportion > max(MAX_PRIOR, prior_estimate.source[top]):
        return (
            f"nearly all images are classified as {classes[top]!r} ({top_proportion:.0%}), and an "
            "adapted model would hardly ever predict another class"
        )
    unexplained, chance = prior_estimate.unexplained
    if unexplained > 2 * chance + MAX_UNEXPLAINED:
        return (
            f"no class priors explain {unexplained:.0%} of the predictions ({chance:.0%} by "
            "chance), so the images of a class look different from its training images (label some "
            "and fit again)"
        )
    return ""


def _refit_conformal(classifier: Classifier) -> ConformalPredictor:
    """Return the conformal predictor for the target priors."""
    summary, class_priors, level = (
        classifier.summary_statistics,
        classifier.class_priors,
        classifier.conformal.level,
    )
    if summary is None or not len(summary.y):
        return classifier.conformal
    weights = class_priors.ratio[summary.y] if class_priors else None
    p = classifier.to_probabilities(summary.logits)
    return ConformalPredictor.fit(
        p, summary.y, level, summary.unknown_score, weights, summary.groups
    )


def _record_adaptation(classifier: Classifier, prior_estimate: PriorEstimate) -> dict[str, Any]:
    """Return the metadata with the thresholds and the estimate."""
    metadata = classifier.metadata
    return {
        **metadata,
        "thresholds": {**metadata.get("thresholds", {}), "set": classifier.conformal.threshold},
        "adaptation": {
            "date": format_now(),
            "adapted": classifier.class_priors is not None,
            **prior_estimate.to_json(),
        },
    }
