"""What `model.json` says of a classifier's thresholds."""

from __future__ import annotations

from ilk.artifacts.classifier import Classifier


def describe_thresholds(classifier: Classifier) -> dict[str, float]:
    """Return coverage and threshold of the sets, and those of the detection of unknown images."""
    return {
        "coverage": classifier.conformal.level,
        "set": classifier.conformal.threshold,
        "false_alarm": classifier.ood_detector.false_alarm,
        "unknown": classifier.ood_detector.threshold,
    }
