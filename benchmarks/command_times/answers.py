"""What each command reports of itself, in few figures: plain values from the JSON it printed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Report = dict[str, Any]


def describe_fit(report: Report) -> Report:
    """Return the classifier that won, with its accuracy by cross-validation."""
    winner = report["leaderboard"][0]
    return {
        "encoder": winner["encoder"],
        "method": winner["method"],
        "accuracy": winner["scores"]["accuracy"],
    }


def describe_finetune(report: Report) -> Report:
    """Return what was chosen, and its gain on images held out."""
    return {
        **_take(report, "kept", "chosen", "images", "validation", "held_out", "gain"),
        "accuracy": {row["name"]: row["accuracy"] for row in report["candidates"]},
    }


def describe_distill(report: Report) -> Report:
    """Return the teacher and the student, and how often they agree."""
    rows = report["comparison"]
    return {
        **_take(report, "judged_on", "images"),
        "classifiers": {row["name"]: row["description"] for row in rows},
        "accuracy": {row["name"]: row["scores"]["accuracy"] for row in rows},
        "agreement": {row["name"]: row["agreement"] for row in rows[1:]},
        "parameters": {row["name"]: row["parameters"] for row in rows},
        "notes": report["notes"],
    }


def describe_compress(report: Report) -> Report:
    """Return sizes, speeds and what was lost."""
    return {
        **_take(report, "n_labelled", "loss", "max_loss", "bytes_before", "bytes_after"),
        **_take(report, "speed_ratios", "runtimes", "same_names"),
        "change": {figure["name"]: figure["change"] for figure in report["figures"]},
    }


def describe_condense(report: Report) -> Report:
    """Return the method that was taken and what its images lose."""
    return _take(report, "method", "choice", "lost", "judged_images")


def describe_select(report: Report) -> Report:
    """Return the rule that was taken and what its images lose."""
    return _take(report, "images", "pictures", "kept", "copies", "selector", "lost")


def _take(report: Report, *names: str) -> Report:
    return {name: report[name] for name in names}


ANSWERS: dict[str, Callable[[Report], Report]] = {
    "fit": describe_fit,
    "finetune": describe_finetune,
    "distill": describe_distill,
    "compress": describe_compress,
    "condense": describe_condense,
    "select": describe_select,
}
