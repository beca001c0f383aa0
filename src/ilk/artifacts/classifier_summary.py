"""What a classifier shows of itself: a line of text, HTML for notebooks, its leaderboard.

All of it comes from the metadata, so a loaded classifier shows what the fitted one did.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ilk.core.leaderboard import CandidateResult
from ilk.core.metrics import Interval, Scores
from ilk.report import notebook
from ilk.report.formatting import abbreviate, format_count, format_percent
from ilk.report.notebook import LeaderboardView

MAX_NAMES = 5  # class names in the line of text


def parse_leaderboard(metadata: Mapping[str, Any]) -> LeaderboardView | None:
    """Return the leaderboard that is recorded in the metadata of a classifier, if there is one."""
    try:
        entry = metadata["leaderboard"]
        winner = str(entry["winner"]["encoder"]), str(entry["winner"]["method"])
        return LeaderboardView(tuple(_parse_result(row) for row in entry["results"]), winner)
    except (KeyError, TypeError):
        return None


def _parse_result(entry: Mapping[str, Any]) -> CandidateResult:
    scores = entry["scores"]
    if scores is not None:
        scores = Scores(**{**scores, "accuracy": Interval(**scores["accuracy"])})
    return CandidateResult(**{**entry, "scores": scores})


def list_rates(metadata: Mapping[str, Any]) -> list[tuple[str, Interval]]:
    """Return the accuracies that are recorded in the metadata, each with what it is called."""
    metrics = metadata.get("metrics") or {}
    before = "before classes were added, " if metadata.get("extensions") else ""
    evaluation = metrics.get("evaluation") or {}
    rates = [
        (f"accuracy on {metrics.get('evaluated_on')}", evaluation.get("accuracy")),
        ("accuracy corrected for the selection", metrics.get("corrected_accuracy")),
    ]
    return [
        (f"{before}{label}".capitalize(), Interval(**rate))
        for label, rate in rates
        if isinstance(rate, Mapping)
    ]


def format_classifier(classes: Sequence[str], encoder: str, metadata: Mapping[str, Any]) -> str:
    """Return a classifier as one line: its classes, method, encoder and accuracy."""
    names = ", ".join(abbreviate(name) for name in classes[:MAX_NAMES])
    more = ", …" if len(classes) > MAX_NAMES else ""
    method = metadata.get("method", "a method that is not recorded")
    text = f"Classifier of {format_count(len(classes), 'class', 'classes')} ({names}{more}): "
    text += f"{method} on {abbreviate(encoder)}"
    for label, rate in list_rates(metadata)[:1]:
        low, high = format_percent(rate.low), format_percent(rate.high)
        text += f"; {label[:1].lower()}{label[1:]} {format_percent(rate.value)} [{low}, {high}]"
    return text


def render_classifier(classes: Sequence[str], encoder: str, metadata: Mapping[str, Any]) -> str:
    """Return a classifier as HTML for a notebook."""
    method = str(metadata.get("method", ""))
    rates, leaderboard = list_rates(metadata), parse_leaderboard(metadata)
    return notebook.render_classifier(classes, encoder, method, rates, leaderboard)
