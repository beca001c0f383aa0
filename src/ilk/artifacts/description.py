"""What stands in `model.json`, as types, for each type of model.

Whoever loads a model compares its description with them before it reads anything else. An
entry that no type names is allowed: name it here if some code relies on it.
"""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict

from ilk.core.leaderboard import CandidateResult
from ilk.core.metrics import Interval, Scores
from ilk.trust.calibration import Calibration
from ilk.trust.conformal import ConformalPredictor


class WeightsEntry(TypedDict):
    """The file of the arrays."""

    file: str
    sha256: str


class EncoderEntry(TypedDict):
    """An encoder, or several side by side."""

    name: str
    key: str
    precision: NotRequired[str]
    folder: NotRequired[str]
    inside: NotRequired[str]
    files: NotRequired[list[str]]
    classes: NotRequired[list[str] | None]
    prompts: NotRequired[list[str]]
    views: NotRequired[int]
    parts: NotRequired[list[EncoderEntry]]


class DataEntry(TypedDict):
    """The images of the fit."""

    fingerprint: str
    train: int
    held_out: int


class EvaluationEntry(TypedDict, total=False):
    """Scores on held-out images."""

    accuracy: Interval


class MetricsEntry(TypedDict, total=False):
    """Scores of the fit."""

    cross_validation: Scores | None
    corrected_accuracy: Interval | None
    evaluated_on: str | None
    evaluation: EvaluationEntry | None


class CandidateEntry(TypedDict):
    """A candidate by its names."""

    encoder: str
    method: str


class LeaderboardEntry(TypedDict):
    """The candidates."""

    winner: CandidateEntry
    results: list[CandidateResult]
    note: NotRequired[str]
    honest: NotRequired[Interval | None]


class RemainderEntry(TypedDict):
    """What is left of an ensemble without one encoder."""

    columns: tuple[int, int]
    accuracy: Interval
    calibration: Calibration
    conformal: ConformalPredictor


# As a call: `without` is a name, and `EnsembleEntry` belongs to the format.
class EnsembleEntry(TypedDict):
    without: dict[str, RemainderEntry]
    members: list[Any]


class NeighboursEntry(TypedDict):
    """The file of the training images that are kept for explanations."""

    sha256: str


class CommonEntries(TypedDict):
    """Entries of every type of model."""

    format: str
    version: int
    digest: str
    weights: WeightsEntry
    encoder: EncoderEntry
    parts: dict[str, dict[str, Any]]
    seed: NotRequired[int]
    notes: NotRequired[list[str]]
    data: NotRequired[DataEntry]
    versions: NotRequired[dict[str, str | None]]
    value_ranges: NotRequired[dict[str, tuple[float, float]]]
    neighbours: NotRequired[NeighboursEntry]


class ClassifierEntries(CommonEntries):
    """Entries of a classifier."""

    classes: list[str]
    method: NotRequired[str]
    ordered: NotRequired[bool]
    thresholds: NotRequired[dict[str, float]]
    metrics: NotRequired[MetricsEntry]
    leaderboard: NotRequired[LeaderboardEntry]
    ensemble: NotRequired[EnsembleEntry | None]
    extensions: NotRequired[list[dict[str, Any]]]
    adaptation: NotRequired[dict[str, Any]]
    distillation: NotRequired[dict[str, Any]]
    last_added: NotRequired[dict[str, str]]


class MultiLabelEntries(CommonEntries):
    """Entries of a multi-label classifier."""

    classes: list[str]
    method: NotRequired[str]
    metrics: NotRequired[dict[str, Any]]
    thresholds: NotRequired[dict[str, Any]]


class DetectorEntries(CommonEntries):
    """Entries of an anomaly detector."""

    false_alarm: float
    method: NotRequired[str]
    reads_patches: NotRequired[bool]
    choice: NotRequired[dict[str, dict[str, float]]]
