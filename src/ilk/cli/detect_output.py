"""What `ilk detect` writes: a row per image as CSV, and maps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ilk.cli.tally import Tally

if TYPE_CHECKING:
    from ilk.artifacts.anomaly_result import AnomalyResult
    from ilk.artifacts.detector import AnomalyDetector
    from ilk.artifacts.map_folder import MapFolder

CSV_HEADER = ("path", "score", "threshold", "anomaly", "error")
MAP_COLUMNS = ("map", "left", "top", "right", "bottom")


def to_row(result: AnomalyResult, threshold: float | None, tally: Tally) -> dict[str, Any]:
    """Count a result and return it under the names of `CSV_HEADER`; None is an unknown value."""
    from ilk.artifacts.image_blocks import format_refusal

    is_read = result.row.status == "used"
    tally.count(result.row.path, result.row.detail if is_read else "", is_read=is_read)
    return {
        "path": result.row.path,
        "score": result.score if is_read else None,
        "threshold": threshold,
        "anomaly": result.is_anomaly if is_read and threshold is not None else None,
        "error": None if is_read else format_refusal(result.row),
    }


def write_rows(
    rows: Iterable[dict[str, Any]], path: Path | None, header: Sequence[str] = CSV_HEADER
) -> list[dict[str, Any]]:
    """Write rows as CSV as they come, to a file or to standard output, and return them."""
    from ilk.artifacts.row_file import open_rows
    from ilk.core.csv_cells import CsvFormatter

    written, format_line = [], CsvFormatter().format
    with nullcontext(_print_line) if path is None else open_rows(path) as write:
        write(format_line(header))
        for row in rows:
            write(format_line(_format_cell(row[name]) for name in header))
            written.append(row)
    return written


def open_maps(detector: AnomalyDetector, folder: Path, threshold: float | None) -> MapFolder:
    """Return the folder of maps.

    Raises:
        InputError: The detector compares no patches.
    """
    from ilk.artifacts.map_folder import MapFolder, find_scale
    from ilk.core.errors import InputError

    if detector.patches is None:
        raise InputError(
            f"the detector is {detector.method}, which scores images as a whole and has no maps; "
            "leave --maps out, or fit with --method PatchMemory"
        )
    scale = find_scale(threshold, detector.model.calibration_scores)
    return MapFolder(folder, scale, detector.method).open()


def to_map_row(result: AnomalyResult, folder: MapFolder | None) -> dict[str, Any]:
    """Write the map of a result and return its name and region under the names of columns."""
    if folder is None:
        return {}
    if result.pixel_map is None:
        return dict.fromkeys(MAP_COLUMNS)
    values = (folder.add(result), *result.pixel_map.find_region())
    return dict(zip(MAP_COLUMNS, values, strict=True))


def _print_line(line: str) -> None:
    click.echo(line, nl=False)


def _format_cell(value: object) -> str:
    """Format a cell of CSV; None becomes an empty cell."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.6f}"
    return "" if value is None else str(value)
