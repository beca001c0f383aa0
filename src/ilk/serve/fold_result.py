"""What corrections changed, in numbers and in sentences."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ilk.report.formatting import format_percent
from ilk.serve.correction_log import Correction
from ilk.updates.extension_report import MIN_AUC, ExtensionReport


@dataclass(frozen=True)
class FoldResult:
    """What pending corrections changed.

    Attributes:
        pending: The corrections that are in the model, oldest first.
        set_aside: Those that are not, and why; "" if all are.
        report: The measured change; None without corrections.
        seconds: How long it took.
    """

    pending: tuple[Correction, ...]
    set_aside: str
    report: ExtensionReport | None
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return what a client is told."""
        report = self.report
        return {
            "pending": [c.to_json() for c in self.pending],
            "set_aside": self.set_aside,
            "seconds": round(self.seconds, 4),
            "change": None if report is None else _describe_change(report),
        }


def _describe_change(report: ExtensionReport) -> dict[str, Any]:
    before, after = report.old_accuracy
    unclear = [
        f"{s.new_class!r} looks like {s.old_class!r} to this model"
        for s in report.similarities
        if s.auc < MIN_AUC and s.confusion_rate >= 0.5
    ]
    return {
        "images": dict(report.n_images),
        "held_out": report.n_old_rows,
        "accuracy_before": _to_plain(before),
        "accuracy_after": _to_plain(after),
        "agreement": _to_plain(report.old_agreement),
        "recall": {name: _to_plain(value) for name, value in report.recall.items()},
        "warnings": unclear,
        "sentence": describe_fold(report),
    }


def describe_fold(report: ExtensionReport) -> str:
    """Return in one or two sentences what corrections changed."""
    n, before, after = sum(report.n_images.values()), *report.old_accuracy
    names = ", ".join(f"{count:,} of {name}" for name, count in report.n_images.items())
    text = f"{n:,} corrected image{'s' if n > 1 else ''} ({names}) folded in."
    if before is None or after is None:
        return text
    is_same = math.isclose(before, after, abs_tol=5e-4)
    change = "unchanged" if is_same else f"before {format_percent(before)}"
    return (
        f"{text} Of {report.n_old_rows:,} images of the other classes, {format_percent(after)} are "
        f"right in cross-validation ({change})."
    )


def _to_plain(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(float(value), 6)
