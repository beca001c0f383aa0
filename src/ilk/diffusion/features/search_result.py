"""The result of a feature search and its file next to the model."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from ilk.core.digested_json import check_digest, parse_json, write_json
from ilk.core.errors import ArtifactError
from ilk.core.regular_file import read_regular_file
from ilk.core.typed_values import check_type
from ilk.diffusion.denoiser.companions import check_network, name_network
from ilk.diffusion.features.feature_point import FeaturePoint

FILE, VERSION = "features.json", 3


@dataclass(frozen=True)
class FeatureLocation:
    """A feature point with its result.

    Attributes:
        point: Block, noise level, pooling.
        width: Number of features.
        accuracy: Accuracy on held-out images.
        log_loss: Log loss on held-out images, in nats.
        accuracy_gap: Difference to the accuracy of the best point.
        gap_standard_error: Standard error of `accuracy_gap` under equal accuracy, paired over
            images: the root of the number of images on which they differ, divided by the number of
            images.
    """

    point: FeaturePoint
    width: int
    accuracy: float
    log_loss: float
    accuracy_gap: float
    gap_standard_error: float


@dataclass(frozen=True)
class SearchResult:
    """The result of a feature search.

    Attributes:
        locations: All evaluated points.
        best_point: Point with the highest accuracy (then the lowest log loss).
        selected_point: The narrowest point within one standard error of the best.
        n_images: Number of images.
    """

    locations: tuple[FeatureLocation, ...]
    best_point: FeaturePoint
    selected_point: FeaturePoint
    n_images: int

    def compute_accuracy_grid(
        self, pool: int | None = None
    ) -> tuple[list[int], list[float], list[list[float]]]:
        """Return blocks, noise levels, and accuracy `[blocks][levels]`.

        Args:
            pool: Pooling; None takes the best of all poolings. NaN marks points without a result.
        """
        rows = sorted({place.point.block for place in self.locations})
        columns = sorted({place.point.sigma for place in self.locations})
        best = {(b, s): float("nan") for b in rows for s in columns}
        for place in self.locations:
            if pool is not None and place.point.pool != pool:
                continue
            cell = place.point.block, place.point.sigma
            best[cell] = float(np.fmax(best[cell], place.accuracy))
        return rows, columns, [[best[b, s] for s in columns] for b in rows]

    def select_best(self, count: int) -> list[FeaturePoint]:
        """Return the best points of `count` different blocks, best first."""
        ranked = sorted(self.locations, key=lambda p: (-p.accuracy, p.log_loss))
        best_by_block = {place.point.block: place.point for place in reversed(ranked)}
        return [p.point for p in ranked if best_by_block[p.point.block] == p.point][:count]

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain values, including the accuracy grid."""
        blocks, sigmas, accuracy = self.compute_accuracy_grid()
        known = [[None if np.isnan(value) else value for value in row] for row in accuracy]
        accuracy_grid = {"blocks": blocks, "sigmas": sigmas, "accuracy": known}
        return {"version": VERSION, **asdict(self), "accuracy_grid": accuracy_grid}


class _Entries(TypedDict):
    """Entries of the file."""

    version: int
    locations: list[FeatureLocation]
    best_point: FeaturePoint
    selected_point: FeaturePoint
    n_images: int
    digest: str


def write(result: SearchResult, folder: Path) -> Path:
    """Write `result` to the folder of the model, where `--encoder diffusion:PATH` looks for it.

    Raises:
        OutputError: It cannot be written.
    """
    path = folder / FILE
    write_json(path, {**result.to_json(), **name_network(folder)})
    return path


def read(folder: Path) -> SearchResult:
    """Read the result in `folder`.

    Raises:
        ArtifactError: There is none, or it is invalid.
    """
    path = folder / FILE
    try:
        fields = parse_json(read_regular_file(path), path)
        if fields["version"] != VERSION:
            raise ArtifactError(f"{path} has another format version; search again")
        check_digest(fields, path)
        check_network(fields, path)
        check_type(fields, _Entries, "")
        places = [
            FeatureLocation(**{**p, "point": FeaturePoint(**p["point"])})
            for p in fields["locations"]
        ]
        best, selected = (
            FeaturePoint(**fields["best_point"]),
            FeaturePoint(**fields["selected_point"]),
        )
        return SearchResult(tuple(places), best, selected, int(fields["n_images"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{path} cannot be read: {error}; search again") from error


def read_selected_point(folder: Path) -> FeaturePoint | None:
    """Return the selected point of the model in `folder`; None without a search.

    Raises:
        ArtifactError: The file cannot be read.
    """
    return read(folder).selected_point if (folder / FILE).exists() else None
